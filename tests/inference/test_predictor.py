"""Pictures of every kind and size in, masks out, the same by tiles as at once."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import nn

from pixelwise import api
from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.inference import dense, overview, rasters
from pixelwise.inference.predictor import Inference, Predictor
from pixelwise.inference.rasters import TiffRaster
from pixelwise.models.spec import ModelSpec, save_model
from pixelwise.tasks.segment.inference import SegmentInference, SegmentOptions, SegmentPrediction
from tiny_dense import Near, make_spec, near, near_predictor, segment_predictor


def photo(height: int = 75, width: int = 102, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def make(channels: int = 3, **options: object) -> Predictor[SegmentPrediction]:
    return near_predictor(channels, **options)


def inference(channels: int = 3, **options: object) -> SegmentInference:
    made = make(channels, **options).inference
    assert isinstance(made, SegmentInference)
    return made


def by_hand(image: np.ndarray, channels: int = 3) -> np.ndarray:
    """(K, H, W) probabilities without any of the package's machinery."""
    spec = make_spec(channels)
    normalised = (torch.from_numpy(image.astype(np.float32)) - torch.tensor(spec.mean)) / torch.tensor(spec.std)
    with torch.no_grad():
        return near(channels)(normalised.permute(2, 0, 1)[None])[0].softmax(0).numpy()


@pytest.mark.parametrize(("height", "width"), [(75, 102), (1, 1), (3, 5), (1, 40), (64, 2)])
def test_small_pictures_go_through_at_once(height: int, width: int) -> None:
    image = photo(height, width)
    prediction = make()(image)
    expected = by_hand(image)
    np.testing.assert_allclose(prediction.probabilities, expected, atol=1e-5)
    assert prediction.mask.dtype == np.uint8
    assert np.array_equal(prediction.mask, expected.argmax(0))
    np.testing.assert_allclose(prediction.confidence, expected.max(0), atol=1e-5)


@pytest.mark.parametrize("batch", [None, 1, 3])
@pytest.mark.parametrize("flips", ["none", "all"])
def test_tiles_and_whole_agree(flips: str, batch: int | None) -> None:
    image = photo(132, 172)  # multiples of the stride: else a mirrored picture lies on another grid than mirrored tiles
    whole = make(flips=flips)(image)
    tiled = make(flips=flips, tile=100, overlap=4 * Near.radius, batch=batch)(image)
    top = np.sort(whole.probabilities, axis=0)
    clear = top[-1] - top[-2] > 1e-4
    assert clear.mean() > 0.99
    assert np.array_equal(tiled.mask[clear], whole.mask[clear])
    np.testing.assert_allclose(tiled.confidence, whole.confidence, atol=0.51 / 255)
    with pytest.raises(UserError, match=r"172 x 132 pixels is predicted in tiles.*predictor\(picture\["):
        _ = tiled.probabilities


def test_a_network_that_labels_no_pixels_is_refused() -> None:
    with pytest.raises(UserError, match="'near' does not predict every pixel"):
        SegmentInference(nn.Linear(2, 2), make_spec(), SegmentOptions())


def test_tiles_of_valid_convolutions_are_exact() -> None:
    """The overlap-tile strategy of the U-Net paper, figure 2: with the default overlap, tiles equal one pass."""
    torch.manual_seed(0)
    model = create_model("unet_original", num_classes=3, in_channels=1, width=6)
    with torch.no_grad():
        model.head.weight.mul_(10)
    image = photo(700, 250, 1)
    whole = segment_predictor(model, make_spec(1), tile=704)(image)
    tiled = segment_predictor(model, make_spec(1), tile=688)(image)
    narrow = segment_predictor(model, make_spec(1), tile=688, overlap=32)(image)
    top = np.sort(whole.probabilities, axis=0)
    clear = top[-1] - top[-2] > 1e-4
    assert clear.mean() > 0.9
    assert np.array_equal(tiled.mask[clear], whole.mask[clear])
    np.testing.assert_allclose(tiled.confidence, whole.confidence, atol=0.51 / 255)
    assert (narrow.mask[clear] != whole.mask[clear]).any()


