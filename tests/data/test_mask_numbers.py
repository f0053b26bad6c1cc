"""Masks hold whole numbers from 0 on: what they store is read, and what is no id is said."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.data.pictures import probe, read_ids, read_picture
from pixelwise.errors import UserError

IDS = np.random.default_rng(0).integers(0, 5, (5, 7)).astype(np.uint8)


@pytest.mark.parametrize(
    ("value", "dtype", "words"),
    [
        (np.nan, np.float32, "1 of 35 pixels hold NaN"),
        (np.inf, np.float64, "1 of 35 pixels hold NaN, infinity"),
        (-3.4e38, np.float32, "no-data"),
        (0.5, np.float32, "fractions"),
        (-1, np.int16, "negative numbers \\(down to -1\\)"),
        (-1, np.int8, "negative numbers"),
        (-2.0, np.float32, "negative numbers"),
    ],
)
def test_numbers_that_are_no_ids(value: float, dtype: type, words: str, tmp_path: Path) -> None:
    ids = IDS.astype(dtype)
    ids[2, 3] = value
    tifffile.imwrite(tmp_path / "x.tif", ids)
    with pytest.raises(UserError, match=words) as raised:
        read_ids(tmp_path / "x.tif")
    assert raised.value.code == "mask-values"


@pytest.mark.parametrize("dtype", [np.uint32, np.int64, np.float64])
def test_large_numbers_keep_their_sign(dtype: type, tmp_path: Path) -> None:
    ids = IDS.astype(dtype)
    ids[0, 0] = 4_000_000_000
    tifffile.imwrite(tmp_path / "x.tif", ids)
    np.testing.assert_array_equal(read_ids(tmp_path / "x.tif"), ids)


@pytest.mark.parametrize(
    ("nodata", "dtype"), [("-9999", np.int16), ("-1", np.int8), ("7", np.uint8), ("nan", np.float32)]
)
def test_no_data_is_void(nodata: str, dtype: type, tmp_path: Path) -> None:
    ids = IDS.astype(dtype)
    ids[2, 3] = float(nodata)
    tifffile.imwrite(tmp_path / "x.tif", ids, extratags=[(42113, 2, 0, nodata, True)])
    expected = IDS.copy()
    expected[2, 3] = 255
    np.testing.assert_array_equal(read_ids(tmp_path / "x.tif"), expected)


def test_no_data_is_no_object(tmp_path: Path) -> None:
    objects = IDS.astype(np.int32) + 1000
    objects[2, 3] = -1
    tifffile.imwrite(tmp_path / "x.tif", objects, extratags=[(42113, 2, 0, "-1", True)])
    assert read_ids(tmp_path / "x.tif")[2, 3] == 0


def test_a_background_of_no_data_stays_the_background(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", IDS, extratags=[(42113, 2, 0, "0", True)])
    np.testing.assert_array_equal(read_ids(tmp_path / "x.tif"), IDS)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_ids_in_a_file_where_zero_is_white_stay_ids(dtype: type, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", IDS.astype(dtype), photometric="miniswhite")
    np.testing.assert_array_equal(read_ids(tmp_path / "x.tif"), IDS)


@pytest.mark.parametrize("magic", ["P2", "P5"])
@pytest.mark.parametrize("highest", [4, 255, 1000, 65535])
def test_pgm_stores_numbers_below_any_maximum(magic: str, highest: int, tmp_path: Path) -> None:
    head = f"{magic}\n# a comment 9 9 9\n7 5\n{highest}\n".encode()
    deep = highest > 255
    body = " ".join(map(str, IDS.ravel())).encode() if magic == "P2" else IDS.astype(">u2" if deep else "u1").tobytes()
    (tmp_path / "x.pgm").write_bytes(head + body)
    np.testing.assert_array_equal(read_ids(tmp_path / "x.pgm"), IDS)
    full = 65535 if deep else 255
    np.testing.assert_allclose(read_picture(tmp_path / "x.pgm")[:, :, 0], IDS * (full / highest), atol=0.51)


def test_gif_gives_its_indices(tmp_path: Path) -> None:
    image = Image.fromarray(IDS)
    image.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 9, 9, 200, 80, 80, 80])
    image.save(tmp_path / "x.gif")
    np.testing.assert_array_equal(read_ids(tmp_path / "x.gif"), IDS)
    np.testing.assert_array_equal(read_picture(tmp_path / "x.gif"), np.array(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bit_colour_and_late_exif_are_turned(orientation: int, tmp_path: Path) -> None:
    """cv2 writes no EXIF, so the chunk is put before the last one, after the pixels, where Pillow's header lacks it."""
    deep = np.random.default_rng(1).integers(0, 65536, (5, 7, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "x.png"), deep[:, :, ::-1])
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(IDS).save(tmp_path / "with.png", exif=exif)
    donor, content = (tmp_path / "with.png").read_bytes(), (tmp_path / "x.png").read_bytes()
    start = donor.index(b"eXIf") - 4
    chunk = donor[start : start + 12 + int.from_bytes(donor[start : start + 4], "big")]
    (tmp_path / "x.png").write_bytes(content[:-12] + chunk + content[-12:])
    Image.fromarray(deep[:, :, 0].astype(np.uint8)).save(tmp_path / "seen.png", exif=exif)
    header = probe(tmp_path / "x.png")
    assert header.orientation == orientation
    found = read_picture(tmp_path / "x.png")
    assert (header.height, header.width) == found.shape[:2]
    np.testing.assert_array_equal(found[:, :, 0].astype(np.uint8), read_ids(tmp_path / "seen.png"))


def test_16_bit_grey_with_alpha_keeps_its_depth(tmp_path: Path) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    deep = np.random.default_rng(1).integers(0, 65536, (5, 7, 2)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    (tmp_path / "x.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 7, 5, 16, 4, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png"), deep[:, :, :1])
    np.testing.assert_array_equal(read_ids(tmp_path / "x.png"), deep[:, :, 0])
