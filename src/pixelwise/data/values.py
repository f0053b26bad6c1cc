"""Maps of numbers stored as files: their meaning, and how to read and write them."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import tifffile

from pixelwise.atomic import write_bytes
from pixelwise.data.codings import MasklessCoding
from pixelwise.data.gaps import find_gaps
from pixelwise.data.header import DAMAGE, unreadable
from pixelwise.data.listing import read_lines
from pixelwise.data.pictures import probe, read_picture
from pixelwise.data.record import Record
from pixelwise.data.sample import Sample
from pixelwise.data.tiff import read_tiff_plane
from pixelwise.data.wording import Wording
from pixelwise.errors import UserError, unknown

VALUE_SUFFIXES = frozenset({".tif", ".tiff", ".npy", ".png"})
STATEMENTS = "values.txt"
"""The file at a dataset's root that states how values are stored."""


@dataclass(frozen=True, slots=True)
class ValueCoding(MasklessCoding):
    """How stored numbers become values: `stored * scale`, or void if they are `void` or missing (see `data.gaps`).

    Attributes:
        scale: value of one stored step; None if `values.txt` states none, which means 1 for floats.
        unit: unit of the values, for axes and tables; may be empty.
        void: the stored number of pixels whose value is unknown, besides NaN and infinity; None if there is none.
        name: what the values are (`depth`, `height`).
    """

    kind: ClassVar[str] = "values"
    task: ClassVar[str] = "regress"
    knows: ClassVar[frozenset[str]] = frozenset({"values"})
    wording: ClassVar[Wording] = Wording(
        label="a map of values that can be read",
        missing="map of that name",
        labels="maps of values",
        by_hand="Correct the files that `pixelwise check DATA` names.",
    )
    scale: float | None = None
    unit: str = ""
    void: float | None = None
    name: str = "value"

    def label(self, sample: Sample, record: Record, *, objects: bool) -> Sample:
        return replace(sample, values=self.decode_values(record, *sample.image.shape[:2]))

    def decode_values(self, record: Record, height: int, width: int) -> np.ndarray:
        """A record's values as (H, W) float32, NaN where they are unknown.

        Raises:
            UserError: a file that cannot be read, differs in size from its picture, or holds integers without a scale.
        """
        file = record.labels[0]
        stored = read_map(file)
        if stored.shape != (height, width):
            raise UserError(
                f"{file}: the map is {stored.shape[1]} x {stored.shape[0]} but its picture is {width} x {height} "
                "(width x height); export it again at the picture's size."
            )
        if stored.dtype.kind != "f" and self.scale is None:
            raise lacks_scale(file)
        gaps = find_gaps(stored[:, :, None], None if file.suffix.lower() == ".npy" else probe(file).nodata)
        known = np.ones(stored.shape, bool) if gaps is None else ~gaps[:, :, 0]
        if self.void is not None:
            known &= stored != self.void
        values = stored.astype(np.float64) * (1.0 if self.scale is None else self.scale)
        return np.where(known, values, np.nan).astype(np.float32)

    def refusal(self, record: Record) -> str:
        return (
            f"{record.labels[0]}: holds one {self.name} per pixel, not class ids, so no network can learn classes from "
            "it; train a regression of the values, or give masks of class ids."
        )


def lacks_scale(file: Path) -> UserError:
    """The error for whole numbers without a statement of what one step means."""
    return UserError(
        f"{file}: holds whole numbers, and no {STATEMENTS} at the dataset's root states the value of one step; add "
        f"a line such as `scale 0.001` to {STATEMENTS}, or, if the numbers are labels, rename the folder to labels."
    )


def read_coding(root: Path, name: str = "value") -> ValueCoding:
    """Reads `values.txt`: lines `scale 0.001`, `unit m`, `void 0` and `name depth`, each optional.

    Args:
        name: the name to use if the file states none.

    Raises:
        UserError: a line of another kind, a repeated line, something that is not a number, or a scale of 0.
    """
    path = root / STATEMENTS
    stated: dict[str, str] = {}
    for line in read_lines(path) if path.is_file() else ():
        key, _, text = line.replace("=", " ").replace(":", " ").partition(" ")
        if key not in ("scale", "unit", "void", "name"):
            raise unknown(f"line in {path}:", key, ("scale", "unit", "void", "name"))
        if key in stated or not text.strip():
            raise UserError(f"{path}: '{line}' found, expected a single line `{key} ...` with its value.")
        stated[key] = text.strip()
    numbers: dict[str, float] = {}
    for key in ("scale", "void"):
        if key in stated:
            try:
                numbers[key] = float(stated[key])
            except ValueError:
                raise UserError(f"{path}: '{key} {stated[key]}' found, expected a number such as 0.001.") from None
    scale = numbers.get("scale")
    if scale is not None and (scale == 0 or not np.isfinite(scale)):
        raise UserError(f"{path}: the scale is {scale:g}, expected a number other than 0, such as 0.001.")
    return ValueCoding(
        scale=scale, unit=stated.get("unit", ""), void=numbers.get("void"), name=stated.get("name", name)
    )


def read_map(path: Path) -> np.ndarray:
    """The numbers that a file stores, (H, W): float32 or float64, or uint16 of a 16-bit PNG or TIFF.

    Raises:
        UserError: a file that cannot be read, several channels, or 8-bit numbers, which belong to a picture.
    """
    if path.suffix.lower() == ".npy":
        try:
            array = np.load(path, allow_pickle=False)
        except (OSError, EOFError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error}); save it again with numpy.save.") from None
    else:
        header = probe(path)
        if header.kind == "TIFF" and header.channels == 1:
            array = _read_tiff(path)
        else:
            array = read_picture(path)
            array = array[:, :, 0] if array.shape[2] == 1 else array
    if array.ndim != 2:
        raise UserError(
            f"{path}: {' x '.join(map(str, array.shape))} numbers found, expected height x width; save one map per "
            "file."
        )
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.kind not in "fiu" or array.dtype == np.uint8:
        raise UserError(f"{path}: {array.dtype} found, expected floats or 16-bit numbers; save the map again as float.")
    return array


def _read_tiff(path: Path) -> np.ndarray:
    """The numbers of a one-channel TIFF, including float64 and signed numbers, (H, W), upright."""
    try:
        return read_tiff_plane(path)
    except DAMAGE as error:
        raise unreadable(path, error) from None


def write_map(path: Path | str, values: np.ndarray) -> None:
    """Writes (H, W) values as a float32 TIFF: complete under its final name, or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    tifffile.imwrite(stream, values.astype(np.float32), photometric="minisblack", compression="zlib")
    write_bytes(path, stream.getvalue())
