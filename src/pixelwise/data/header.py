"""The headers of picture files, and the errors for files that are not pictures."""

from __future__ import annotations

import struct
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import tifffile
from PIL import Image

from pixelwise.data.orientation import swaps_sides
from pixelwise.errors import UserError

# What the decoders raise for damaged files; tifffile and its codecs let low-level errors through.
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    SyntaxError,
    LookupError,
    ArithmeticError,
    TypeError,
    RuntimeError,
    MemoryError,
    AttributeError,
    AssertionError,
    struct.error,
    zlib.error,
    cv2.error,
    tifffile.TiffFileError,
)


def unreadable(path: Path, why: str | Exception) -> UserError:
    """The error for a file that is damaged or not a picture."""
    reason = why if isinstance(why, str) else str(why) or type(why).__name__
    return UserError(f"{path}: cannot be read as a picture ({reason}). Replace the file or move it out of the dataset.")


@dataclass(frozen=True, slots=True)
class Header:
    """What is known about a picture file before its pixels are decoded.

    Attributes:
        kind: the true format (`PNG`, `JPEG`, `TIFF`, ...), which the suffix may contradict.
        height, width: pixels of the upright picture.
        channels: 1 grey, 2 grey + alpha, 3 colour, 4 colour + alpha (or CMYK), more for multi-channel TIFF.
        dtype: `uint8`, `uint16`, `float32`, ...
        mode: Pillow's mode (`L`, `RGB`, `P`, `CMYK`, ...), or `multichannel`.
        orientation: 1 (upright) to 8, as EXIF and TIFF number them.
        has_alpha: one of the channels is alpha.
        nodata: the stored value that stands for "no value", if the file states one (GDAL's tag).
        frames: number of pictures in the file, of an animation or in several sizes; one of them is read.
        pages: number of pages of equal size in a TIFF that form the picture together.
        meaning: what several pages are: `channels` or `slices`; `unknown` if the file does not say and the pages are
            few enough to be channels.
    """

    kind: str
    height: int
    width: int
    channels: int
    dtype: str
    mode: str
    orientation: int = 1
    has_alpha: bool = False
    nodata: float | None = None
    frames: int = 1
    pages: int = 1
    meaning: str = ""

    @property
    def rotated(self) -> bool:
        """Whether the file states an orientation other than upright."""
        return self.orientation != 1

    @property
    def stored_size(self) -> tuple[int, int]:
        """Height and width before the picture is turned upright."""
        return (self.width, self.height) if swaps_sides(self.orientation) else (self.height, self.width)

    @property
    def may_have_gaps(self) -> bool:
        """Whether there may be pixels without a value, see `gaps`."""
        return self.nodata is not None or self.dtype not in {"uint8", "uint16", "bool"}

    @property
    def stores_ids(self) -> bool:
        """Whether there is one value per pixel, as in a mask; not so in colour."""
        if self.kind == "TIFF":
            return self.pages == 1 and self.channels - self.has_alpha == 1
        return self.mode in {"1", "L", "P", "LA", "I"} or self.mode.startswith("I;16")


_opening = threading.Lock()


def open_image(file: Path | str | BinaryIO) -> Image.Image:
    """`PIL.Image.open` for pictures of any size; pixels are decoded later, as usual.

    Pillow's limit against decompression bombs is a setting of the whole process, checked when a file is opened. It is
    lifted for that moment only: `read_picture` checks sizes against `MAX_PIXELS` before anything is decoded.

    Raises:
        OSError: as Pillow raises it: the file is missing, or not a picture (`PIL.UnidentifiedImageError`).
    """
    with _opening:  # one thread at a time, so that each thread restores the limit it found
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            return Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
