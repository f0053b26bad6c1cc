"""How labels are stored: how the label files of a record are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from pixelwise.data.packed import are_grey, pack
from pixelwise.data.pictures import PictureFormat, convert, probe, read_ids, read_picture
from pixelwise.data.record import Record
from pixelwise.data.sample import Instances, Sample
from pixelwise.data.wording import Wording
from pixelwise.errors import UserError

KNOWLEDGE = {
    "classes": "a class per picture",
    "pixels": "a class per pixel",
    "objects": "which objects there are",
    "outlines": "the outline of each object",
    "keypoints": "the joints of each object",
    "domains": "pictures of two kinds",
    "pairs": "pairs of pictures",
    "values": "a number per pixel",
}
"""What a dataset may know about its pictures."""
_OF_MASKS = {"objects": frozenset({"pixels", "objects", "outlines"})}


class Coding(ABC):
    """How the labels of a record are read: files of pixels (`MaskCoding`), shapes (`shapes.ShapeCoding`), or folders
    by class (`ClassCoding`).

    Attributes:
        has_classes: whether the labels have classes, or names of what they hold.
    """

    has_classes: ClassVar[bool] = True

    @property
    @abstractmethod
    def kind(self) -> str:
        """`ids`, `binary`, `objects`, `layers`, `shapes`, `points`, `classes`, `values`, `keypoints` or `pairs`."""

    @property
    @abstractmethod
    def knows(self) -> frozenset[str]:
        """Words of `KNOWLEDGE`: what is known about a picture from its labels."""

    @property
    def task(self) -> str:
        """The task that the labels fit."""
        return "segment"

    @property
    def wording(self) -> Wording:
        """The words for these labels."""
        return Wording()

    def label(self, sample: Sample, record: Record, *, objects: bool) -> Sample:
        """The sample with its labels.

        Args:
            objects: whether the objects are needed as well as the mask.

        Raises:
            UserError: labels that are unreadable, or cannot belong to a picture of that size.
        """
        height, width = sample.image.shape[:2]
        if not objects:
            return replace(sample, mask=self.decode_mask(record, height, width))
        mask, instances = self.decode(record, height, width)
        return replace(sample, mask=mask, instances=instances)

    @abstractmethod
    def decode(self, record: Record, height: int, width: int) -> tuple[np.ndarray, Instances | None]:
        """The mask as (H, W) uint8 class ids, 255 = void, and the objects if the coding knows them.

        Raises:
            UserError: labels that are unreadable, or cannot belong to a picture of that size.
        """

    @abstractmethod
    def decode_mask(self, record: Record, height: int, width: int) -> np.ndarray:
        """The mask alone, which is quicker if there are many objects.

        Raises:
            UserError: as in `decode`.
        """


@dataclass(frozen=True, slots=True)
class MaskCoding(Coding):
    """How stored values become class ids.

    Attributes:
        kind: `ids` (the value is the class, after `mapping`), `binary` (0 and 255 are classes 0 and 1), or `objects`
            (all of class 1). With `objects`, each of several files is one object, on the pixels that are not 0; a
            single file is a label map, in which 0 is background and every other value is an object, even if the picture
            has only one object.
        mapping: stored value -> class id, for values that are not their own class id (CamVid's 11 is void).
        palette: 0xRRGGBB -> class id, for masks that are colour pictures; without it they are refused.
        threshold: for black-and-white masks with soft edges: larger values are class 1, all others class 0; None for
            other masks.
    """

    kind: str = "ids"
    mapping: Mapping[int, int] = field(default_factory=dict)
    palette: Mapping[int, int] = field(default_factory=dict)
    threshold: int | None = None

    @property
    def _wide(self) -> bool:
        """Whether `mapping` has values that do not fit into a byte."""
        return max(self.mapping, default=0) > 255

    def in_a_byte(self, stored: np.ndarray) -> np.ndarray:
        """Stored values; if `mapping` has values beyond 255, the values that it maps are replaced by class ids."""
        if not self._wide:
            return stored
        values, where = np.unique(stored, return_inverse=True)
        return np.array([self.mapping.get(value, value) for value in values.tolist()])[where].reshape(stored.shape)

    def table(self) -> np.ndarray:
        """(256,) uint8: the class id of each value that `in_a_byte` returns."""
        if self.threshold is not None:
            return (np.arange(256) > self.threshold).astype(np.uint8)
        table = np.arange(256, dtype=np.uint8)
        if self.kind == "binary":
            table[255] = 1
        for stored, class_id in () if self._wide else self.mapping.items():
            table[stored] = class_id
        return table

    @property
    def knows(self) -> frozenset[str]:
        return _OF_MASKS.get(self.kind, frozenset({"pixels"}))

    def decode(self, record: Record, height: int, width: int) -> tuple[np.ndarray, Instances | None]:
        """The mask as (H, W) uint8 class ids, and the objects if the coding knows them.

        Raises:
            UserError: a file that cannot be read, differs in size from its picture, or holds values that are not ids.
        """
        if self.kind != "objects":
            return self.decode_mask(record, height, width), None
        ids = _label_map(record.labels, height, width)
        return (ids > 0).astype(np.uint8), Instances.from_label_map(ids.astype(np.int64))

    def decode_mask(self, record: Record, height: int, width: int) -> np.ndarray:
        """The mask alone, which is quicker if there are many objects.

        Raises:
            UserError: as in `decode`.
        """
        if self.kind == "objects":
            return (_label_map(record.labels, height, width) > 0).astype(np.uint8)
        file = record.labels[0]
        values = self.in_a_byte(_read_sized(file, height, width, self.palette))
        if values.max(initial=0) > 255:
            raise UserError(
                f"{file}: values up to {values.max()} found, but class ids go from 0 to 254 (255 = void); "
                "if the values number objects, see the label-map layout in docs/data.md."
            )
        return self.table()[values]


class MasklessCoding(Coding):
    """Labels that say something other than the class of each pixel."""

    @abstractmethod
    def refusal(self, record: Record) -> str:
        """Why there is no mask of a record, and what to do instead."""

    def decode(self, record: Record, height: int, width: int) -> tuple[np.ndarray, Instances | None]:
        """Refuses to make a mask.

        Raises:
            UserError: always.
        """
        raise UserError(self.refusal(record))

    def decode_mask(self, record: Record, height: int, width: int) -> np.ndarray:
        """Refuses to make a mask.

        Raises:
            UserError: always.
        """
        raise UserError(self.refusal(record))


@dataclass(frozen=True, slots=True)
class ClassCoding(MasklessCoding):
    """Pictures sorted into classes: records have a `class_id`, and there are no masks."""

    kind: ClassVar[str] = "classes"
    task: ClassVar[str] = "classify"
    knows: ClassVar[frozenset[str]] = frozenset({"classes"})
    wording: ClassVar[Wording] = Wording(
        label="a class",
        counted="pictures",
        labels="pictures sorted into classes",
        by_hand="Move the pictures that `pixelwise check DATA` names.",
    )

    def label(self, sample: Sample, record: Record, *, objects: bool) -> Sample:
        return sample  # the record's class is the only label

    def refusal(self, record: Record) -> str:
        return (
            f"{record.picture}: the picture has one class as a whole and no mask, so no network can learn the class of "
            "each pixel from it; train a classifier (`pixelwise train resnet18`), or add masks."
        )


@dataclass(frozen=True, slots=True)
class NoCoding(ClassCoding):
    """Pictures without labels."""

    kind: ClassVar[str] = "none"
    knows: ClassVar[frozenset[str]] = frozenset()


def _label_map(files: Sequence[Path], height: int, width: int) -> np.ndarray:
    """Objects by number: a single file's own values, else i + 1 on the pixels of file i, later files on top."""
    if len(files) == 1:
        return _read_sized(files[0], height, width)
    ids = np.zeros((height, width), np.int32)
    for number, file in enumerate(files, start=1):
        ids[_read_sized(file, height, width) > 0] = number
    return ids


def read_values(file: Path, palette: Mapping[int, int]) -> np.ndarray:
    """The values of a mask, as `pictures.read_ids` gives them, or for colour pictures those of their colours.

    Args:
        palette: 0xRRGGBB -> value; empty to refuse colour pictures.

    Raises:
        UserError: a file that cannot be read, or a colour that is not in the palette.
    """
    if not palette or probe(file).mode not in ("RGB", "RGBA"):
        return read_ids(file)
    packed = pack(convert(read_picture(file), PictureFormat(3, "uint8"), file))
    colours, where = np.unique(packed, return_inverse=True)
    if are_grey(colours.tolist()) and not set(colours.tolist()) <= set(palette):
        return read_ids(file)  # ids in three equal channels
    for colour in colours.tolist():
        if colour not in palette:
            y, x = np.argwhere(packed == colour)[0]
            raise UserError(
                f"{file}: the colour rgb({colour >> 16},{colour >> 8 & 255},{colour & 255}) at x {x}, y {y} belongs to "
                "no class; export the mask again without smoothing, or give colors.txt with lines `name r g b`."
            )
    return np.array([palette[colour] for colour in colours.tolist()], np.uint8)[where].reshape(packed.shape)


def _read_sized(file: Path, height: int, width: int, palette: Mapping[int, int] | None = None) -> np.ndarray:
    values = read_values(file, palette or {})
    if values.shape != (height, width):
        raise UserError(
            f"{file}: the mask is {values.shape[1]} x {values.shape[0]} but its picture is {width} x {height} "
            "(width x height); export it again at the picture's size."
        )
    return values
