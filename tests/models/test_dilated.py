"""Dilated front end and context module: the identity it starts as, and what each place sees."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.models.segment.dilated import CONTEXTS, RATES, ContextModule, start_as_identity


@pytest.mark.parametrize(("name", "count"), [("basic", 28_392), ("large", 6_803_139)])
def test_parameters_of_the_context_module(name: str, count: int) -> None:
    with torch.device("meta"):
        module = ContextModule(21, CONTEXTS[name])
    assert sum(parameter.numel() for parameter in module.parameters()) == count


class TestIdentity:
    def test_basic_returns_its_input(self) -> None:
        maps = torch.rand(2, 5, 9, 70)
        assert torch.equal(ContextModule(5, CONTEXTS["basic"])(maps.clone()), maps)

    def test_what_is_negative_is_cut_off(self) -> None:
        maps = torch.randn(1, 5, 9, 9)
        assert torch.equal(ContextModule(5, CONTEXTS["basic"])(maps.clone()), maps.relu())

    def test_large_returns_its_input_but_for_noise(self) -> None:
        torch.manual_seed(0)
        module = ContextModule(5, CONTEXTS["large"])
        maps = torch.rand(1, 5, 40, 40)
        with torch.inference_mode():
            change = (module(maps.clone()) - maps).abs().max()
            assert 0 < change < 0.1
            for layer in module:
                if isinstance(layer, nn.Conv2d):
                    start_as_identity(layer, 5, noise=0.0)
            assert torch.allclose(module(maps.clone()), maps, atol=1e-6)

    def test_a_network_with_basic_context_starts_as_its_front_end(self) -> None:
        torch.manual_seed(0)
        network = create_model("dilated", num_classes=3, width=2).eval()
        images = torch.randn(1, 3, 32, 48)
        with torch.inference_mode():
            scores = network.front_end(images).relu()
            assert scores.max() > 0
            assert torch.allclose(
                network(images), nn.functional.interpolate(scores, scale_factor=8, mode="bilinear"), atol=1e-6
            )


def test_the_context_of_a_place_is_67_places_wide() -> None:
    """Table 1: receptive fields 3, 5, 9, 17, 33, 65, 67, by the gradient of the middle place."""
    torch.manual_seed(0)
    module = ContextModule(1, CONTEXTS["basic"])
    for layer in module:
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 0.1)
    for depth, side in zip(range(2, 2 * len(RATES) + 1, 2), (3, 5, 9, 17, 33, 65, 67), strict=True):
        maps = torch.rand(1, 1, 81, 81, requires_grad=True)
        nn.Sequential(*list(module)[:depth])(maps)[0, 0, 40, 40].backward()
        seen = maps.grad[0, 0].abs().sum(0).nonzero()
        assert int(seen.max() - seen.min()) + 1 == side


def test_front_end_is_vgg_without_its_last_poolings_read_at_more_places() -> None:
    """At the places of a VGG whose last two poolings only subsample, the dilated layers give the same."""
    torch.manual_seed(0)
    network = create_model("dilated", num_classes=3, width=2, context=None).eval()
    strided = create_model("vgg16", num_classes=0, width=2).eval()
    strided.load_state_dict(network.encoder.state_dict())
    poolings = [number for number, layer in enumerate(strided.features) if isinstance(layer, nn.MaxPool2d)]
    for number in poolings[-2:]:
        strided.features[number] = nn.MaxPool2d(1, 2)
    images = torch.randn(1, 3, 96, 128)
    with torch.inference_mode():
        dense = network.encoder.features(images)  # stride 8
        sparse = strided.features(images)  # stride 32
        assert torch.allclose(dense[..., ::4, ::4], sparse, atol=1e-5 * float(sparse.abs().max()))
        fc6 = nn.functional.conv2d(sparse, network.fc6.weight, network.fc6.bias, padding=3)
        scores = network.head["score"](network.fc7(fc6.relu()).relu())
        assert torch.allclose(network.front_end(images)[..., ::4, ::4], scores, atol=1e-4 * float(scores.abs().max()))


def test_weights_of_a_classifier_fill_fc6_and_fc7_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier = create_model("vgg16", num_classes=10, width=2)
    save_file(classifier.state_dict(), tmp_path / "vgg16.safetensors")
    network = create_model("dilated", num_classes=3, width=2, weights=str(tmp_path / "vgg16.safetensors"))
    state = classifier.state_dict()
    assert torch.equal(network.encoder.features[28].weight, state["features.28.weight"])
    assert torch.equal(network.fc6.weight.flatten(1), state["classifier.0.weight"])
    assert torch.equal(network.fc7.weight.flatten(1), state["classifier.3.weight"])


def test_wrong_context_is_explained() -> None:
    with pytest.raises(UserError, match="did you mean 'basic'"):
        create_model("dilated", num_classes=2, width=2, context="basics")
