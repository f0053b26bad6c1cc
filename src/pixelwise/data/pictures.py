"""Reading and writing single pictures and masks, whatever their mode, depth or orientation."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pixelwise.atomic import write_bytes
from pixelwise.data import tiff
from pixelwise.data.gaps import HUGE, channel_means, fill, find_gaps
from pixelwise.data.header import DAMAGE, Header, open_image, unreadable
from pixelwise.data.orientation import TAG, upright, valid
from pixelwise.data.probing import probe
from pixelwise.data.sample import VOID
from pixelwise.errors import UserError

__all__ = [
    "FULL_RANGE",
    "KIND_SUFFIXES",
    "MAX_PIXELS",
    "PICTURE_SUFFIXES",
    "Header",
    "PictureFormat",
    "as_dtype",
    "convert",
    "from_pillow",
    "holds_fractions",
    "open_image",
    "probe",
    "read_filled",
    "read_ids",
    "read_picture",
    "write_png",
]

KIND_SUFFIXES = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".mpo"),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "DIB": (".bmp", ".dib"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "AVIF": (".avif",),
    "TGA": (".tga",),
}
"""True format -> its possible suffixes, the usual one first."""
PICTURE_SUFFIXES = frozenset(suffix for suffixes in KIND_SUFFIXES.values() for suffix in suffixes)
MAX_PIXELS = 1_000_000_000
"""Larger pictures are refused, unless they are TIFFs that can be read in blocks (`pixelwise.inference`)."""
STRIP_PIXELS = 1 << 24
"""How many pixels are taken out of a Pillow image at once."""
FULL_RANGE = {"uint8": 255.0, "uint16": 65535.0}
"""The largest value of each integer dtype of pictures; float pictures have none."""


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """The form to which all pictures of one dataset are converted: channels (1, 3, or more) and dtype."""

    channels: int = 3
    dtype: str = "uint8"


def as_dtype(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Converts computed values back to a picture's type: rounded and clipped to its range, if it has one."""
    if str(dtype) not in FULL_RANGE:
        return values.astype(dtype)
    return np.clip(np.rint(values), 0, FULL_RANGE[str(dtype)]).astype(dtype)


def read_picture(path: Path | str, form: PictureFormat | None = None) -> np.ndarray:
    """Reads a picture as (H, W, C), upright, in `form` or in the file's own channels and depth.

    Palettes, CMYK and CIELAB become RGB, alpha is dropped, grey is repeated if `form` has colour, colour is averaged
    with the usual luminance weights if `form` is grey, and the depth is rescaled over the full range of the integer
    type. Pixels without a value are filled, see `gaps`.

    Raises:
        UserError: the file is missing, empty, truncated, not a picture, a stack of slices, too large, or cannot be
            converted to `form`.
    """
    return read_filled(path, form)[0]


