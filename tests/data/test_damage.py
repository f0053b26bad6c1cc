"""Hundreds of damaged files: each is read or told in a sentence, without a warning of numpy's, and keeps its bytes."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.data.doctor import examine
from pixelwise.data.pictures import probe, read_ids, read_picture
from pixelwise.errors import UserError
from pixelwise.inference.rasters import TiffRaster, open_raster

RNG = np.random.default_rng(0)
RGB = np.kron(RNG.integers(0, 256, (4, 5, 3)), np.ones((5, 5, 1))).astype(np.uint8)
GREY = RGB[:, :, 0]


def by_pillow(image: np.ndarray, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


def by_tifffile(image: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, image, **options)
    return stream.getvalue()


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


INTACT: dict[str, bytes] = {
    "png": by_pillow(RGB, "PNG", exif=exif(6)),
    "deep.png": by_pillow(GREY.astype(np.uint16) * 257, "PNG"),
    "jpg": by_pillow(RGB, "JPEG", exif=exif(3)),
    "gif": by_pillow(GREY, "GIF"),
    "webp": by_pillow(RGB, "WEBP", lossless=True),
    "pgm": by_pillow(GREY, "PPM"),
    "jp2": by_pillow(RGB, "JPEG2000"),
    "bmp": by_pillow(RGB, "BMP"),
    "tga": by_pillow(RGB, "TGA"),
    "turned.tif": by_tifffile(RGB, photometric="rgb", extratags=[(274, 3, 1, 8, True)]),
    "tiles.tif": by_tifffile(RGB, photometric="rgb", tile=(16, 16), compression="zlib"),
    "nodata.tif": by_tifffile(GREY.astype(np.float32), extratags=[(42113, 2, 0, "-9999", True)]),
    "palette.tif": by_tifffile(
        GREY, photometric="palette", colormap=RNG.integers(0, 65536, (3, 256)).astype(np.uint16)
    ),
    "lab.tif": by_tifffile(RGB, photometric="cielab"),
    "pages.tif": by_tifffile(np.stack([GREY] * 3), photometric="minisblack"),
    "white.tif": by_tifffile(GREY > 99, photometric="miniswhite"),
    "cmyk.tif": by_tifffile(np.concatenate([RGB, RGB[:, :, :1]], 2).astype(np.uint16), photometric="separated"),
}


def cut(content: bytearray, rng: np.random.Generator) -> None:
    del content[int(rng.integers(0, len(content))) :]


def flip(content: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(0, min(len(content), 600), rng.integers(1, 9)):
        content[place] ^= 1 << int(rng.integers(0, 8))


def overwrite(content: bytearray, rng: np.random.Generator) -> None:
    """Extreme numbers where headers keep sizes, counts and offsets."""
    start = int(rng.integers(0, max(min(len(content), 300) - 4, 1)))
    content[start : start + 4] = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\1\0\0\0"][rng.integers(0, 4)]


def repeat(content: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(0, len(content)))
    content[start:start] = content[start : start + int(rng.integers(1, 64))]


HARM = (cut, flip, flip, overwrite, overwrite, repeat)


def read_by_blocks(path: Path) -> None:
    with open_raster(path) as raster:
        raster.read(0, raster.height, 0, raster.width)
    if probe(path).kind == "TIFF":
        with TiffRaster(path) as raster:
            raster.read(0, min(raster.height, 9), 0, min(raster.width, 9))
            raster.unknown(0, min(raster.height, 9), 0, min(raster.width, 9))


@pytest.mark.parametrize("name", INTACT)
def test_intact_files_are_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{name}"
    path.write_bytes(INTACT[name])
    assert min(read_picture(path).shape[:2]) == 20
    read_by_blocks(path)


@pytest.mark.parametrize("name", INTACT)
def test_damaged_files_are_a_sentence(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(len(name))
    reads: tuple[Callable[[Path], object], ...] = (probe, read_picture, read_ids, read_by_blocks)
    for number in range(24):
        content = bytearray(INTACT[name])
        HARM[number % len(HARM)](content, rng)
        path = tmp_path / f"{number}.{name}"
        path.write_bytes(content)
        for read in reads:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", RuntimeWarning)
                with contextlib.suppress(UserError):
                    read(path)
        assert path.read_bytes() == content


def test_the_doctor_survives_them_all(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for number, (name, intact) in enumerate(INTACT.items()):
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
            content = bytearray(intact)
            HARM[number % len(HARM)](content, rng)
            (tmp_path / folder / f"p{number}.{name.rpartition('.')[2]}").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        diagnosis = examine(tmp_path)
    assert diagnosis.summary.pictures == len(INTACT)


def test_pages_in_a_ring_are_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(INTACT["pages.tif"])
    with tifffile.TiffFile(path) as tiff:
        first, last = tiff.pages[0].offset, tiff.pages[-1].offset
        tags = len(tiff.pages[-1].tags)
    content = bytearray(path.read_bytes())
    place = last + 2 + 12 * tags
    content[place : place + 4] = first.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(UserError, match="ring"):
        probe(path)
