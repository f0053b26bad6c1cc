"""A block of a raster is that block of the picture, whatever the file's layout."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.data.pictures import read_picture
from pixelwise.errors import UserError
from pixelwise.inference import rasters
from pixelwise.inference.rasters import TiffRaster, open_raster

HEIGHT, WIDTH = 130, 171


def pixels(channels: int = 3, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """Smooth in space, so that JPEG keeps it."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = [np.sin(y / a + x / b) * 0.5 + 0.5 for a, b in generator.uniform(5, 40, (channels, 2))]
    full = {"uint8": 255, "uint16": 65535, "float32": 1.0, "int16": 30000}[dtype]
    array = (np.stack(waves, axis=2) * full).astype(dtype)
    return array[:, :, 0] if channels == 1 else array


LAYOUTS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "strips": (pixels(), {"photometric": "rgb", "rowsperstrip": 7}),
    "one strip": (pixels(), {"photometric": "rgb"}),
    "one strip, big-endian": (pixels(dtype="uint16"), {"photometric": "rgb", "byteorder": ">"}),
    "planes": (pixels().transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}),
    "lzw strips": (pixels(), {"photometric": "rgb", "compression": "lzw", "rowsperstrip": 9}),
    "deflate with predictor": (
        pixels(dtype="uint16"),
        {"photometric": "rgb", "compression": "zlib", "predictor": True, "tile": (32, 48)},
    ),
    "zstd": (pixels(), {"photometric": "rgb", "compression": "zstd", "tile": (64, 32)}),
    "jpeg": (pixels(), {"photometric": "ycbcr", "compression": "jpeg", "tile": (32, 32)}),
    "jpeg strips": (pixels(1), {"compression": "jpeg", "rowsperstrip": 16}),
    "tiles": (pixels(), {"photometric": "rgb", "tile": (16, 64)}),
    "tiles of planes": (
        pixels().transpose(2, 0, 1),
        {"photometric": "rgb", "planarconfig": "separate", "tile": (48, 32), "compression": "zlib"},
    ),
    "big": (pixels(1), {"bigtiff": True, "tile": (32, 32)}),
    "alpha": (pixels(4), {"photometric": "rgb", "extrasamples": ["unassalpha"], "tile": (32, 32)}),
    "float": (pixels(1, "float32"), {"compression": "lzw", "rowsperstrip": 20}),
    "signed": (pixels(1, "int16"), {"tile": (32, 32)}),
    "palette": (
        pixels(1),
        {
            "photometric": "palette",
            "colormap": np.random.default_rng(1).integers(0, 65535, (3, 256)).astype(np.uint16),
            "tile": (32, 32),
        },
    ),
    "bilevel": (pixels(1) > 99, {"photometric": "minisblack", "rowsperstrip": 5}),
    "white is zero": (pixels(1), {"photometric": "miniswhite", "compression": "zlib", "rowsperstrip": 5}),
    "pages": (pixels(5).transpose(2, 0, 1), {"photometric": "minisblack", "tile": (32, 32), "compression": "zlib"}),
    "pages, plain": (pixels(2, "uint16").transpose(2, 0, 1), {"photometric": "minisblack"}),
}


def write(path: Path, layout: str) -> Path:
    array, options = LAYOUTS[layout]
    tifffile.imwrite(path, array, **options)
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_blocks_are_parts_of_the_picture(layout: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", layout)
    whole = read_picture(path)
    with TiffRaster(path) as raster:
        assert (raster.height, raster.width, raster.channels) == whole.shape
        assert raster.dtype == str(whole.dtype)
        assert np.array_equal(raster.read(0, HEIGHT, 0, WIDTH), whole)
        for top, bottom, left, right in ((0, 1, 0, 1), (5, 70, 40, 171), (31, 33, 31, 65), (129, 130, 170, 171)):
            block = raster.read(top, bottom, left, right)
            assert block.dtype.isnative
            assert np.array_equal(block, whole[top:bottom, left:right])


def test_the_oracle_agrees() -> None:
    """What `read_picture` makes of the simple layouts is the array that was written."""
    for layout in ("strips", "tiles", "deflate with predictor", "one strip, big-endian"):
        array, options = LAYOUTS[layout]
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, array, **options)
        buffer.seek(0)
        assert np.array_equal(tifffile.imread(buffer), array)


