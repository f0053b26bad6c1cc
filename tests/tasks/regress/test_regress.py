"""Regression per pixel: laws of the whole path on small data."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from torch import Tensor

from pixelwise import api
from pixelwise.data.augment import Augmentation
from pixelwise.data.distances import distance_map
from pixelwise.data.pictures import PictureFormat, write_png
from pixelwise.data.sample import Sample
from pixelwise.data.value_scenes import write_value_scenes
from pixelwise.data.warp import Warp
from pixelwise.errors import UserError
from pixelwise.explain import explain
from pixelwise.inference.predictor import Predictor
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.dense import DenseModel
from pixelwise.tasks.regress.inference import RegressInference, RegressOptions
from pixelwise.tasks.regress.objects import objects_of_distances
from pixelwise.tasks.regress.scores import RegressScores


class Linear(DenseModel):
    """A 1x1 convolution: a linear function of each pixel's own channels."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.num_classes = 1
        self.head = torch.nn.Conv2d(channels, 1, 1)

    def logits(self, images: Tensor) -> Tensor:
        return self.head(images)


def spec(**notes: float) -> ModelSpec:
    values = {"mean": 3.0, "std": 2.0, "low": 0.0, "high": 10.0, "name": "depth", "unit": "m", **notes}
    return ModelSpec("unet", {}, (), PictureFormat(3, "uint8"), (100.0,) * 3, (50.0,) * 3, notes=values, task="regress")


def predictor(**options: object) -> Predictor:
    torch.manual_seed(0)
    settings = RegressOptions(precision="float32", **options)  # type: ignore[arg-type]
    return Predictor(RegressInference(Linear().eval(), spec(), settings))


def picture(height: int = 70, width: int = 90) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_a_prediction_is_in_the_datas_own_unit() -> None:
    found = predictor()(picture())
    torch.manual_seed(0)
    network = Linear()
    seen = (torch.from_numpy(picture()).permute(2, 0, 1)[None].float() - 100) / 50
    expected = network(seen)[0, 0].detach().numpy() * 2 + 3
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    assert found.overlay().shape == (70, 90, 3)


def test_tiles_merge_to_the_whole() -> None:
    """A network that sees one pixel at a time answers alike whatever the tiles, blending included."""
    whole, tiled = predictor()(picture(150, 170)), predictor(tile=64, overlap=16)(picture(150, 170))
    np.testing.assert_allclose(tiled.values, whole.values, atol=1e-5)


def test_where_the_picture_has_no_value_there_is_none() -> None:
    image = picture().astype(np.float32)
    image[10:30, 20:50] = np.nan
    found = predictor()(image)
    np.testing.assert_array_equal(np.isnan(found.values), np.isnan(image[:, :, 0]))
    assert found.overlay().shape == (70, 90, 3)
    image[:] = np.nan
    assert predictor()(image).overlay().shape == (70, 90, 3)


def test_files_hold_the_same_values_by_bands(tmp_path: Path) -> None:
    write_png(tmp_path / "in" / "a.png", picture(150, 170))
    written = predictor(tile=64, overlap=16, overlay=True).write_all(
        [tmp_path / "in" / "a.png"], tmp_path / "in", tmp_path / "out"
    )
    assert written == [tmp_path / "out" / "a.tif"]
    stored = tifffile.imread(written[0])
    assert stored.dtype == np.float32
    np.testing.assert_allclose(stored, predictor()(picture(150, 170)).values, atol=1e-5)
    assert (tmp_path / "out" / "a_overlay.png").exists()
    with pytest.raises(UserError, match="exists already"):
        predictor().write_all([tmp_path / "in" / "a.png"], tmp_path / "in", tmp_path / "out")


