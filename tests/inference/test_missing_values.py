"""Where a picture has no value there is no prediction, and around it the prediction is not spoilt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.data.gaps import valueless
from pixelwise.data.pictures import read_filled, read_picture
from pixelwise.errors import UserError
from pixelwise.inference import rasters
from pixelwise.inference.rasters import TiffRaster, open_raster
from tiny_dense import Near, make_spec, near_predictor

HEIGHT, WIDTH = 75, 102
HOLE = np.zeros((HEIGHT, WIDTH), bool)
HOLE[20:50, 30:70] = True
HOLE[:, 95:] = True


def holed(value: float, dtype: type = np.float32) -> np.ndarray:
    image = np.random.default_rng(0).integers(1, 200, (HEIGHT, WIDTH, 3)).astype(dtype)
    image[HOLE] = value
    return image


def write(path: Path, image: np.ndarray, nodata: str | None = None, **options: Any) -> Path:
    tags = [] if nodata is None else [(42113, 2, 0, nodata, True)]
    tifffile.imwrite(path, image, photometric="rgb", extratags=tags, **options)
    return path


def far_from_the_hole() -> np.ndarray:
    side = 4 * Near.radius + 1
    return cv2.dilate(HOLE.astype(np.uint8), np.ones((side, side), np.uint8)) == 0


@pytest.mark.parametrize("value", [np.nan, -np.inf, -9999, -3.4e38])
def test_arrays(value: float) -> None:
    prediction = near_predictor()(holed(value))
    np.testing.assert_array_equal(prediction.mask == 255, HOLE)
    assert (prediction.probabilities[:, HOLE] == 0).all()
    assert (prediction.confidence[HOLE] == 0).all()
    np.testing.assert_allclose(prediction.probabilities[:, ~HOLE].sum(0), 1, atol=1e-5)
    undisturbed = near_predictor()(holed(100))
    far = far_from_the_hole()
    np.testing.assert_array_equal(prediction.mask[far], undisturbed.mask[far])
    assert prediction.overlay().shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("tile", [None, 72])
@pytest.mark.parametrize("by_blocks", [False, True])
@pytest.mark.parametrize(("value", "dtype", "nodata"), [(np.nan, np.float32, None), (0, np.uint8, "0")])
def test_files(
    value: float,
    dtype: type,
    nodata: str | None,
    by_blocks: bool,
    tile: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if by_blocks:
        monkeypatch.setattr(rasters, "AT_ONCE_BYTES", 0)
    path = write(tmp_path / "x.tif", holed(value, dtype), nodata, tile=(32, 32))
    predict = near_predictor(tile=tile, overlap=24) if tile else near_predictor()
    with open_raster(path) as raster:
        assert isinstance(raster, TiffRaster) == by_blocks
    written = predict.predict_file(path, tmp_path / "m.png", overlay=tmp_path / "o.png", confidence=tmp_path / "c.png")
    mask, confidence = np.array(Image.open(written)), np.array(Image.open(tmp_path / "c.png"))
    np.testing.assert_array_equal(mask == 255, HOLE)
    assert (confidence[HOLE] == 0).all()
    assert (confidence[~HOLE] > 80).all()
    np.testing.assert_array_equal(predict(path).mask == 255, HOLE)


def test_blocks_are_finite_and_alike_wherever_they_begin(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", holed(np.nan), tile=(32, 32))
    whole, gaps = read_filled(path)
    with TiffRaster(path) as raster:
        everything = raster.read(0, HEIGHT, 0, WIDTH)
        assert np.isfinite(everything).all()
        np.testing.assert_array_equal(everything[~HOLE], whole[~HOLE])
        np.testing.assert_array_equal(raster.unknown(0, HEIGHT, 0, WIDTH), valueless(gaps))
        np.testing.assert_array_equal(raster.read(25, 60, 41, 99), everything[25:60, 41:99])
        assert raster.unknown(0, 9, 0, 9) is None
        np.testing.assert_allclose(everything[HOLE].mean(0), whole[HOLE].mean(0), rtol=0.05)


@pytest.mark.parametrize("layout", ["strips", "tiles", "planes", "one strip"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_blocks_of_turned_pictures(orientation: int, layout: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "strips": {"rowsperstrip": 7, "compression": "zlib"},
        "tiles": {"tile": (32, 48)},
        "planes": {"planarconfig": "separate", "tile": (16, 32)},
        "one strip": {},
    }[layout]
    image = holed(5, np.uint8)
    stored = np.ascontiguousarray(image.transpose(2, 0, 1)) if layout == "planes" else image
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, stored, photometric="rgb", extratags=[(274, 3, 1, orientation, True)], **options)
    whole = read_picture(path)
    np.testing.assert_array_equal(whole, np.array(Image.open(path)))
    with TiffRaster(path) as raster:
        assert (raster.height, raster.width) == whole.shape[:2]
        for top, bottom, left, right in ((0, raster.height, 0, raster.width), (0, 1, 0, 1), (11, 60, 33, 70)):
            np.testing.assert_array_equal(raster.read(top, bottom, left, right), whole[top:bottom, left:right])


def test_a_stack_is_refused_by_blocks_too(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((3, 9, 9), np.uint8), imagej=True, metadata={"axes": "ZYX"})
    with pytest.raises(UserError, match="a stack of 3 pages"):
        TiffRaster(tmp_path / "x.tif")
    with pytest.raises(UserError, match="a stack of 3 pages"):
        open_raster(tmp_path / "x.tif")


def test_bytes_for_a_model_of_fractions_are_a_sentence() -> None:
    with pytest.raises(UserError, match="integers up to 199 found, but the model was trained on floats"):
        near_predictor(spec=make_spec(dtype="float32"))(holed(5, np.uint8))
