"""Reading and writing single pictures and masks, whatever their mode, depth or orientation."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageOps, UnidentifiedImageError

from pixelwise.atomic import write_bytes
from pixelwise.errors import UserError

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
MAX_PIXELS = 1_000_000_000
"""Larger pictures are refused, unless they are TIFFs that can be read by blocks (`pixelwise.inference`)."""
STRIP_PIXELS = 1 << 24
"""Taken out of a Pillow image at once."""

# What the decoders raise on damaged files; tifffile and its codecs let low-level errors through.
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    SyntaxError,
    LookupError,
    ArithmeticError,
    TypeError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    cv2.error,
    tifffile.TiffFileError,
)

_opening = threading.Lock()


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself before its pixels are decoded.

    Attributes:
        kind: the true format (`PNG`, `JPEG`, `TIFF`, ...), which the suffix may contradict.
        height, width: pixels as seen, that is after the EXIF rotation.
        channels: 1 grey, 2 grey + alpha, 3 colour, 4 colour + alpha (or CMYK), more for multi-channel TIFF.
        dtype: `uint8`, `uint16`, `float32`, ...
        mode: Pillow's mode (`L`, `RGB`, `P`, `CMYK`, ...), or `multichannel`.
        rotated: an EXIF orientation other than upright is set.
    """

    kind: str
    height: int
    width: int
    channels: int
    dtype: str
    mode: str
    rotated: bool = False

    @property
    def has_alpha(self) -> bool:
        return self.mode in {"LA", "RGBA", "PA", "La", "RGBa"}


FULL_RANGE = {"uint8": 255.0, "uint16": 65535.0}
"""The largest value of each integer dtype that pictures have; float pictures have none."""


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """The form to which all pictures of one dataset are brought: channels (1, 3, or more) and dtype."""

    channels: int = 3
    dtype: str = "uint8"


