"""DeconvNet: the paper's bottleneck at 224 pixels, other sizes, weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from pixelwise.catalog import create_model
from pixelwise.models.segment.deconvnet import DeconvNet


@pytest.mark.parametrize(
    ("side", "middle", "back"),
    [(224, 1, 7), (320, 4, 10), (64, 1, 2)],  # the paper's picture, a larger and a smaller one
)
@torch.no_grad()
def test_maps_between_the_ways(side: int, middle: int, back: int) -> None:
    network = DeconvNet(num_classes=3, width=2).eval()
    seen: list[tuple[int, ...]] = []
    network.fc7.register_forward_hook(lambda _, __, output: seen.append(tuple(output.shape[1:])))
    network.decoder[0].register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[1:])))
    assert network(torch.randn(1, 3, side, side)).shape == (1, 3, side, side)
    assert seen == [(128, middle, middle), (16, 2 * back, 2 * back)]


@torch.no_grad()
def test_a_large_picture_meets_fc6_at_every_seven_by_seven_places() -> None:
    network = DeconvNet(num_classes=3, width=2).eval()
    seen: list[Tensor] = []
    network.fc6.register_forward_hook(lambda _, inputs, output: seen.extend((inputs[0], output)))
    network(torch.randn(1, 3, 224, 320))
    maps, scores = seen
    assert (maps.shape[2:], scores.shape[2:]) == ((7, 10), (1, 4))
    for column in range(4):
        window = maps[..., column : column + 7].flatten(1)
        assert torch.allclose(
            F.linear(window, network.fc6.weight.flatten(1), network.fc6.bias), scores[..., 0, column], atol=1e-5
        )


@torch.no_grad()
def test_a_small_pictures_places_stay_at_the_top_left() -> None:
    network = DeconvNet(num_classes=3, width=2).eval()
    seen: list[Tensor] = []
    places = torch.arange(1.0, 50.0).view(1, 1, 7, 7).expand(1, 16, 7, 7)
    network.deconv_fc6.register_forward_hook(lambda _, __, ___: places)
    network.decoder[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(torch.randn(1, 3, 64, 96))
    assert seen[0].unique().tolist() == [0, 1, 2, 3, 8, 9, 10]


def test_one_small_picture_leaves_the_statistics_of_fc6_alone() -> None:
    network = DeconvNet(num_classes=3, width=2).train()
    network(torch.randn(1, 3, 224, 224))
    assert not network.bn6.running_mean.any()  # type: ignore[union-attr]
    network(torch.randn(2, 3, 224, 224))
    assert network.bn6.running_mean.any()  # type: ignore[union-attr]


def test_weights_of_vgg16_fill_the_way_down_and_both_fully_connected_layers(tmp_path: Path) -> None:
    classifier = create_model("vgg16_bn", num_classes=7, width=2).eval()
    save_file(classifier.state_dict(), tmp_path / "w.safetensors")
    network = create_model("deconvnet", num_classes=3, width=2, weights=tmp_path / "w.safetensors")
    assert isinstance(network, DeconvNet)
    network.eval()
    with torch.no_grad():
        maps = network.encoder.features(torch.randn(1, 3, 224, 224))
        found = network.fc7(F.relu(network.fc6(maps))).flatten(1)
        assert torch.allclose(found, classifier.classifier[:4](maps.flatten(1)), atol=1e-5)
