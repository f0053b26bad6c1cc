"""Finds out what a picture file is without decoding its pixels: its true format, size, depth and orientation."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from pixelwise.data import tiff
from pixelwise.data.foreign import format_of_bytes
from pixelwise.data.header import DAMAGE, Header, open_image, unreadable
from pixelwise.data.orientation import TAG, swaps_sides, valid
from pixelwise.errors import UserError

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
GREY_WITH_ALPHA = 4
"""The number of the colour type grey with alpha in a PNG's header."""
TAIL_BYTES = 1 << 16
"""A PNG's EXIF is looked for in this many last bytes if it does not precede the pixels."""
_ANIMATED = frozenset({"GIF", "PNG", "WEBP", "AVIF"})


def probe(path: Path | str) -> Header:
    """Reads only the header of a file.

    Raises:
        UserError: the file is missing, empty, or not a picture.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size == 0:
            raise unreadable(path, "zero bytes")
        with path.open("rb") as file:
            magic, tail = file.read(32), b""
            if magic[:8] == PNG_MAGIC:
                file.seek(max(0, size - TAIL_BYTES))
                tail = file.read()
        if magic[:4] in tiff.MAGIC:
            return tiff.probe_tiff(path)
        with open_image(path) as image:
            orientation = _orientation(image, tail)
            width, height = image.size[::-1] if swaps_sides(orientation) else image.size
            deep_png = magic[:8] == PNG_MAGIC and magic[24:25] == b"\x10"
            deep = image.mode.startswith("I;16") or image.mode == "I" or deep_png
            # Pillow reports 16-bit grey with alpha as RGBA.
            mode = "LA" if deep_png and magic[25] == GREY_WITH_ALPHA else image.mode
            return Header(
                kind=image.format or "?",
                height=height,
                width=width,
                channels=Image.getmodebands(mode),
                dtype="uint16" if deep else "float32" if image.mode == "F" else "uint8",
                mode=mode,
                orientation=orientation,
                has_alpha=mode in {"LA", "RGBA", "PA", "La", "RGBa"},
                frames=getattr(image, "n_frames", 1) if image.format in _ANIMATED else 1,
            )
    except FileNotFoundError:
        raise UserError(f"{path}: no such file.") from None
    except UnidentifiedImageError:
        raise unreadable(path, _foreign(path)) from None
    except DAMAGE as error:
        raise unreadable(path, error) from None


def _orientation(image: Image.Image, tail: bytes) -> int:
    """The EXIF orientation, without decoding the pixels as Pillow does to find a PNG's last chunks.

    Args:
        tail: the end of a PNG.
    """
    stated = Image.Image.getexif(image).get(TAG)
    if stated is None and b"eXIf" in tail:
        stated = _late_exif(tail).get(TAG)
    return valid(stated)


def _late_exif(tail: bytes) -> Image.Exif:
    """The EXIF of a PNG whose eXIf chunk follows the pixels; empty if there is none."""
    exif = Image.Exif()
    start = tail.rfind(b"eXIf")
    if start >= 4:
        (length,) = struct.unpack(">I", tail[start - 4 : start])
        content, checksum = tail[start + 4 : start + 4 + length], tail[start + 4 + length : start + 8 + length]
        if checksum == struct.pack(">I", zlib.crc32(content, zlib.crc32(b"eXIf"))):
            exif.load(content)
    return exif


def _foreign(path: Path) -> str:
    """Describes a file that no decoder accepts."""
    with path.open("rb") as file:
        found = format_of_bytes(file.read(32))
    return f"not a known picture format, but a {found}" if found else "not a known picture format"
