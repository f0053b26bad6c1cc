"""TIFF: which of a file's pages are the picture, and how its tags change the stored values."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image

from pixelwise.data.header import Header
from pixelwise.data.orientation import TAG, swaps_sides, upright, valid
from pixelwise.errors import UserError

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
GDAL_NODATA = 42113
MAX_CHANNEL_PAGES = 16
"""Grey pages of one size without a stated meaning may be channels up to this number; more pages are slices."""
_CHANNEL_AXES = frozenset("CE")  # tifffile: channel, wavelength
_UNSTATED_AXES = frozenset("QI")


@dataclass(frozen=True, slots=True)
class TiffPicture:
    """The picture of an open TIFF.

    Attributes:
        series: its pages.
        page: the first page, whose tags apply to all.
        header: the header of the picture.
        alpha: index of the alpha channel; None if there is none.
    """

    series: tifffile.TiffPageSeries
    page: tifffile.TiffPage
    header: Header
    alpha: int | None

    @property
    def bits(self) -> int:
        return int(self.page.bitspersample)

    @property
    def is_white_zero(self) -> bool:
        return _photometric(self.page) == "MINISWHITE"

    @property
    def is_raw_ycbcr(self) -> bool:
        """Whether the pixels are luminance and chroma that no JPEG decoder turns into RGB."""
        compressed = getattr(self.page.compression, "name", "")
        return _photometric(self.page) == "YCBCR" and not ("JPEG" in compressed or "JP2" in compressed)

    @property
    def is_subsampled(self) -> bool:
        """Whether chroma is stored at a lower resolution, which tifffile does not read."""
        tag = self.page.tags.get("YCbCrSubSampling")
        return self.is_raw_ycbcr and (tag is None or tuple(tag.value) != (1, 1))

    def pixels(self, stored: np.ndarray) -> np.ndarray:
        """(H, W, C) stored values -> uint8, uint16 or float32, without palette and alpha; not yet upright.

        Palettes, CMYK, CIELAB and YCbCr become RGB, and integers of few bits are brought to the range of their type.

        Args:
            stored: the whole picture or a part of it, in the machine's byte order.

        Raises:
            ValueError: complex numbers.
        """
        stored = np.ascontiguousarray(stored)
        if stored.dtype.kind == "c":
            raise ValueError("complex numbers; save their magnitude")
        if self.header.mode == "P" and self.page.colormap is not None:
            return _colours(self.page.colormap)[stored[:, :, 0]]
        if self.alpha is not None:
            stored = np.delete(stored, self.alpha, axis=2)
        stored = self._full_range(stored)
        photometric = _photometric(self.page)
        if self.header.mode == "CMYK":
            return _rgb_of_cmyk(stored[:, :, :4])
        if photometric in ("CIELAB", "ICCLAB") and stored.shape[2] == 3 and stored.dtype.kind == "u":
            return _rgb_of_lab(stored, signed=photometric == "CIELAB")
        if self.is_raw_ycbcr and stored.shape[2] == 3 and stored.dtype == np.uint8:
            return np.array(Image.fromarray(stored, "YCbCr").convert("RGB"))
        if stored.dtype in (np.uint8, np.uint16, np.float32):
            return stored
        with np.errstate(over="ignore", invalid="ignore"):  # values that float32 cannot hold become gaps
            return stored.astype(np.float32)

    def plane(self, stored: np.ndarray) -> np.ndarray:
        """(H, W, C) stored values -> the numbers of the only channel that is not alpha, (H, W); not yet upright."""
        plane = stored[:, :, 1 if self.alpha == 0 else 0]
        if plane.dtype == np.bool_:
            return (~plane if self.is_white_zero else plane).astype(np.uint8) * 255
        if 0 < plane.max(initial=0) < 2**self.bits / 2:  # ids: inverted, all would be white or almost white
            return plane
        return self._white_is_high(plane)

    def _full_range(self, stored: np.ndarray) -> np.ndarray:
        """Scales unsigned integers so that they grow with brightness, from 0 to the largest value of their type."""
        if stored.dtype == np.bool_:
            return (~stored if self.is_white_zero else stored).astype(np.uint8) * 255
        stored = self._white_is_high(stored)
        if stored.dtype not in (np.uint8, np.uint16) or self.bits >= 8 * stored.dtype.itemsize:
            return stored
        factor = np.iinfo(stored.dtype).max / (2**self.bits - 1)
        return np.rint(stored * np.float32(factor)).astype(stored.dtype)

    def _white_is_high(self, stored: np.ndarray) -> np.ndarray:
        if self.is_white_zero and stored.dtype.kind == "u":  # scans and faxes: 0 is white
            return stored.dtype.type(2**self.bits - 1) - stored
        return stored


def check_chain(tiff: tifffile.TiffFile) -> None:
    """Follows the chain of the pages' directories, each of which holds the position of the next.

    Raises:
        ValueError: a directory that occurs twice: the file would have endlessly many pages.
        struct.error: the file ends within a directory.
    """
    layout, file = tiff.tiff, tiff.filehandle
    file.seek(4 if layout.version == 42 else 8)
    seen: set[int] = set()
    while offset := struct.unpack(layout.offsetformat, file.read(layout.offsetsize))[0]:
        if offset in seen:
            raise ValueError("its pages are chained in a ring")
        if offset >= file.size:
            return  # tifffile reports this, and leaves out such pages
        seen.add(offset)
        file.seek(offset)
        (tags,) = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))
        file.seek(offset + layout.tagnosize + tags * layout.tagsize)


def find_picture(tiff: tifffile.TiffFile) -> TiffPicture:
    """The picture of a file: the largest of its series of pages, without previews and transparency masks.

    Raises:
        LookupError: no pages, or none with rows and columns.
        ValueError: endlessly many pages.
    """
    check_chain(tiff)
    whole = [series for series in tiff.series if not (series.keyframe.is_reduced or series.keyframe.is_mask)]
    series = max(whole or tiff.series, key=lambda one: _size(one)[0] * _size(one)[1])
    page = series.keyframe
    height, width = _size(series)
    orientation = valid(_tag(page, TAG))
    if swaps_sides(orientation):
        height, width = width, height
    sizes = {axis: size for axis, size in zip(series.axes, series.shape, strict=True) if axis not in "YX"}
    channels = math.prod(sizes.values())
    pages = math.prod(size for axis, size in sizes.items() if axis != "S")
    samples = channels // pages
    extra = [int(kind) for kind in page.extrasamples or ()]
    alphas = [samples - len(extra) + index for index, kind in enumerate(extra) if kind in (1, 2)]
    alpha = alphas[0] if alphas and pages == 1 and samples > 1 else None
    return TiffPicture(
        series,
        page,
        Header(
            kind="TIFF",
            height=height,
            width=width,
            channels=channels,
            dtype=str(series.dtype),
            mode=_mode(page, samples - (alpha is not None), pages, alpha is not None),
            orientation=orientation,
            has_alpha=alpha is not None,
            nodata=_nodata(page),
            frames=max(len(whole), 1),
            pages=pages,
            meaning=_meaning(sizes, samples, pages),
        ),
        alpha,
    )


def probe_tiff(path: Path) -> Header:
    """The header of a TIFF's picture.

    Raises:
        Exception: one of `header.DAMAGE`.
    """
    with tifffile.TiffFile(path) as tiff:
        return find_picture(tiff).header


def read_tiff(path: Path) -> np.ndarray:
    """The picture as (H, W, C), upright: uint8, uint16 or float32.

    Raises:
        UserError: a stack of slices.
        Exception: one of `header.DAMAGE`.
    """
    with tifffile.TiffFile(path) as tiff:
        picture = find_picture(tiff)
        if picture.header.meaning == "slices":
            raise stack_error(path, picture.header)
        if picture.is_subsampled:
            return _read_subsampled(path)
        return upright(picture.pixels(_stored(picture)), picture.header.orientation)


def _read_subsampled(path: Path) -> np.ndarray:
    """(H, W, 3) of a TIFF whose chroma is stored at a lower resolution; libtiff, inside OpenCV, turns it upright."""
    data = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if data is None:
        raise OSError("truncated or damaged")
    return np.ascontiguousarray(data[:, :, ::-1])


def read_tiff_plane(path: Path) -> np.ndarray:
    """The numbers of a one-channel picture as they are stored, (H, W), upright, 255 for a white bit.

    Raises:
        UserError: several pages.
        Exception: one of `header.DAMAGE`.
    """
    with tifffile.TiffFile(path) as tiff:
        picture = find_picture(tiff)
        if picture.header.pages > 1:
            raise stack_error(path, picture.header)
        return upright(picture.plane(_stored(picture)), picture.header.orientation)


def stack_error(path: Path | str, header: Header) -> UserError:
    """The error for a file of several pages in place of one picture."""
    return UserError(
        f"{path}: a stack of {header.pages} pages (slices) of {header.width} x {header.height} pixels, but one picture "
        "per file is expected; split it, pictures and masks alike, into one file per slice (in Fiji: Save As > Image "
        "Sequence). If the pages of a picture are its channels, save it with the axes CYX.",
        code="stack",
    )


def check_segments(page: tifffile.TiffPage | tifffile.TiffFrame) -> None:
    """Checks that a page's directory lists all of its tiles or strips.

    Raises:
        ValueError: it lists fewer than the page's size needs.
    """
    expected, listed = math.prod(page.keyframe.chunked), len(page.dataoffsets)
    if listed < expected:
        raise ValueError(f"{expected:,} tiles or strips expected, {listed:,} listed")


def _stored(picture: TiffPicture) -> np.ndarray:
    """All values of a picture as (H, W, C), not upright."""
    check_segments(picture.page)
    array = picture.series.asarray()
    axes = picture.series.axes
    order = [axis for axis in axes if axis not in "YX"]
    array = np.transpose(array, [axes.index(axis) for axis in ("Y", "X", *order)])
    return array.reshape(array.shape[0], array.shape[1], -1)


def _size(series: tifffile.TiffPageSeries) -> tuple[int, int]:
    sizes = dict(zip(series.axes, series.shape, strict=True))
    return int(sizes["Y"]), int(sizes["X"])


def _photometric(page: tifffile.TiffPage) -> str:
    return str(getattr(page.photometric, "name", ""))


def _tag(page: tifffile.TiffPage, code: int) -> Any:
    tag = page.tags.get(code)
    return None if tag is None else tag.value


def _nodata(page: tifffile.TiffPage) -> float | None:
    """GDAL's no-data value, if it is one of the values that can be read."""
    if _photometric(page) in ("PALETTE", "MINISWHITE") or page.bitspersample % 8:
        return None
    try:
        return float(str(_tag(page, GDAL_NODATA)).strip("\0 "))
    except ValueError:
        return None


