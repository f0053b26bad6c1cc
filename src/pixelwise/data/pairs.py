"""Pairs of pictures: how the other picture of a record is read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from pixelwise.data.codings import MasklessCoding
from pixelwise.data.colour_table import ColourTable
from pixelwise.data.dataset import Dataset
from pixelwise.data.halves import half_of, opposite
from pixelwise.data.pictures import PictureFormat, read_picture
from pixelwise.data.record import Record
from pixelwise.data.sample import Sample
from pixelwise.data.wording import Wording
from pixelwise.errors import UserError


@dataclass(frozen=True, slots=True)
class PairCoding(MasklessCoding):
    """The label file of a record is another picture.

    Attributes:
        form: the form to which the other pictures are converted.
        paired: whether both pictures of a record show the same thing; otherwise they merely come from two collections,
            and their sizes may differ.
        colours: the colours that stand for classes in the pictures, and in the other pictures; None if there are none.
    """

    kind: ClassVar[str] = "pairs"
    task: ClassVar[str] = "translate"
    has_classes: ClassVar[bool] = False
    wording: ClassVar[Wording] = Wording(
        label="a picture of the other kind that can be read",
        missing="picture of that name in b",
        labels="pictures of two kinds",
        by_hand="Correct the files that `pixelwise check DATA` names.",
    )
    form: PictureFormat = field(default_factory=PictureFormat)
    paired: bool = True
    colours: tuple[ColourTable | None, ColourTable | None] = (None, None)

    @property
    def knows(self) -> frozenset[str]:
        return frozenset({"domains", "pairs"} if self.paired else {"domains"})

    def label(self, sample: Sample, record: Record, *, objects: bool) -> Sample:
        return replace(sample, partner=self.read_partner(record, *sample.image.shape[:2]), paired=self.paired)

    def read_partner(self, record: Record, height: int, width: int) -> np.ndarray:
        """The other picture of a record, (H, W, C) in `form`.

        Args:
            height, width: the size of the record's picture.

        Raises:
            UserError: a file that cannot be read, or pictures of a pair that differ in size.
        """
        file = record.labels[0]
        partner = half_of(read_picture(file, self.form), opposite(record.half), file)
        if self.paired and partner.shape[:2] != (height, width):
            raise UserError(
                f"{file}: the picture is {partner.shape[1]} x {partner.shape[0]} but its partner {record.picture} is "
                f"{width} x {height} (width x height); bring both to one size, or, if they show different things, give "
                "the layout `unpaired`."
            )
        return partner

    def refusal(self, record: Record) -> str:
        return (
            f"{record.labels[0]}: a picture of another kind, not a mask of class ids, so no network can learn classes "
            "from it; train a translator (`pixelwise train pix2pix`), or give masks."
        )


def swapped(dataset: Dataset) -> Dataset:
    """A dataset of pairs in which both pictures of each record have changed places.

    Records without a partner, which have no picture to put in the first place, are left out.

    Raises:
        ValueError: the dataset has no pairs.
    """
    coding = dataset.coding
    if not isinstance(coding, PairCoding):
        raise ValueError(f"{dataset.root}: a dataset of {coding.kind} has no partners to swap")
    kept = [record for record in dataset.records if record.labels]
    records = tuple(
        replace(record, picture=record.labels[0], labels=(record.picture,), half=opposite(record.half))
        for record in kept
    )
    names = {record.name for record in kept}
    splits = {split: tuple(name for name in its if name in names) for split, its in dataset.splits.items()}
    return replace(
        dataset,
        records=records,
        splits={split: its for split, its in splits.items() if its},
        form=coding.form,
        coding=replace(coding, form=dataset.form, colours=coding.colours[::-1]),
    )