def test_a_budget_cuts_large_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "ACTIVATION_BYTES", 128 * 1000**2)
    small = inference()
    assert len(small.grid(900, 900)) == 1
    assert len(small.grid(4000, 900)) > 1
    assert Predictor(small).grid(4000, 900) == small.grid(4000, 900)
    whole = Inference.grid(small, 300, 200)
    assert [(row.start, row.stop, column.start, column.stop) for row, column in whole] == [(0, 300, 0, 200)]
    assert inference(scales=(1.0, 2.0))._area < small._area / 3.9


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_of_picture(mode: str, channels: int, tmp_path: Path) -> None:
    grey = Image.fromarray(photo(21, 33, 1)[:, :, 0])
    image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    predict = make(channels)
    mask = predict(path).mask
    assert mask.shape == (21, 33)
    assert np.array_equal(predict(image).mask, mask)
    if mode in ("L", "RGB", "I;16"):
        grey_or_colour = np.repeat(np.asarray(grey)[:, :, None], channels, axis=2)
        assert np.array_equal(mask, by_hand(grey_or_colour, channels).argmax(0))


def test_a_wrong_number_of_channels_is_a_sentence() -> None:
    with pytest.raises(UserError, match="picture: 5 channels found, but the model takes 3"):
        make()(photo(9, 9, 5))


def test_fractions_for_a_model_of_bytes_are_a_sentence() -> None:
    with pytest.raises(UserError, match="values from 0 to 1"):
        make()(photo().astype(np.float64) / 255)
    assert make()(photo().astype(np.float64)).mask.shape == (75, 102)


def test_float_models_take_fractions() -> None:
    spec = make_spec(dtype="float32")
    predict = near_predictor(spec=spec)
    assert np.array_equal(predict(photo() / 255).mask, make()(photo()).mask)


def test_the_overlay_and_the_saved_mask(tmp_path: Path) -> None:
    image = photo()
    prediction = make()(image)
    drawn = prediction.overlay(alpha=0)
    assert np.array_equal(drawn, image)
    drawn = prediction.overlay()
    assert drawn.shape == image.shape
    background = prediction.mask == 0
    assert np.array_equal(drawn[background], image[background])
    saved = prediction.save(tmp_path / "a")
    assert saved == tmp_path / "a.png"
    with Image.open(saved) as file:
        assert file.mode == "L"
        assert np.array_equal(np.asarray(file), prediction.mask)


def write_tiff(path: Path, image: np.ndarray) -> Path:
    tifffile.imwrite(path, image, photometric="rgb", tile=(64, 64), compression="zlib")
    return path


def test_files_stream_to_the_same_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rasters, "AT_ONCE_BYTES", 0)
    image = photo(300, 210)
    path = write_tiff(tmp_path / "a.tif", image)
    assert isinstance(rasters.open_raster(path), TiffRaster)
    predict = make(tile=96, overlap=32)
    seen: list[float] = []
    out = predict.predict_file(
        path,
        tmp_path / "out/a.mask",
        overlay=tmp_path / "out/b.png",
        confidence=tmp_path / "c.tif",
        progress=seen.append,
    )
    assert out == tmp_path / "out/a.mask.png"
    assert sorted(os.listdir(tmp_path / "out")) == ["a.mask.png", "b.png"]
    expected = predict(image)
    assert np.array_equal(np.asarray(Image.open(out)), expected.mask)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "c.tif"), np.rint(expected.confidence * 255))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/b.png")), expected.overlay())
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_large_overlays_are_reduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "OVERVIEW_SIDE", 100)
    image = np.full((301, 205, 3), 90, np.uint8)
    path = write_tiff(tmp_path / "a.tif", image)
    predict = make(tile=96, overlap=32)
    predict.predict_file(path, tmp_path / "m.png", overlay=tmp_path / "o.png")
    reduced = np.asarray(Image.open(tmp_path / "o.png"))
    assert reduced.shape == (75, 51, 3)
    mask = predict(image).mask[2::4, 2::4]
    assert (reduced[mask == 0] == 90).all()


