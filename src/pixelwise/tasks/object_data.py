"""What every task that learns from objects requires of the data."""

from __future__ import annotations

from pixelwise.data.dataset import Dataset
from pixelwise.data.stock import Stock
from pixelwise.errors import UserError

HINT = (
    "write the data as COCO, where every connected region of a class is an object (`pixelwise convert DATA --to "
    "coco --out DIR`), or add outlines or boxes of objects (docs/data.md)"
)
"""How to prepare other data, see `Task.hint`."""


def check_objects(dataset: Dataset, stock: Stock) -> None:
    """Checks that there are objects to learn from and to measure on.

    Raises:
        UserError: the training split or the validation split has no object.
    """
    for split, what in (("train", "there is nothing to find"), ("val", "nothing could be measured")):
        if stock.objects[split] is None:
            raise UserError(
                f"{dataset.root}: no object in the pictures of the split '{split}', so {what}; label some, or move "
                "labelled pictures there from another split."
            )
