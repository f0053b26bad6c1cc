"""One look at every file: whether it can be read, what it holds, and which other pictures it resembles."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from pixelwise.data.codings import Coding, MaskCoding, read_values
from pixelwise.data.doctor.colours import colour_counts, edges_are_soft
from pixelwise.data.formats.mask_values import is_lossy
from pixelwise.data.gaps import lone_extreme
from pixelwise.data.halves import half_of, opposite
from pixelwise.data.header import Header
from pixelwise.data.idx import read_idx
from pixelwise.data.oddities import Oddities, oddities
from pixelwise.data.packed import are_grey
from pixelwise.data.pairs import PairCoding
from pixelwise.data.people import PeopleCoding
from pixelwise.data.pictures import PictureFormat as Form
from pixelwise.data.pictures import convert, probe, read_filled, read_picture
from pixelwise.data.record import Record
from pixelwise.data.sample import VOID
from pixelwise.data.shapes import ShapeCoding
from pixelwise.data.values import ValueCoding
from pixelwise.errors import UserError

THUMBNAIL = 16


@dataclass(frozen=True, slots=True, eq=False)
class MaskLook:
    """One label file.

    Attributes:
        file: its path.
        damage: `zero-byte`, `truncated`, `unreadable`, `stack`, `mask-values`, `undrawn`, or empty.
        header: None if it cannot be read, and for files of shapes.
        size: (height, width) as decoded.
        values: (256,) pixels per value; None for colour masks, masks with values beyond 0 to 255, and damaged ones.
        nonzero: pixels that are not 0.
        top: the largest value; -1 for colour and damaged masks.
        colours: 0xRRGGBB -> pixels, for colour pictures and for lossy masks (there, only pixels inside even areas).
        lossy: the mask was smoothed or saved as JPEG, so values lie between the ids.
        troubles: why shapes cannot be drawn or values cannot be read, if `damage` is `undrawn`, or why a sound file is
            not a mask; of a sound partner, how many of its values are missing.
        odd: the shapes that are probably mistakes; empty for files of pixels.
    """

    file: Path
    damage: str = ""
    header: Header | None = None
    size: tuple[int, int] | None = None
    values: np.ndarray | None = None
    nonzero: int = 0
    top: int = -1
    colours: dict[int, int] = field(default_factory=dict)
    lossy: bool = False
    troubles: tuple[str, ...] = ()
    odd: Oddities = field(default_factory=Oddities)

    @property
    def in_colour(self) -> bool:
        return bool(self.colours) and self.values is None

    @property
    def is_0_or_255(self) -> bool:
        """Whether the mask holds no value but 0 and 255."""
        return self.values is not None and not self.values[1:255].any()

    @property
    def is_0_and_255(self) -> bool:
        """Whether the mask holds both 0 and 255 and no other value: 255 marks something here."""
        return self.values is not None and self.is_0_or_255 and self.values[0] > 0 and self.values[255] > 0


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One picture with its labels.

    Attributes:
        record: the record of the picture.
        damage: the picture's damage: `zero-byte`, `truncated`, `unreadable`, `stack`, `odd-width`, or empty.
        header: None if it cannot be read.
        size: (height, width) as decoded, upright.
        pixels: digest of the decoded pixels, the same for copies in any lossless file format.
        thumbnail: (256,) grey, zero mean, unit length: the scalar product of two is their correlation; zeros if flat.
        values: the smallest and the largest value of a picture that is not 8-bit; None for 8-bit pictures.
        gaps: share of the values that are missing.
        lone: a value that may stand for "no value", and its share, see `gaps.lone_extreme`.
        masks: its label files.
    """

    record: Record
    damage: str = ""
    header: Header | None = None
    size: tuple[int, int] | None = None
    pixels: str = ""
    thumbnail: np.ndarray | None = None
    values: tuple[float, float] | None = None
    gaps: float = 0.0
    lone: tuple[float, float] | None = None
    masks: tuple[MaskLook, ...] = ()

    @property
    def usable(self) -> bool:
        if self.damage or not self.record.labelled:
            return False
        return self.record.class_id is not None or (bool(self.masks) and not any(mask.damage for mask in self.masks))

    @property
    def fits(self) -> bool:
        """Whether all readable labels have the picture's size."""
        return all(mask.size == self.size for mask in self.masks if mask.damage in ("", "undrawn"))


