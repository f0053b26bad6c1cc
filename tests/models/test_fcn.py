"""FCN: bilinear starts, weights of a classifier, and the way from one network to the next finer one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from pixelwise.catalog import create_model
from pixelwise.data.pictures import PictureFormat
from pixelwise.errors import UserError
from pixelwise.models.segment.fcn import FCN, deconvolution
from pixelwise.models.spec import ModelSpec, save_model
from pixelwise.models.weights import load_weights

NAMES = ("fcn32s", "fcn16s", "fcn8s")


def save(path: Path, network: nn.Module) -> Path:
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
    return path


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_a_deconvolution_starts_as_bilinear_interpolation(factor: int) -> None:
    maps = torch.randn(2, 3, 5, 6)
    with torch.no_grad():
        made = deconvolution(3, factor)(maps)
    assert made.shape == (2, 3, 5 * factor, 6 * factor)
    inner = slice(factor // 2, -(factor // 2))  # nearer to the border it goes towards zero
    expected = F.interpolate(maps, scale_factor=factor, mode="bilinear")
    assert torch.allclose(made[..., inner, inner], expected[..., inner, inner], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_skip_scores_start_at_zero_so_that_only_fc7_speaks(name: str) -> None:
    network = create_model(name, num_classes=4, width=2).eval()
    assert isinstance(network, FCN)
    with torch.no_grad():
        images = torch.randn(1, 3, 96, 96)
        before = network(images)
        network.head["score_fc7"].weight.zero_()  # type: ignore[operator, union-attr]
        network.head["score_fc7"].bias.zero_()  # type: ignore[operator, union-attr]
        assert before.abs().max() > 0
        assert not network(images).any()


@pytest.mark.parametrize(("coarse", "fine"), [("fcn32s", "fcn16s"), ("fcn16s", "fcn8s")])
def test_a_coarser_network_fills_the_finer_one_by_name(coarse: str, fine: str, tmp_path: Path) -> None:
    """Section 4.2: what the finer network adds starts silent, so it goes on where the coarser one stopped."""
    before = create_model(coarse, num_classes=4, width=2).eval()
    with torch.no_grad():  # as after training: every class its own score
        before.head["score_fc7"].weight.normal_()
    after = create_model(fine, num_classes=4, width=2).eval()
    report = load_weights(after, save(tmp_path / "w.safetensors", before))
    added = set(after.state_dict()) - set(before.state_dict())
    assert set(report.kept) == added
    assert all(name.startswith("head.") for name in added)
    with torch.no_grad():
        images = torch.randn(1, 3, 160, 160)
        expected, found = before(images), after(images)
    inner = slice(32, -32)
    # Two bilinear interpolations in turn are nearly one; they differ where the slope between two places changes.
    difference = (found - expected)[..., inner, inner].square().mean().sqrt()
    assert difference < 0.15 * expected[..., inner, inner].std()


@pytest.mark.parametrize("side", [32, 64, 96])
def test_small_crops_in_bfloat16_have_the_gradients_of_float32(side: int) -> None:
    torch.manual_seed(0)
    network = create_model("fcn32s", num_classes=4, width=16, dropout=0.0)
    assert isinstance(network, FCN)
    maps = torch.randn(2, 128, side // 32, side // 32)
    network.encoder = nn.Module()  # type: ignore[assignment]
    network.encoder.features = nn.Sequential()  # maps of the last pooling in, as they are
    gradients = []
    for low in (False, True):
        poison = [torch.full((network.fc6.weight.numel(),), torch.nan, dtype=torch.bfloat16) for _ in range(4)]
        del poison  # memory that a layer takes and does not write now shows
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            logits = network.logits(maps)
        logits.float().square().mean().backward()
        assert network.fc6.weight.grad is not None
        gradients.append(network.fc6.weight.grad.clone())
    exact, found = gradients
    assert (found - exact).norm() < 0.2 * exact.norm()
    reach = side // 32 - 1  # places that a tap of the kernel can be off its middle and still meet the map
    found[..., 3 - reach : 4 + reach, 3 - reach : 4 + reach] = 0
    assert not found.any()


def test_a_run_of_one_network_starts_the_next_also_for_other_classes(tmp_path: Path) -> None:
    before = create_model("fcn32s", num_classes=4, width=2)
    spec = ModelSpec("fcn32s", {}, ("a", "b", "c", "d"), PictureFormat(), (1.0,) * 3, (2.0,) * 3)
    save_model(tmp_path / "best.safetensors", before.state_dict(), spec)
    same = create_model("fcn8s", num_classes=4, width=2, weights=tmp_path).state_dict()
    other = create_model("fcn8s", num_classes=6, width=2, weights=tmp_path).state_dict()
    for name, value in before.state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(other[name], value)
        if name in same:
            assert torch.equal(same[name], value)
    assert "head.score_fc7.weight" in same
    assert other["head.score_fc7.weight"].shape[0] == 6


def test_a_classifiers_fully_connected_layers_become_convolutions(tmp_path: Path) -> None:
    classifier = create_model("vgg16", num_classes=6, width=2).eval()
    network = create_model("fcn32s", num_classes=4, width=2, weights=save(tmp_path / "w.safetensors", classifier))
    assert isinstance(network, FCN)
    network.eval()
    with torch.no_grad():
        images = torch.randn(1, 3, 224, 224)
        maps = network.encoder.features(images)  # (1, 16, 7, 7)
        hidden = network.fc7(F.relu(network.fc6(maps)))  # at the middle place fc6 sees all 7 x 7
        assert torch.allclose(hidden[..., 3, 3], classifier.classifier[:4](maps.flatten(1)), atol=1e-5)


def test_an_encoders_weights_leave_the_fully_connected_layers_alone(tmp_path: Path) -> None:
    encoder = create_model("vgg16", num_classes=0, width=2)
    torch.manual_seed(1)
    plain = create_model("fcn8s", num_classes=4, width=2)
    torch.manual_seed(1)
    filled = create_model("fcn8s", num_classes=4, width=2, weights=save(tmp_path / "w.safetensors", encoder))
    assert torch.equal(filled.fc6.weight, plain.fc6.weight)
    assert torch.equal(filled.encoder.features[28].weight, encoder.features[28].weight)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    classifier = create_model("vgg16", num_classes=6, width=2)
    state = classifier.state_dict()
    state["classifier.0.weight"] = torch.zeros(128, 16 * 6 * 6)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"'classifier.0.weight' is \(128, 576\), expected 128 x 784"):
        create_model("fcn8s", num_classes=4, width=2, weights=tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="another width"):
        create_model("fcn8s", num_classes=4, width=4, weights=save(tmp_path / "v.safetensors", classifier))