def _mode(page: tifffile.TiffPage, colours: int, pages: int, alpha: bool) -> str:
    """Pillow's name for such pixels.

    Args:
        colours: samples per pixel without alpha.
    """
    photometric = _photometric(page)
    if photometric == "PALETTE" and pages == 1 and colours == 1:
        return "P"
    if photometric == "SEPARATED" and pages == 1 and colours == 4:
        return "CMYK"
    if pages > 1 or colours not in (1, 3):
        return "multichannel"
    return ("L" if colours == 1 else "RGB") + ("A" if alpha else "")


def _meaning(sizes: dict[str, int], samples: int, pages: int) -> str:
    if pages == 1:
        return ""
    axes = {axis for axis, size in sizes.items() if axis != "S" and size > 1}
    if axes <= _CHANNEL_AXES:
        return "channels"
    unstated = axes <= _CHANNEL_AXES | _UNSTATED_AXES and samples == 1 and pages <= MAX_CHANNEL_PAGES
    return "unknown" if unstated else "slices"


def _colours(colormap: np.ndarray) -> np.ndarray:
    """(3, N) 16-bit colours, or 8-bit ones as some programs write them -> (N, 3) uint8."""
    shift = 8 if colormap.max(initial=0) > 255 else 0
    return np.ascontiguousarray((colormap >> shift).astype(np.uint8).T)