def look_at_all(records: Sequence[Record], coding: Coding | None) -> list[Look]:
    """Decodes every picture and its labels once.

    Args:
        coding: how labels are stored, if the layout determines it.
    """
    with ThreadPoolExecutor() as pool:
        return list(pool.map(partial(look_at, coding=coding), records))


def look_at(record: Record, coding: Coding | None) -> Look:
    """Decodes a picture and its labels; the arguments are those of `look_at_all`."""
    if record.position is not None:
        return _described(record, read_idx(record.picture)[record.position][:, :, None])
    if isinstance(coding, PeopleCoding):  # joints are judged without their pictures
        bare = look_at(replace(record, labels=()), None)
        files = tuple(MaskLook(file, size=bare.size) for file in record.labels)
        return replace(bare, record=record, masks=files)
    if isinstance(coding, ShapeCoding):
        bare = look_at(replace(record, labels=()), None)
        return replace(bare, record=record, masks=_look_at_shapes(record, coding, bare.size))
    if isinstance(coding, ValueCoding):
        bare = look_at(replace(record, labels=()), None)
        return replace(bare, record=record, masks=_look_at_values(record, coding, bare.size))
    if isinstance(coding, PairCoding):
        bare = look_at(replace(record, labels=()), None)
        return replace(bare, record=record, masks=_look_at_partner(record, coding, bare))
    as_ids = coding if isinstance(coding, MaskCoding) else MaskCoding()
    masks = tuple(_look_at_mask(file, as_ids) for file in record.labels)
    look = partial(Look, record, masks=masks)
    try:
        header = probe(record.picture)
    except UserError:
        return look(damage=_kind_of_damage(record.picture))
    try:
        image, gaps = read_filled(record.picture)
        image = half_of(image, record.half, record.picture)
    except UserError as error:
        return look(damage=error.code or "truncated", header=header)
    values = None if image.dtype == np.uint8 else (float(image.min()), float(image.max()))
    missing = 0.0 if gaps is None else float(gaps.mean())
    lone = None if values is None else lone_extreme(image)
    return replace(_described(record, image), header=header, values=values, gaps=missing, lone=lone, masks=masks)


def _described(record: Record, image: np.ndarray) -> Look:
    """The look of a picture that could be read, from its pixels."""
    content = hashlib.blake2b(f"{image.shape} {image.dtype}".encode(), digest_size=16)
    content.update(np.ascontiguousarray(image).data)
    return Look(record, size=image.shape[:2], pixels=content.hexdigest(), thumbnail=_thumbnail(image))


def _kind_of_damage(file: Path) -> str:
    return "zero-byte" if file.is_file() and file.stat().st_size == 0 else "unreadable"


def _thumbnail(image: np.ndarray) -> np.ndarray:
    grey = convert(image, Form(1, str(image.dtype))) if image.shape[2] == 3 else image[:, :, :1]
    small = cv2.resize(grey.astype(np.float32), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).ravel()
    small = np.nan_to_num(small - small.mean())
    length = float(np.linalg.norm(small))
    # With a contrast below half a grey level, only noise is left to compare.
    noise = 0.5 * THUMBNAIL * {"uint8": 1.0, "uint16": 257.0}.get(str(image.dtype), 0.0)
    return small / length if length > max(noise, 1e-12) else np.zeros_like(small)


