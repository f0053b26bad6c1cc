"""Values that are missing are found, filled, void in masks, and left out of statistics."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.data.formats import open_dataset
from pixelwise.data.gaps import channel_means, fill, find_gaps, lone_extreme, valueless
from pixelwise.data.pictures import PictureFormat, probe, read_filled, read_picture
from pixelwise.data.stock import fingerprint, take_stock

RNG = np.random.default_rng(0)
BANDS = RNG.uniform(1, 9, (6, 8, 3)).astype(np.float32)
STAND_INS = [np.nan, np.inf, -np.inf, -3.4028235e38, 1e20, -9999, -32767, -32768]


@pytest.mark.parametrize("value", STAND_INS)
def test_what_stands_for_no_value(value: float) -> None:
    holed = BANDS.copy()
    holed[:2, :3] = value
    holed[4, 4, 1] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gaps = find_gaps(holed)
        assert gaps is not None
        filled = fill(holed, gaps, channel_means(holed, gaps))
    np.testing.assert_array_equal(gaps, holed != BANDS)
    np.testing.assert_array_equal(filled[~gaps], BANDS[~gaps])
    for channel in range(3):
        known = BANDS[:, :, channel][~gaps[:, :, channel]]
        np.testing.assert_allclose(filled[:, :, channel][gaps[:, :, channel]], known.mean(), rtol=1e-6)
    lost = valueless(gaps)
    assert lost is not None
    assert lost.sum() == 6  # the pixel that lacks one channel has a value in the others


@pytest.mark.parametrize("value", [-99, 255, 65535])
def test_a_value_far_from_all_others_is_noticed(value: float) -> None:
    holed = np.full((6, 8, 3), value, np.float32)
    holed[2:] = BANDS[2:]
    assert lone_extreme(holed) == (value, pytest.approx(1 / 3))
    assert lone_extreme(BANDS) is None
    assert lone_extreme(np.where(holed == value, np.float32(0), holed)) is None  # 0 is near to 1
    assert lone_extreme(np.where(holed == value, holed, np.float32(1))) is None  # black and white


@pytest.mark.parametrize("image", [BANDS, -BANDS, BANDS.astype(np.uint8), np.zeros((2, 2, 1), np.float32)])
def test_ordinary_values_are_no_gaps(image: np.ndarray) -> None:
    assert find_gaps(image) is None


def test_a_picture_without_any_value_is_filled_with_zero() -> None:
    empty = np.full((2, 2, 3), np.nan, np.float32)
    gaps = find_gaps(empty)
    assert gaps is not None
    np.testing.assert_array_equal(fill(empty, gaps, channel_means(empty, gaps)), np.zeros_like(empty))


def write(path: Path, array: np.ndarray, nodata: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tags = [] if nodata is None else [(42113, 2, 0, nodata, True)]
    photometric = "rgb" if array.ndim == 3 and array.shape[2] == 3 else "minisblack"
    tifffile.imwrite(path, array, photometric=photometric, extratags=tags)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("nodata", ["0", "200"])
def test_gdals_tag(dtype: type, nodata: str, tmp_path: Path) -> None:
    image = RNG.integers(1, 100, (6, 8, 3)).astype(dtype)
    image[:2] = float(nodata)
    image[5, 5, 0] = float(nodata)
    path = write(tmp_path / "x.tif", image, nodata)
    assert probe(path).nodata == float(nodata)
    filled, gaps = read_filled(path)
    lost = valueless(gaps)
    assert lost is not None
    np.testing.assert_array_equal(lost, np.arange(6)[:, None].repeat(8, 1) < 2)
    assert filled[:2].max() < 100
    # Of unsigned integers a single channel may hold the value and mean it.
    assert (filled[5, 5, 0] == float(nodata)) == (np.dtype(dtype).kind == "u")


@pytest.mark.parametrize("tag", ["nan", "none", "", "1e400", "-1", "300", "0.5"])
def test_tags_that_no_byte_can_hold(tag: str, tmp_path: Path) -> None:
    image = RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    np.testing.assert_array_equal(read_picture(write(tmp_path / "x.tif", image, tag)), image)


def test_float64_that_float32_cannot_hold(tmp_path: Path) -> None:
    image = BANDS.astype(np.float64)
    image[0, 0] = -1.7976931348623157e308
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filled, gaps = read_filled(write(tmp_path / "x.tif", image))
    assert gaps is not None
    assert gaps.sum() == 3
    assert np.isfinite(filled).all()


def test_fractions_among_bytes_are_brought_to_bytes(tmp_path: Path) -> None:
    image = RNG.uniform(0, 1, (6, 8, 3)).astype(np.float32)
    image[0, 0] = np.nan
    found = read_picture(write(tmp_path / "x.tif", image), PictureFormat(3, "uint8"))
    np.testing.assert_array_equal(found[1:], np.rint(image[1:] * 255).astype(np.uint8))


class TestDataset:
    def write(self, root: Path) -> Path:
        """Five pictures of floats, the second of which lacks a corner in all its channels, and one pixel in one."""
        for number in range(5):
            image = RNG.normal(3, 1, (12, 16, 3)).astype(np.float32)
            if number == 1:
                image[:4, :6] = np.nan
                image[9, 9, 2] = -9999
            write(root / f"images/p{number}.tif", image)
            (root / "masks").mkdir(exist_ok=True)
            Image.fromarray((np.arange(12 * 16).reshape(12, 16) % 2).astype(np.uint8)).save(
                root / f"masks/p{number}.png"
            )
        (root / "train.txt").write_text("p0\np1\np2\n")
        (root / "val.txt").write_text("p3\np4\n")
        return root

    def test_masks_are_void_there(self, tmp_path: Path) -> None:
        dataset = open_dataset(self.write(tmp_path))
        record = dataset.split("train")[1]
        sample = dataset.load(record)
        assert np.isfinite(sample.image).all()
        assert sample.mask is not None
        expected = np.zeros((12, 16), bool)
        expected[:4, :6] = True
        np.testing.assert_array_equal(sample.mask == 255, expected)
        np.testing.assert_array_equal(dataset.load_mask(record), sample.mask)

    def test_statistics_are_of_known_pixels(self, tmp_path: Path) -> None:
        dataset = open_dataset(self.write(tmp_path))
        found = fingerprint(dataset)
        stored = np.concatenate([tifffile.imread(tmp_path / f"images/p{n}.tif").reshape(-1, 3) for n in range(3)])
        known = stored[~np.isnan(stored).any(axis=1)].astype(np.float64)
        known[known == -9999] = np.nan
        np.testing.assert_allclose(found.mean, np.nanmean(known, axis=0), rtol=1e-3)
        np.testing.assert_allclose(found.std, np.nanstd(known, axis=0), rtol=1e-2)

    def test_training_is_told(self, tmp_path: Path) -> None:
        stock = take_stock(open_dataset(self.write(tmp_path)), None)
        assert [note.split(":")[-1].strip() for note in stock.notes] == ["images/p1."]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_maps_of_numbers_are_void_where_they_have_none(dtype: type, tmp_path: Path) -> None:
    stored = RNG.uniform(1, 9, (6, 8)).astype(dtype)
    for place, value in enumerate((np.nan, -9999, -3.4e38, 0.1)):
        stored[0, place] = value
    for number in range(3):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8)).save(tmp_path / f"images/p{number}.png")
        write(tmp_path / f"depth/p{number}.tif", stored, "0.1")
    dataset = open_dataset(tmp_path)
    values = dataset.load(dataset.records[0]).values
    assert values is not None
    np.testing.assert_array_equal(np.isnan(values), np.arange(48).reshape(6, 8) < 4)