def as_dtype(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Computed values as a picture's type again: rounded and cut to its range, where it has one."""
    if str(dtype) not in FULL_RANGE:
        return values.astype(dtype)
    return np.clip(np.rint(values), 0, FULL_RANGE[str(dtype)]).astype(dtype)


def _unreadable(path: Path, why: str) -> UserError:
    return UserError(f"{path}: cannot be read as a picture ({why}). Replace the file or move it out of the dataset.")


def open_image(file: Path | str | BinaryIO) -> Image.Image:
    """`PIL.Image.open` for pictures of any size; pixels are decoded later, as usual.

    Pillow's limit against decompression bombs is a setting of the whole process, checked when a file is opened. It is
    lifted for that moment alone: `read_picture` checks sizes against `MAX_PIXELS` before anything is decoded.

    Raises:
        OSError: as Pillow gives it: missing, or not a picture (`PIL.UnidentifiedImageError`).
    """
    with _opening:  # one thread at a time, so that each puts back what the others found
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            return Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def probe(path: Path | str) -> Header:
    """Reads a file's header only.

    Raises:
        UserError: missing, empty, or not a picture.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise _unreadable(path, "zero bytes")
        with path.open("rb") as file:
            magic = file.read(32)
        if magic[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _probe_tiff(path)
        with open_image(path) as image:
            # The base class's method: the one of PNG decodes all pixels in search of an eXIf chunk after them.
            orientation = Image.Image.getexif(image).get(0x0112, 1)
            rotated = orientation in range(2, 9)
            turned = orientation in (5, 6, 7, 8)
            width, height = image.size[::-1] if turned else image.size
            deep = image.mode.startswith("I;16") or image.mode == "I" or _is_deep_png(magic)
            return Header(
                kind=image.format or "?",
                height=height,
                width=width,
                channels=len(image.getbands()),
                dtype="uint16" if deep else "float32" if image.mode == "F" else "uint8",
                mode=image.mode,
                rotated=rotated,
            )
    except FileNotFoundError:
        raise UserError(f"{path}: no such file.") from None
    except UnidentifiedImageError:
        raise _unreadable(path, "not a known picture format") from None
    except _DAMAGE as error:
        raise _unreadable(path, str(error) or type(error).__name__) from None


def _is_deep_png(magic: bytes) -> bool:
    return magic[:8] == b"\x89PNG\r\n\x1a\n" and len(magic) > 25 and magic[24] == 16


def _probe_tiff(path: Path) -> Header:
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        series = tiff.series[0]
        axes, shape = series.axes, series.shape
        sizes = dict(zip(axes, shape, strict=True))
        height, width = sizes["Y"], sizes["X"]
        channels = int(np.prod([size for axis, size in sizes.items() if axis not in "YX"], dtype=np.int64))
        photometric = getattr(page, "photometric", None)
        name = getattr(photometric, "name", "")
        extra = tuple(getattr(page, "extrasamples", ()) or ())
        mode = "multichannel"
        if name == "PALETTE":
            mode = "P"
        elif name == "SEPARATED" and channels == 4:
            mode = "CMYK"
        elif channels in (1, 3):
            mode = "L" if channels == 1 else "RGB"
        elif channels in (2, 4) and extra:
            mode = "LA" if channels == 2 else "RGBA"
        return Header("TIFF", int(height), int(width), channels, str(series.dtype), mode)


def read_picture(path: Path | str, form: PictureFormat | None = None) -> np.ndarray:
    """The picture as (H, W, C), upright (EXIF applied), in `form` or in the file's own channels and depth.

    Palettes and CMYK become RGB, alpha is dropped, grey is repeated where colour is asked for, colour is averaged with
    the usual luminance weights where grey is asked for, and depth is rescaled over the full range of the integer type.

    Raises:
        UserError: missing, empty, truncated, not a picture, too large, or not convertible to `form`.
    """
    path = Path(path)
    header = probe(path)
    if header.height * header.width > MAX_PIXELS:
        raise UserError(
            f"{path}: {header.width} x {header.height} pixels are more than the {MAX_PIXELS:,} that are read at once; "
            "if the file is what it should be, save it as a tiled TIFF, which is read by blocks."
        )
    try:
        image = _decode(path, header)
    except _DAMAGE as error:
        raise _unreadable(path, str(error) or type(error).__name__) from None
    return image if form is None else convert(image, form, path)


def _decode(path: Path, header: Header) -> np.ndarray:
    if header.kind == "TIFF":
        return _decode_tiff(path, header)
    if header.dtype == "uint16" and header.channels >= 3:  # Pillow reads 16-bit colour as 8-bit
        data = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
        if data is None:
            raise OSError("truncated or damaged")
        return np.ascontiguousarray(data[:, :, 2::-1])
    with open_image(path) as opened:
        return from_pillow(opened)


def from_pillow(opened: Image.Image) -> np.ndarray:
    """A Pillow image of any mode as (H, W, C), upright, uint8, uint16 or float32; palettes as RGB, alpha dropped.

    Raises:
        OSError: pixels that are read only now, and cannot be.
    """
    # `exif_transpose` copies upright pictures, too.
    image = opened if opened.getexif().get(0x0112, 1) == 1 else ImageOps.exif_transpose(opened)
    if image.mode == "P":
        image = image.convert("RGB")
    elif image.mode in ("LA", "La", "PA"):
        image = image.convert("L" if image.mode != "PA" else "RGB")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB", "I", "F") and not image.mode.startswith("I;16"):
        image = image.convert("RGB")
    array = _pixels(image)
    if array.dtype == np.int32:
        array = np.clip(array, 0, 65535).astype(np.uint16)
    return array[:, :, None] if array.ndim == 2 else array


def _pixels(image: Image.Image) -> np.ndarray:
    """`np.array(image)`, in strips where it is large: for what it gives out, Pillow needs twice the memory again."""
    width, height = image.size
    rows = max(STRIP_PIXELS // width, 1)
    if height <= rows or width > STRIP_PIXELS:
        return np.array(image)
    first = np.asarray(image.crop((0, 0, width, rows)))
    array = np.empty((height, *first.shape[1:]), first.dtype)
    for top in range(0, height, rows):
        array[top : top + rows] = np.asarray(image.crop((0, top, width, min(top + rows, height))))
    return array


def _decode_tiff(path: Path, header: Header) -> np.ndarray:
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        array = series.asarray()
        axes = series.axes
        order = [axis for axis in axes if axis not in "YX"]
        array = np.transpose(array, [axes.index(axis) for axis in ["Y", "X", *order]])
        return finish_tiff(array.reshape(array.shape[0], array.shape[1], -1), tiff.pages[0], header)


def finish_tiff(array: np.ndarray, page: tifffile.TiffPage, header: Header) -> np.ndarray:
    """(H, W, C) values as a TIFF page stores them -> pixels: uint8, uint16 or float32, without palette and alpha.

    Args:
        array: the whole picture or a part of it.
        page: the picture's first page, for its palette and photometric interpretation.
    """
    array = np.ascontiguousarray(array)
    colormap = getattr(page, "colormap", None)
    if header.mode == "P" and colormap is not None:
        array = (np.moveaxis(colormap, 0, -1)[array[:, :, 0]] >> 8).astype(np.uint8)
    elif header.mode == "CMYK":
        array = np.array(Image.fromarray(array, "CMYK").convert("RGB"))
    elif header.has_alpha:
        array = np.ascontiguousarray(array[:, :, :-1])
    if getattr(getattr(page, "photometric", None), "name", "") == "MINISWHITE" and array.dtype.kind in "bu":
        array = ~array  # scans and faxes: 0 is white
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype not in (np.uint8, np.uint16):
        array = array.astype(np.float32)
    return array


def convert(image: np.ndarray, form: PictureFormat, path: Path | str = "picture") -> np.ndarray:
    """Brings (H, W, C) to the channels and dtype of `form`; a picture already in that form is returned as it is.

    Raises:
        UserError: between numbers of channels that have no natural conversion (anything but 1 <-> 3).
    """
    found = image.shape[2]
    if found != form.channels:
        if found == 1 and form.channels == 3:
            image = np.repeat(image, 3, axis=2)
        elif found == 3 and form.channels == 1:
            grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
            image = (grey if image.dtype == np.float32 else np.rint(grey).astype(image.dtype))[:, :, None]
        else:
            raise UserError(
                f"{path}: {found} channels found, {form.channels} expected as in most pictures of this dataset; "
                "convert the file or move it out."
            )
    if str(image.dtype) == form.dtype:
        return image
    if form.dtype == "float32":
        return image.astype(np.float32)
    full = FULL_RANGE[form.dtype]
    scale = full / FULL_RANGE.get(str(image.dtype), full)
    return np.clip(np.rint(image.astype(np.float32) * scale), 0, full).astype(form.dtype)


def read_ids(path: Path | str) -> np.ndarray:
    """A mask's stored values as (H, W) integers; palette pictures give their palette indices.

    Raises:
        UserError: unreadable, fractions, or a colour picture, which stores no ids.
    """
    path = Path(path)
    header = probe(path)
    if header.kind == "TIFF" and header.channels == 1:
        try:
            array = tifffile.imread(path).reshape(header.height, header.width)
        except _DAMAGE as error:
            raise _unreadable(path, str(error) or type(error).__name__) from None
        if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
            raise UserError(
                f"{path}: a mask must hold one whole class id per pixel, but this one holds fractions; round or "
                "threshold them and save the mask as an 8-bit picture."
            )
        if array.dtype == np.bool_:
            return array.astype(np.uint8) * 255
        return array.astype(np.int32 if array.dtype.itemsize > 1 else np.uint8, copy=False)
    if header.mode in ("1", "L", "P", "LA", "I") or header.mode.startswith("I;16"):
        try:
            with open_image(path) as opened:
                # An EXIF rotation on a mask is as binding as one on a picture.
                image = ImageOps.exif_transpose(opened)
                if image.mode == "1":
                    image = image.convert("L")
                elif image.mode == "LA":
                    image = image.getchannel("L")
                return np.array(image)
        except _DAMAGE as error:
            raise _unreadable(path, str(error) or type(error).__name__) from None
    raise UserError(
        f"{path}: a mask must hold one class id per pixel, but this is a colour picture ({header.mode}); "
        "`pixelwise check DATA --fix DIR` writes a copy with the colours turned into ids."
    )


def write_png(path: Path | str, array: np.ndarray) -> None:
    """Writes (H, W) or (H, W, 3) uint8, or (H, W) uint16, as PNG: complete under its final name, or not at all.

    Its folder is made if need be.

    Raises:
        OSError: as the system gives it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = io.BytesIO()
    Image.fromarray(array).save(encoded, format="PNG", compress_level=3)
    write_bytes(path, encoded.getvalue())