def _look_at_shapes(record: Record, coding: ShapeCoding, size: tuple[int, int] | None) -> tuple[MaskLook, ...]:
    """The shapes of one picture, drawn as a mask; none for an unlabelled picture."""
    if not record.labels:
        return ()
    file = record.labels[0]
    if size is None:
        troubles = tuple(coding.faults(record, None))
        return (MaskLook(file, damage="undrawn" if troubles else "", troubles=troubles),)
    try:
        ids = coding.decode_mask(record, *size)
        odd = oddities(coding, record, *size) if "objects" in coding.knows else Oddities()
    except UserError:
        return (MaskLook(file, damage="undrawn", troubles=tuple(coding.faults(record, size))),)
    values = np.bincount(ids.ravel(), minlength=256)
    nonzero, top = int(np.count_nonzero(ids)), int(ids.max(initial=0))
    return (MaskLook(file, size=size, values=values, nonzero=nonzero, top=top, odd=odd),)


def _look_at_values(record: Record, coding: ValueCoding, size: tuple[int, int] | None) -> tuple[MaskLook, ...]:
    """The map of one picture as a mask of class 0 with void where the value is unknown; none if it is unlabelled."""
    if not record.labels:
        return ()
    file = record.labels[0]
    if size is None:
        return (MaskLook(file),)
    try:
        known = np.isfinite(coding.decode_values(record, *size))
    except UserError as error:
        return (MaskLook(file, damage="undrawn", troubles=(str(error),)),)
    values = np.bincount(np.where(known, 0, VOID).ravel(), minlength=256)
    return (MaskLook(file, "", None, size, values, int(np.count_nonzero(known)), 0),)


def _look_at_partner(record: Record, coding: PairCoding, look: Look) -> tuple[MaskLook, ...]:
    """The other picture of a record; none if it is unlabelled, or if both are in one file that is damaged."""
    if not record.labels or (look.damage and record.half):
        return ()
    file = record.labels[0]
    try:
        if look.size is None:
            read_picture(file, coding.form)
            return (MaskLook(file),)
        partner = coding.read_partner(record, *look.size)
        gaps = read_filled(file)[1] if probe(file).may_have_gaps else None
    except UserError as error:
        return (MaskLook(file, damage=error.code or "undrawn", troubles=(str(error),)),)
    share = 0.0 if gaps is None else float(half_of(gaps, opposite(record.half), file).mean())
    troubles = (f"{file} ({share:.1%})",) if share else ()
    size = partner.shape[:2] if coding.paired else look.size
    return (MaskLook(file, size=size, nonzero=partner.size, top=0, troubles=troubles),)


def _look_at_mask(file: Path, coding: MaskCoding) -> MaskLook:
    try:
        header = probe(file)
    except UserError:
        return MaskLook(file, damage=_kind_of_damage(file))
    colours: dict[int, int] = {}
    try:
        if not header.stores_ids and header.pages == 1:
            look = _look_at_colours(file, header)
            if not are_grey(look.colours) and (look.lossy or not set(look.colours) <= set(coding.palette)):
                return look
            colours = look.colours
        ids = coding.in_a_byte(read_values(file, coding.palette))
    except UserError as error:
        troubles = (str(error),) if error.code else ()
        return MaskLook(file, damage=error.code or "truncated", header=header, troubles=troubles)
    nonzero, top = int(np.count_nonzero(ids)), int(ids.max(initial=0))
    if top > 255:
        return MaskLook(file, "", header, ids.shape, None, nonzero, top)
    values = np.bincount(ids.ravel(), minlength=256)
    if not is_lossy(ids, header.kind):
        return MaskLook(file, "", header, ids.shape, values, nonzero, top, colours)
    grey = np.repeat(ids[:, :, None], 3, axis=2)
    colours, _ = colour_counts(grey, inside_only=True)
    return MaskLook(file, "", header, ids.shape, values, nonzero, top, colours, lossy=True)


def _look_at_colours(file: Path, header: Header) -> MaskLook:
    image = convert(read_picture(file), Form(3, "uint8"), file)
    colours, distinct = colour_counts(image)
    lossy = distinct > 256 or header.kind in {"JPEG", "MPO"} or edges_are_soft(image, distinct)
    if lossy:
        colours, _ = colour_counts(image, inside_only=True)
    return MaskLook(file, "", header, image.shape[:2], colours=colours, lossy=lossy)