def test_white_is_zero_is_turned_around(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", "white is zero")
    assert np.array_equal(read_picture(path)[:, :, 0], 255 - LAYOUTS["white is zero"][0])


@pytest.mark.parametrize("layout", ["tiles", "jpeg", "one strip", "pages"])
def test_large_tiffs_are_read_by_blocks(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tif", layout)
    assert not isinstance(open_raster(path), TiffRaster)
    monkeypatch.setattr(rasters, "AT_ONCE_BYTES", 0)
    with open_raster(path) as raster:
        assert isinstance(raster, TiffRaster)
        assert np.array_equal(raster.read(3, 80, 9, 100), read_picture(path)[3:80, 9:100])


def test_few_segments_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tif", "zstd")
    monkeypatch.setattr(rasters, "TILE_CACHE_BYTES", 3 * 64 * 32 * 3)
    with TiffRaster(path) as raster:
        raster.read(0, HEIGHT, 0, WIDTH)
        assert len(raster._decoded) == 3
        assert raster._cached == sum(segment.nbytes for segment in raster._decoded.values())


def test_segments_are_decoded_once_while_they_are_kept(tmp_path: Path) -> None:
    with TiffRaster(write(tmp_path / "a.tif", "jpeg")) as raster:
        raster.read(0, 32, 0, 64)
        kept = list(raster._decoded.values())
        raster.read(0, 20, 10, 64)
        assert all(any(one is other for other in kept) for one in raster._decoded.values())


def test_overlapping_blocks_decode_each_segment_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks row by row that share 16 pixels, with room for a quarter of the segments."""
    values = np.random.default_rng(0).integers(0, 256, (144, 256, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", tile=(16, 16), compression="zlib")
    monkeypatch.setattr(rasters, "TILE_CACHE_BYTES", 36 * 16 * 16 * 3)
    with TiffRaster(tmp_path / "a.tif") as raster:
        raster._decoded.clear()
        raster._cached = 0
        keyframe = raster._pages[0].keyframe
        decoded: list[int] = []
        decode = keyframe.decode

        def counted(stored: bytes, index: int, **options: object) -> object:
            decoded.append(index)
            return decode(stored, index, **options)

        monkeypatch.setattr(keyframe, "decode", counted)
        for top in range(0, 128, 32):
            for left in range(0, 240, 48):
                found = raster.read(top, top + 48, left, left + 64)
                assert np.array_equal(found, values[top : top + 48, left : left + 64])
        assert sorted(decoded) == list(range(9 * 16))
        assert raster._cached == sum(segment.nbytes for segment in raster._decoded.values())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_pillow_images_equal_their_files(mode: str, tmp_path: Path) -> None:
    grey = pixels(1)
    if mode == "I;16":
        image = Image.fromarray(pixels(1, "uint16"))
    elif mode == "F":
        image = Image.fromarray(pixels(1, "float32"))
    else:
        image = Image.fromarray(grey).convert(mode)
    path = tmp_path / ("a.tif" if mode in ("F", "CMYK") else "a.png")
    image.save(path)
    raster = open_raster(image)
    assert np.array_equal(raster.read(0, HEIGHT, 0, WIDTH), open_raster(path).read(0, HEIGHT, 0, WIDTH))


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    image = Image.fromarray(pixels())
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    raster = open_raster(tmp_path / "a.jpg")
    assert (raster.height, raster.width) == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.ones((3, 5), bool), np.full((3, 5, 1), 255, np.uint8)),
        (np.full((3, 5), 200, np.int64), np.full((3, 5, 1), 200, np.float32)),
        (np.full((3, 5, 7), 2, np.uint16), np.full((3, 5, 7), 2, np.uint16)),
    ],
)
def test_arrays(array: np.ndarray, expected: np.ndarray) -> None:
    raster = open_raster(array)
    assert raster.dtype == str(expected.dtype)
    assert np.array_equal(raster.read(0, 3, 0, 5), expected)


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((0, 4)), np.zeros((1, 2, 3, 4)), np.full((2, 2), "a")])
def test_what_is_no_picture_is_refused(array: np.ndarray) -> None:
    with pytest.raises(UserError, match="a picture"):
        open_raster(array)


def test_a_png_that_claims_more_than_its_bytes_can_hold(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[16:24] = struct.pack(">II", 30_000, 30_000)
    import zlib

    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path = tmp_path / "bomb.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"claims 30,000 x 30,000 pixels"):
        open_raster(path)


def test_a_tiff_without_its_segments(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", "tiles")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[0].tags["ImageLength"]
        content[tag.valueoffset : tag.valueoffset + 2] = struct.pack("<H", 60_000)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"tiles or strips expected"):
        TiffRaster(path)


@pytest.mark.parametrize("layout", ["lzw strips", "zstd", "jpeg", "one strip", "tiles"])
def test_damaged_tiffs_are_a_sentence(layout: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", layout)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[len(tiff.pages[0].dataoffsets) // 2]
    content = path.read_bytes()
    path.write_bytes(content[: offset + 20])
    with pytest.raises(UserError, match=r"a\.tif"), TiffRaster(path) as raster:
        raster.read(0, HEIGHT, 0, WIDTH)


def test_a_huge_compressed_strip_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels(), photometric="rgb", compression="zlib", rowsperstrip=HEIGHT)
    monkeypatch.setattr(rasters, "AT_ONCE_BYTES", 0)
    monkeypatch.setattr(rasters, "SEGMENT_BYTES", 1000)
    assert not isinstance(open_raster(path), TiffRaster)
    monkeypatch.setattr(rasters, "MAX_PIXELS", 1000)
    with pytest.raises(UserError, match="compressed in pieces of 66,690 bytes; save it as a tiled TIFF"):
        open_raster(path)
