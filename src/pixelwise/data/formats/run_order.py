"""Whether run lengths that are read down the columns were counted along the rows, or the other way round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pixelwise.data import rle
from pixelwise.data.pictures import probe
from pixelwise.data.record import Record
from pixelwise.data.regions import Pairs
from pixelwise.data.shapes import Drawing
from pixelwise.data.splits import even_sample
from pixelwise.errors import UserError

OTHER: Mapping[rle.Order, rle.Order] = {"columns": "rows", "rows": "columns"}
WORDS: Mapping[rle.Order, str] = {"columns": "down the columns", "rows": "along the rows"}
STRIPES = 2.0
"""If outlines are longer by this factor than in the other order, the order is wrong."""
LOOKED_AT = 20
LARGEST = 1 << 24


def doubts(records: Sequence[Record], drawings: Mapping[str, Drawing], order: rle.Order) -> list[str]:
    """A sentence if the regions of some pictures are stripes in this order and compact in the other one.

    A region of n runs of length l has an outline of about 2 (n + l) pixels. Counted in the wrong order, its runs lie
    scattered, and the outline of each is 2 (l + 1). A single run has the same outline in both orders.

    Args:
        records: all pictures; those of more than 16 megapixels are not looked at.
        drawings: by name; only runs count.
        order: the order in which they are read.
    """
    runs = {name: pairs for name, drawing in drawings.items() if len(pairs := _pairs(drawing))}
    ours = others = looked_at = 0
    for record in even_sample([record for record in records if record.name in runs], LOOKED_AT):
        try:
            header = probe(record.picture)
            if header.height * header.width > LARGEST:
                continue
            lengths = [
                _outline(rle.from_pairs(runs[record.name], header.height, header.width, each))
                for each in (order, OTHER[order])
            ]
        except UserError:  # reported when that picture is read
            continue
        ours, others, looked_at = ours + lengths[0], others + lengths[1], looked_at + 1
    if ours <= STRIPES * others:
        return []
    return [
        f"Read {WORDS[order]}, the runs make stripes: on {looked_at} pictures that were looked at, the outlines are "
        f"{ours / max(others, 1):.1f} times as long as read {WORDS[OTHER[order]]}. If the runs count the pixels "
        f"{WORDS[OTHER[order]]}, say so: --rle-order {OTHER[order]} (in a recipe, data.rle_order={OTHER[order]})."
    ]


def _pairs(drawing: Drawing) -> np.ndarray:
    pairs = [shape.region.pairs for shape in drawing.shapes if isinstance(shape.region, Pairs)]
    return np.concatenate([np.zeros((0, 2), np.int64), *pairs])


def _outline(mask: np.ndarray) -> int:
    """The number of pairs of neighbours of which one is covered and the other is not."""
    return sum(int(np.count_nonzero(np.diff(mask, axis=axis))) for axis in (0, 1))
