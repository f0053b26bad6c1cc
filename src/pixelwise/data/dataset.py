"""A dataset on disk: which pictures there are, where their labels are, and how both become a `Sample`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pixelwise import notebook
from pixelwise.data.codings import Coding, MaskCoding
from pixelwise.data.draw import contact_sheet, overlay, palette, to_rgb
from pixelwise.data.gaps import valueless
from pixelwise.data.halves import half_of, half_width
from pixelwise.data.idx import read_idx
from pixelwise.data.pictures import PictureFormat, convert, probe, read_filled
from pixelwise.data.record import Record
from pixelwise.data.sample import VOID, Instances, Sample
from pixelwise.errors import UserError, unknown

SHOWN, MAX_NAMES = 4, 20
"""How many pictures, and names of classes, a notebook shows."""
UNLABELLED = "unlabelled"
"""The split of pictures that have no labels, or whose labels are not to be read."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Records, their classes, and their splits.

    Attributes:
        root: the folder it was read from.
        layout: the name of the format that read it (`folder`, `camvid`, `nuclei`, ...).
        class_names: by class id.
        records: in a fixed order (sorted by name).
        splits: `train`, `val`, perhaps `test` -> names of labelled records; perhaps `unlabelled` -> pictures without
            labels that are used for training; disjoint.
        form: the form to which all pictures are converted.
        coding: how labels are stored.
        notes: sentences on what was assumed while reading (mapped ids, an automatic split, ...).
        guesses: sentences on what was decided by the look of the files, and how to overrule it.
        renumbering: id in the labels -> class id, if the two differ (`class_names.with_class_names`); else empty.
    """

    root: Path
    layout: str
    class_names: tuple[str, ...]
    records: tuple[Record, ...]
    splits: Mapping[str, tuple[str, ...]]
    form: PictureFormat = field(default_factory=PictureFormat)
    coding: Coding = field(default_factory=MaskCoding)
    notes: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()
    renumbering: tuple[int, ...] = ()

    def split(self, name: str) -> tuple[Record, ...]:
        """The records of one split, in the dataset's order.

        Raises:
            UserError: no such split.
        """
        if name not in self.splits:
            raise unknown(f"split of {self.root}:", name, self.splits)
        wanted = set(self.splits[name])
        return tuple(record for record in self.records if record.name in wanted)

    @property
    def knows(self) -> frozenset[str]:
        """Words of `KNOWLEDGE`: what is known about a picture from its labels."""
        return self.coding.knows

    @property
    def task(self) -> str:
        """The task that the labels fit."""
        return self.coding.task

    def read(self, record: Record) -> np.ndarray:
        """One record's picture, (H, W, C), in the dataset's form, with its gaps filled: see `data.gaps`.

        Raises:
            UserError: the picture cannot be read.
        """
        return self.read_known(record)[0]

    def read_known(self, record: Record) -> tuple[np.ndarray, np.ndarray | None]:
        """The picture as `read` returns it, and (H, W) bool, the pixels without a value; None if all have one.

        Raises:
            UserError: the picture cannot be read.
        """
        if record.position is None:
            image, gaps = read_filled(record.picture, self.form)
            lost = valueless(gaps)
            if not record.half:
                return image, lost
            lost = None if lost is None else half_of(lost, record.half, record.picture)
            return half_of(image, record.half, record.picture), lost
        return convert(read_idx(record.picture)[record.position][:, :, None], self.form, record.picture), None

    def size(self, record: Record) -> tuple[int, int]:
        """Height and width of one record's picture, from the file's header.

        Raises:
            UserError: the picture cannot be read.
        """
        if record.position is None:
            header = probe(record.picture)
            return header.height, half_width(header.width, record.half, record.picture)
        height, width = read_idx(record.picture).shape[1:]
        return height, width

    def load(self, record: Record, *, objects: bool = True) -> Sample:
        """Reads one record's picture and labels.

        Args:
            objects: whether the objects are needed; separating many of them takes longer than everything else.

        Raises:
            UserError: a file that cannot be read, sizes that differ, or ids beyond the classes.
        """
        return self.label(record, *self.read_known(record), objects=objects)

    def label(self, record: Record, image: np.ndarray, lost: np.ndarray | None, *, objects: bool = True) -> Sample:
        """Adds the labels to a record's picture, as `read_known` returns it; void where the picture has no value.

        Raises:
            UserError: labels that cannot be read, differ in size from the picture, or hold ids beyond the classes.
        """
        sample = Sample(record.name, image, class_id=record.class_id)
        if record.labels:
            sample = self.coding.label(sample, record, objects=objects)
        if sample.mask is not None:
            sample = replace(sample, mask=self._checked(sample.mask, record))
        if self.renumbering and sample.instances is not None:
            sample = replace(sample, instances=self._renumbered(sample.instances))
        return sample if lost is None else sample.without(lost)

    def _renumbered(self, objects: Instances) -> Instances:
        classes = np.array(self.renumbering, np.int64)[objects.classes]
        ignored = None if objects.ignored is None else self._renumbered(objects.ignored)
        return replace(objects, classes=classes, ignored=ignored)

    def load_mask(self, record: Record) -> np.ndarray:
        """The class ids of a labelled record, (H, W) uint8; the picture is decoded only if it may have gaps.

        Raises:
            UserError: a file that cannot be read, sizes that differ, or ids beyond the classes.
        """
        mask = self._checked(self.coding.decode_mask(record, *self.size(record)), record)
        if record.position is not None or not probe(record.picture).may_have_gaps:
            return mask
        lost = self.read_known(record)[1]
        return mask if lost is None else np.where(lost, np.uint8(VOID), mask)

    def _repr_html_(self) -> str:
        """What a notebook shows: the numbers of pictures, the classes, and the first pictures with their labels."""
        splits = [(split, len(names)) for split, names in self.splits.items()]
        classes = ", ".join(self.class_names[:MAX_NAMES]) + (", ..." if len(self.class_names) > MAX_NAMES else "")
        parts = [
            notebook.paragraph(f"{self.root}: {len(self.records):,} pictures, layout {self.layout}"),
            notebook.table(("split", "pictures"), splits),
        ]
        if self.class_names:
            parts.append(notebook.paragraph(f"{len(self.class_names)} classes: {classes}"))
        labelled = [record for record in self.records if record.labelled][:SHOWN] or self.records[:SHOWN]
        if labelled:
            drawn = [self._drawn(record) for record in labelled]
            parts.append(notebook.picture(contact_sheet(drawn, columns=SHOWN), "the first pictures with their labels"))
        return "".join(parts)

    def _drawn(self, record: Record) -> np.ndarray:
        """(H, W, 3) uint8: a picture, tinted by its mask if it has one, and its partner beside it."""
        sample = self.load(record)
        if sample.partner is not None:
            return contact_sheet([to_rgb(sample.image), to_rgb(sample.partner)], columns=2, gap=0)
        if sample.mask is None:
            return to_rgb(sample.image)
        return overlay(sample.image, sample.mask, palette(len(self.class_names)))

    def _checked(self, mask: np.ndarray, record: Record) -> np.ndarray:
        """The mask with its ids renumbered, after checking that each id belongs to a class."""
        classes = len(self.renumbering) or len(self.class_names)
        top = int(np.where(mask == VOID, 0, mask).max(initial=0))
        if top >= classes:
            raise UserError(
                f"{record.labels[0]}: class id {top} found, but there are {classes} classes (ids 0 to {classes - 1}); "
                "add the missing names to classes.txt or set those pixels to 255 (void)."
            )
        if not self.renumbering:
            return mask
        table = np.full(256, VOID, np.uint8)
        table[:classes] = self.renumbering
        return table[mask]