def test_a_linear_field_is_fitted_by_a_linear_network(tmp_path: Path) -> None:
    """The whole path, recipe to metrics: the truth is linear in each pixel's red and green, in an odd unit."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for number in range(count):
            image = rng.integers(0, 256, (16, 24, 3), np.uint8)
            write_png(tmp_path / "data" / split / "images" / f"{number}.png", image)
            values = 1000 + 40 * (image[:, :, 0].astype(np.float32) - image[:, :, 1] / 2)
            values[0, 0] = np.nan
            (tmp_path / "data" / split / "depth").mkdir(exist_ok=True)
            np.save(tmp_path / "data" / split / "depth" / f"{number}.npy", values)
    recipe = {
        "model": {"name": "linknet"},
        "task": "regress",
        "augment": {"crop": [16, 24], "rotate": 0, "flip": "none", "brightness": 0, "contrast": 0, "saturation": 0},
        "loss": {"terms": {"l2": 1.0}},
        "optimizer": {"lr": 0.1, "weight_decay": 0.0, "clip_norm": None},
        "train": {"epochs": 150, "batch_size": 6, "ema_decay": None, "precision": "float32", "validations": 2},
    }
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    from pixelwise import catalog

    line = catalog.SYSTEMS["linknet"]
    linear = catalog.System(lambda *, in_channels, num_classes: Linear(in_channels), line.tasks, "none")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalog.SYSTEMS, "linknet", linear)
        run = api.train(tmp_path / "r.yaml", data=tmp_path / "data", out=tmp_path / "run")
    assert run.metrics["r2"] > 0.9999
    assert run.metrics["mae"] < 0.01 * 40 * 255
    assert run.metrics["pixels"] == 2 * (16 * 24 - 1)


def test_labels_choose_the_task_and_a_run_goes_all_the_way(tmp_path: Path) -> None:
    write_value_scenes(tmp_path / "data", train=4, val=2, size=(32, 48))
    run = api.train(
        "unet", data=tmp_path / "data", epochs=1, out=tmp_path / "run", overrides={"model.encoder": "mobilenet_v2"}
    )
    assert run.planned.task == "regress"
    assert {"mae", "rmse", "r2"} <= run.metrics.keys()
    assert "mean absolute error" in run.report.read_text()
    again = api.evaluate(run.path)
    assert again == run.metrics
    found = api.load(run.path)(picture())
    assert found.values.shape == (70, 90)
    file = next((tmp_path / "data" / "images").iterdir())
    page = explain(run.path, [file], out=tmp_path, quick=True).read_text()
    assert f"What makes it {run.planned.provenance['data']['values']['name']}" in page
    with pytest.raises(UserError, match="has no option --refine"):
        api.load(run.path, refine="crf")


@pytest.mark.parametrize("flip", ["none", "both"])
def test_values_move_with_the_picture(flip: str) -> None:
    """A picture that holds its own values: after any warp without resampling error both still agree."""
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (20, 30, 1)).astype(np.uint8)
    sample = Sample("a", image, values=image[:, :, 0].astype(np.float32))
    for seed in range(8):
        crop = Augmentation(crop=(12, 16), flip=flip)(sample, np.random.default_rng(seed))  # type: ignore[arg-type]
        assert crop.values is not None
        np.testing.assert_array_equal(crop.values, crop.image[:, :, 0])


def test_void_stays_void_and_does_not_leak() -> None:
    values = np.ones((10, 10), np.float32)
    values[:, 5:] = np.nan
    sample = Sample("a", np.zeros((10, 10, 1), np.uint8), values=values)
    half = np.array([[0.5, 0.0, 2.5], [0.0, 0.5, 2.5]])
    moved = Warp(half, (10, 10)).apply(sample).values
    assert moved is not None
    known = np.isfinite(moved)
    np.testing.assert_allclose(moved[known], 1.0)
    assert known[:, :4].all()
    assert not known[:, 6:].any()
    outside = Warp(np.array([[1.0, 0.0, -4.0], [0.0, 1.0, 0.0]]), (10, 10)).apply(sample).values
    assert outside is not None
    assert not np.isfinite(outside[:, :4]).any()


def test_scores_merge_and_prefer_small_errors() -> None:
    rng = np.random.default_rng(0)
    make = predictor()
    whole, parts = RegressScores("m"), [RegressScores("m"), RegressScores("m")]
    for number in range(4):
        sample = Sample(str(number), picture(), values=rng.normal(size=(70, 90)).astype(np.float32))
        whole.update(make(picture()), sample)
        parts[number % 2].update(make(picture()), sample)
    parts[0].merge(parts[1])
    assert parts[0].values() == pytest.approx(whole.values(), rel=1e-12)
    assert not whole.headlines[0].higher
    assert whole.headlines[0].best([3.0, 1.0, 2.0]) == 1


def test_constant_and_missing_values_are_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for number in range(2):
            write_png(tmp_path / split / "images" / f"{number}.png", picture(8, 8))
            (tmp_path / split / "depth").mkdir(exist_ok=True)
            np.save(tmp_path / split / "depth" / f"{number}.npy", np.ones((8, 8), np.float32))
    with pytest.raises(UserError, match="every pixel of the split 'train' has the value 1"):
        api.train("unet", data=tmp_path, epochs=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_cells_that_touch_are_told_apart_by_their_distances() -> None:
    """Discs in rows, each overlapping its neighbours' rims: their map of distances gives back every one of them."""
    rows, columns = np.mgrid[:120, :200]
    ids = np.zeros((120, 200), np.int32)
    for number, (y, x) in enumerate(((30, 30), (30, 62), (30, 94), (85, 40), (85, 140)), start=1):
        ids[((rows - y) ** 2 + (columns - x) ** 2 <= 18**2) & (ids == 0)] = number
    found = objects_of_distances(distance_map(ids))
    assert (found == ids).mean() > 0.999  # where rims cross, a pixel may be either's
    assert cv2.connectedComponents((ids > 0).astype(np.uint8))[0] - 1 == 3
    assert objects_of_distances(distance_map(ids), min_depth=100).max() == 3
    areas = np.bincount(ids.ravel())[1:]
    assert objects_of_distances(distance_map(ids), min_pixels=1000).max() == (areas > 1000).sum() == 3
    assert objects_of_distances(np.full((40, 40), -1.0)).max() == 0
