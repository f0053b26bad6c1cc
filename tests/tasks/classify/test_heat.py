"""A trained classifier slid over pictures: maps are those of single windows, and what makes no sense is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import nn

from pixelwise import api
from pixelwise.catalog import create_model, load_model
from pixelwise.data.pictures import PictureFormat, write_png
from pixelwise.errors import UserError
from pixelwise.models.spec import ModelSpec, save_model
from pixelwise.tasks.classify import heat
from pixelwise.tasks.classify.inference import ClassifyInference, ClassifyOptions
from pixelwise.tasks.classify.sliding import slide

NAMES = ("cat", "dog", "zebra")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeNet-5, which pads nowhere, with random weights."""
    path = tmp_path_factory.mktemp("models") / "lenet.safetensors"
    torch.manual_seed(0)
    network = create_model("lenet5", num_classes=3)
    options = {"num_classes": 3, "in_channels": 1}
    save_model(
        path,
        network.state_dict(),
        ModelSpec("lenet5", options, NAMES, PictureFormat(1), (120.0,), (60.0,), input_size=(32, 32)),
    )
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    write_png(tmp_path / "in" / "grey.png", rng.integers(0, 255, (57, 70), np.uint8))
    write_png(tmp_path / "in" / "sub" / "colour.png", rng.integers(0, 255, (40, 90, 3), np.uint8))
    return tmp_path / "in"


def test_maps_are_those_of_single_windows(classifier: Path, pictures: Path, tmp_path: Path) -> None:
    written = api.predict(classifier, pictures, tmp_path / "out", heatmap="dog")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == [
        "grey_heat.tif",
        "sub/colour_heat.tif",
    ]
    network, _ = load_model(classifier)
    pixels = torch.from_numpy(np.asarray(Image.open(pictures / "grey.png"), np.float32))[None, None]
    expected = slide(network, (pixels - 120) / 60, window=(32, 32), stride=(4, 4)).softmax(1)[0, 1]
    found = tifffile.imread(written[0])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert tifffile.imread(written[1]).shape == (3, 15)
    drawn = np.asarray(Image.open(tmp_path / "out" / "grey_heat.png"))
    assert drawn.shape == (57, 70, 3)
    assert np.ptp(drawn.astype(int), axis=2).max() > 10  # coloured, where the picture is grey
    with pytest.raises(UserError, match="would be overwritten"):
        api.predict(classifier, pictures, tmp_path / "out", heatmap="dog")


def test_what_makes_no_sense_is_said(classifier: Path, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'zebra'"):
        api.predict(classifier, pictures, tmp_path / "out", heatmap="zebar")
    with pytest.raises(UserError, match="cannot be combined with --flips"):
        api.predict(classifier, pictures, tmp_path / "out", heatmap="dog", flips="horizontal")
    write_png(pictures / "small.png", np.zeros((31, 99), np.uint8))
    with pytest.raises(UserError, match=r"(?s)2 of 3 pictures predicted.*small\.png.*smaller than the window"):
        api.predict(classifier, pictures, tmp_path / "out", heatmap="dog")
    dense = tmp_path / "unet.safetensors"
    network = create_model("unet", num_classes=3, width=4)
    options = {"num_classes": 3, "in_channels": 3, "width": 4}
    save_model(dense, network.state_dict(), ModelSpec("unet", options, NAMES, PictureFormat(), (0.0,) * 3, (1.0,) * 3))
    with pytest.raises(UserError, match="unet, trained for the task 'segment', has no option --heatmap"):
        api.predict(dense, pictures, tmp_path / "out2", heatmap="dog")
    with pytest.raises(UserError, match="does not classify whole pictures"):
        heat.SlidingClassifier(*load_model(dense), "dog")


def detector() -> tuple[nn.Module, ModelSpec]:
    options = {"in_channels": 3, "num_classes": 3, "encoder": "resnet18", "hidden": (8, 4), "pool": 2}
    size = (64, 96)
    return (
        create_model("localizer", **options),
        ModelSpec("localizer", options, NAMES, PictureFormat(), (0.0,) * 3, (1.0,) * 3, input_size=size, task="detect"),
    )


def test_a_detector_is_not_taken_for_a_classifier(tmp_path: Path, pictures: Path) -> None:
    """Both look at pictures of one size, but a detector answers with boxes too."""
    network, spec = detector()
    with pytest.raises(UserError, match="'localizer' does not classify whole pictures"):
        ClassifyInference(network, spec, ClassifyOptions())
    with pytest.raises(UserError, match="'localizer' does not classify whole pictures"):
        heat.SlidingClassifier(network, spec, "dog")
    save_model(tmp_path / "box.safetensors", network.state_dict(), spec)
    with pytest.raises(UserError, match="localizer, trained for the task 'detect', has no option --heatmap"):
        api.predict(tmp_path / "box.safetensors", pictures, tmp_path / "out", heatmap="dog")


def test_large_pictures_are_drawn_smaller(classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pixel of the overview is the mean of a block, whatever the bands; the heat stays where it is."""
    monkeypatch.setattr(heat, "OVERVIEW_SIDE", 40)
    monkeypatch.setattr(heat, "BAND", 7)
    image = np.random.default_rng(0).integers(0, 255, (91, 118), np.uint8)
    write_png(tmp_path / "large.png", image)
    _, spec = load_model(classifier)
    small, factor = heat.overview(tmp_path / "large.png", spec)
    assert factor == 3
    blocks = image[:90, :117].reshape(30, 3, 39, 3).astype(float).mean((1, 3))
    np.testing.assert_allclose(small[:, :, 0], blocks, atol=0.51)
    api.predict(classifier, tmp_path / "large.png", tmp_path / "out", heatmap="cat")
    assert np.asarray(Image.open(tmp_path / "out" / "large_heat.png")).shape == (30, 39, 3)
    assert tifffile.imread(tmp_path / "out" / "large_heat.tif").shape == (15, 22)