def read_filled(path: Path | str, form: PictureFormat | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """The picture as `read_picture` returns it, and which values were missing: (H, W, C) bool in the file's own
    channels, or None.

    Raises:
        UserError: as in `read_picture`.
    """
    path = Path(path)
    header = probe(path)
    if header.height * header.width > MAX_PIXELS:
        raise UserError(
            f"{path}: {header.width} x {header.height} pixels are more than the {MAX_PIXELS:,} that are read at once; "
            "if the size is right, save the picture as a tiled TIFF, which is read in blocks."
        )
    try:
        image = _decode(path, header)
    except DAMAGE as error:
        raise unreadable(path, error) from None
    gaps = find_gaps(image, header.nodata) if header.may_have_gaps else None
    if gaps is not None:
        image = fill(image, gaps, channel_means(image, gaps))
    if form is None:
        return image, gaps
    if form.dtype != "float32" and holds_fractions(image):
        image = image * np.float32(FULL_RANGE[form.dtype])
    return convert(image, form, path), gaps


def holds_fractions(image: np.ndarray) -> bool:
    """Whether a picture holds floats from 0 to 1, where 1 is white."""
    return (
        image.dtype == np.float32
        and bool(image.size)
        and image.min() >= 0
        and image.max() <= 1
        and not np.array_equal(image, np.rint(image))
    )


def _decode(path: Path, header: Header) -> np.ndarray:
    if header.kind == "TIFF":
        return tiff.read_tiff(path)
    if header.dtype == "uint16" and header.channels >= 2:  # Pillow reads it as 8-bit
        return upright(_decode_deep(path)[:, :, : 1 if header.channels == 2 else 3], header.orientation)
    with open_image(path) as opened:
        return from_pillow(opened, header.orientation)


def _decode_deep(path: Path) -> np.ndarray:
    """(H, W, 3) of a 16-bit PNG."""
    data = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if data is None:
        raise OSError("truncated or damaged")
    return np.ascontiguousarray(data[:, :, 2::-1])


def from_pillow(image: Image.Image, orientation: int | None = None) -> np.ndarray:
    """A Pillow image of any mode as (H, W, C), upright, uint8, uint16 or float32; palettes as RGB, alpha dropped.

    Args:
        orientation: the orientation of the stored pixels; None to use the image's EXIF.

    Raises:
        OSError: the pixels, which Pillow reads only now, cannot be read.
    """
    if orientation is None:
        image.load()  # turns TIFFs upright
        orientation = valid(image.getexif().get(TAG))
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
    return upright(array[:, :, None] if array.ndim == 2 else array, orientation)


def _pixels(image: Image.Image) -> np.ndarray:
    """`np.array(image)`, in strips if the image is large, because Pillow needs twice the memory of what it returns."""
    width, height = image.size
    rows = max(STRIP_PIXELS // width, 1)
    if height <= rows or width > STRIP_PIXELS:
        return np.array(image)
    first = np.asarray(image.crop((0, 0, width, rows)))
    array = np.empty((height, *first.shape[1:]), first.dtype)
    for top in range(0, height, rows):
        array[top : top + rows] = np.asarray(image.crop((0, top, width, min(top + rows, height))))
    return array


def convert(image: np.ndarray, form: PictureFormat, path: Path | str = "picture") -> np.ndarray:
    """Converts (H, W, C) to the channels and dtype of `form`; a picture already in that form is returned as it is.

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
    """A mask's stored values as (H, W) integers from 0; palette pictures give their palette indices.

    For colour pictures with three equal channels, one of them is returned; if only the alpha channel varies, it is the
    mask.

    If a file states a no-data value other than 0, pixels with that value are void (255), or 0 in a map of objects.

    Raises:
        UserError: a file that cannot be read, a colour picture, which stores no ids, several pages (code `stack`), or
            fractions, negative numbers, NaN or infinity (code `mask-values`).
    """
    path = Path(path)
    header = probe(path)
    if not header.stores_ids and header.pages == 1:
        image = read_picture(path)
        if image.dtype.kind == "u" and (image == image[:, :, :1]).all():
            ids = np.ascontiguousarray(image[:, :, 0])
            return _alpha(path, header) if header.mode == "RGBA" and ids.min() == ids.max() else ids
        raise UserError(
            f"{path}: a mask must hold one class id per pixel, but this is a colour picture ({header.mode}); "
            "`pixelwise check DATA --fix DIR` writes a copy with the colours turned into ids."
        )
    try:
        ids = tiff.read_tiff_plane(path) if header.kind == "TIFF" else _decode_ids(path, header)
    except DAMAGE as error:
        raise unreadable(path, error) from None
    return ids if ids.dtype in (np.uint8, np.uint16) and header.nodata is None else _whole_ids(ids, header.nodata, path)


def _decode_ids(path: Path, header: Header) -> np.ndarray:
    if header.mode == "LA" and header.dtype == "uint16":
        return upright(_decode_deep(path)[:, :, 0], header.orientation)
    with open_image(path) as image:
        if image.mode == "1":
            image = image.convert("L")
        elif image.mode == "LA":
            low, high = image.getchannel("L").getextrema()
            image = image.getchannel("A" if low == high else "L")
        ids = np.array(image)
    if header.kind == "PPM":
        ids = _unscaled(ids, path)
    if header.kind == "PNG" and header.mode == "L":
        ids = _of_few_bits(ids, path)
    # An EXIF rotation applies to a mask as it does to a picture.
    return upright(ids, header.orientation)


def _alpha(path: Path, header: Header) -> np.ndarray:
    """The alpha channel of an 8-bit picture, (H, W), upright."""
    with open_image(path) as image:
        return upright(np.array(image.convert("RGBA").getchannel("A")), header.orientation)


def _of_few_bits(ids: np.ndarray, path: Path) -> np.ndarray:
    """The numbers in a grey PNG of 2 or 4 bits; Pillow scales them from 0..3 or 0..15 to the range of a byte."""
    with path.open("rb") as file:
        bits = file.read(25)[24]
    return np.rint(ids * ((2**bits - 1) / 255)).astype(np.uint8) if bits in (2, 4) else ids


def _unscaled(ids: np.ndarray, path: Path) -> np.ndarray:
    """The numbers in a PGM file; Pillow scales them from 0 to the stated maximum to the range of its type."""
    with path.open("rb") as file:
        words = re.sub(rb"#[^\n\r]*", b" ", file.read(1024)).split(maxsplit=4)
    full = 255 if ids.dtype == np.uint8 else 65535
    if words[0] not in (b"P2", b"P5") or int(words[3]) == full:
        return ids
    return np.rint(ids * (int(words[3]) / full)).astype(ids.dtype)


def _whole_ids(ids: np.ndarray, nodata: float | None, path: Path) -> np.ndarray:
    """Stored numbers as uint8, uint16, int32 or, if they are larger, int64.

    Raises:
        UserError: numbers that are not ids.
    """
    if nodata:
        lost = np.isnan(ids) if np.isnan(nodata) else ids == nodata
        if lost.any():
            ids = ids.astype(np.float64 if ids.dtype.kind == "f" else np.int64)
            ids[lost] = VOID if ids[~lost].max(initial=0) <= VOID else 0
    if ids.dtype.kind == "f":
        odd = int(ids.size - np.count_nonzero(np.abs(ids) < HUGE))
        if odd:
            raise _no_ids(path, f"{odd:,} of {ids.size:,} pixels hold NaN, infinity or a no-data number", "set them")
        if not np.array_equal(ids, np.rint(ids)):
            raise _no_ids(path, "this one holds fractions", "round or threshold them, set pixels without a label")
    elif ids.dtype.kind not in "iu":
        raise _no_ids(path, f"this one holds {ids.dtype} numbers", "export it again, with pixels to skip set")
    low, high = ids.min(initial=0), ids.max(initial=0)
    if low < 0:
        count = int(np.count_nonzero(ids < 0))
        raise _no_ids(path, f"{count:,} of {ids.size:,} pixels hold negative numbers (down to {low:g})", "set them")
    if ids.dtype in (np.uint8, np.uint16):
        return ids
    return ids.astype(np.int32 if high <= np.iinfo(np.int32).max else np.int64)


def _no_ids(path: Path, found: str, first: str) -> UserError:
    return UserError(
        f"{path}: a mask must hold one whole class id per pixel, but {found}; {first} to 255 (void), and save the mask "
        "as an 8-bit picture.",
        code="mask-values",
    )


def write_png(path: Path | str, array: np.ndarray) -> None:
    """Writes (H, W) or (H, W, 3) uint8, or (H, W) uint16, as PNG: complete under its final name, or not at all.

    Creates the folder if necessary.

    Raises:
        OSError: as the system raises it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = io.BytesIO()
    Image.fromarray(array).save(encoded, format="PNG", compress_level=3)
    write_bytes(path, encoded.getvalue())