def test_overviews_show_means_not_single_pixels() -> None:
    stripes = np.zeros((8400, 40, 3), np.uint8)
    stripes[::2] = 200
    shown = overview.Overview(8400, 40)
    assert shown.factor == 3
    for top in (0, 4200):
        shown.add_block(stripes[top : top + 4200], top, 0)
    assert shown._image is not None
    assert set(np.unique(shown._image[1:-1])) == {67, 133}  # a third and two thirds of 200, not 0 and 200


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    image = photo(200, 200)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, image, photometric="rgb")
    predict = make(tile=96, overlap=32)

    def stop(done: float) -> None:
        if done > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict.predict_file(path, tmp_path / "m.png", overlay=tmp_path / "o.png", progress=stop)
    assert os.listdir(tmp_path) == ["a.tif"]


def test_a_file_damaged_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rasters, "AT_ONCE_BYTES", 0)
    path = write_tiff(tmp_path / "a.tif", photo(300, 210))
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[12]
    content = bytearray(path.read_bytes())
    content[offset : offset + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.tif: damaged near row"):
        make(tile=96, overlap=32).predict_file(path, tmp_path / "m.png")
    assert os.listdir(tmp_path) == ["a.tif"]


def test_the_picture_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(photo()).save(path)
    before = path.read_bytes()
    for options in ({"out": tmp_path / "a"}, {"out": tmp_path / "b", "overlay": tmp_path / "x/../a.png"}):
        with pytest.raises(UserError, match="overwrite the picture"):
            make().predict_file(path, **options)
    assert path.read_bytes() == before


def small_unet() -> tuple[nn.Module, ModelSpec]:
    options = {"in_channels": 3, "num_classes": 3, "width": 4}
    torch.manual_seed(0)
    spec = make_spec()
    return create_model("unet", **options).eval(), replace(spec, model="unet", options=options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tile": 64, "overlap": 60}, "overlap"),
        ({"overlap": -1}, "overlap.*greater than or equal to 0, found -1"),
        ({"batch": 0}, "batch.*greater than or equal to 1, found 0"),
        ({"flips": "both"}, "flips.*both"),
        ({"heatmap": "class 1"}, "unet, trained for the task 'segment', has no option --heatmap"),
        ({"tiel": 64}, "has no option --tiel"),
    ],
)
def test_options_are_checked_at_once(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    model, spec = small_unet()
    save_model(tmp_path / "best.safetensors", model.state_dict(), spec)
    with pytest.raises(UserError, match=words) as caught:
        api.load(tmp_path / "best.safetensors", **options)
    assert "\n" not in str(caught.value)


def test_a_model_file_is_all_it_takes(tmp_path: Path) -> None:
    model, spec = small_unet()
    save_model(tmp_path / "best.safetensors", model.state_dict(), spec)
    loaded = api.load(tmp_path / "best.safetensors", device="cpu", precision="float32")
    direct = segment_predictor(model, spec)
    assert np.array_equal(loaded(photo()).mask, direct(photo()).mask)
    assert loaded.class_names == ("background", "class 1", "class 2")


def test_real_slides_of_membranes(shared_folder: Path, tmp_path: Path) -> None:
    path = min((shared_folder / "data" / "membrane" / "images").iterdir())
    image = np.asarray(Image.open(path))
    out = make(tile=200, overlap=32).predict_file(path, tmp_path / "mask")
    whole = make()(image)
    assert (np.asarray(Image.open(out)) == whole.mask).mean() > 0.9999