def _rgb_of_cmyk(inks: np.ndarray) -> np.ndarray:
    """(H, W, 4) -> (H, W, 3) of the same type, without a colour profile."""
    if inks.dtype == np.uint8:
        return np.array(Image.fromarray(inks, "CMYK").convert("RGB"))
    full = np.float32(np.iinfo(inks.dtype).max)
    paper = 1 - inks.astype(np.float32) / full
    return np.rint(paper[:, :, :3] * paper[:, :, 3:] * full).astype(inks.dtype)


# XYZ under D50, the white of CIELAB in files, to linear sRGB (Bradford adaptation; brucelindbloom.com).
_WHITE = np.array([0.96422, 1.0, 0.82521], np.float32)
_TO_RGB = np.array(
    [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]],
    np.float32,
)


def _rgb_of_lab(stored: np.ndarray, *, signed: bool) -> np.ndarray:
    """(H, W, 3) CIELAB as TIFF stores it -> sRGB of the same type.

    Args:
        signed: a and b are two's complement (CIELAB) rather than offset by half the range (ICCLAB).
    """
    full, half = np.float32(np.iinfo(stored.dtype).max), 1 << (8 * stored.dtype.itemsize - 1)
    step = np.float32(half // 128)
    chroma = stored[:, :, 1:].view(f"i{stored.dtype.itemsize}") if signed else stored[:, :, 1:].astype(np.int32) - half
    chroma = chroma.astype(np.float32) / step
    y = (stored[:, :, 0].astype(np.float32) * (100 / full) + 16) / 116
    curve = np.stack([y + chroma[:, :, 0] / 500, y, y - chroma[:, :, 1] / 200], axis=2)
    xyz = np.where(curve > 6 / 29, curve**3, (curve - 4 / 29) * np.float32(3 * (6 / 29) ** 2)) * _WHITE
    linear = np.clip(xyz @ _TO_RGB.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(encoded * full).astype(stored.dtype)
