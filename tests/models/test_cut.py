"""Classifiers cut behind a layer: nothing but what the layer depends on is left, and it answers the same."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.methods.optimised import rate_factors
from pixelwise.models.classify.cut import Cut
from pixelwise.nn.freezing import freeze
from pixelwise.training.recipes import load_recipe

NETWORKS: dict[str, tuple[dict[str, Any], int, tuple[str, ...]]] = {
    "vgg11_bn": (
        {"width": 4},
        40,
        ("features.4", "features.5", "features.6", "features", "avgpool", "classifier.3"),
    ),
    "resnet18": (
        {},
        40,
        ("conv1", "maxpool", "layer1", "layer2.0", "layer2.0.conv1", "layer2.0.downsample", "layer3.1.relu", "layer4"),
    ),
    "googlenet": (
        {"width": 8, "auxiliary": True},
        40,
        ("maxpool2", "inception3a", "inception4a.branch2.0", "inception4e.branch4", "inception3b.branch1.conv"),
    ),
    "densenet121": (
        {"growth_rate": 4},
        40,
        (
            "features.norm0",
            "features.denseblock2",
            "features.transition1.pool",
            "features.denseblock2.denselayer3",
            "features.denseblock1.denselayer2.conv1",
            "features.norm5",
            "relu",
        ),
    ),
    "mobilenet_v2": (
        {},
        40,
        ("features.0", "features.3", "features.4.conv.1", "features.5.conv", "features.18", "classifier.0"),
    ),
    "inception_v3": ({"width": 4}, 80, ("Conv2d_3b_1x1", "Mixed_5b", "Mixed_6b.branch7x7_2", "Mixed_7c")),
    "alexnet": ({"width": 4}, 64, ("features.3", "avgpool", "classifier.2")),
    "lenet5": ({}, 32, ("c1", "s4", "f6", "tanh")),
    "mlp": ({"size": 12, "hidden": (16, 8)}, 12, ("hidden", "hidden.3")),
}


def moved(network: nn.Module) -> nn.Module:
    """The network in evaluation mode, its batch-norm statistics other than those that all networks start with."""
    generator = torch.Generator().manual_seed(1)
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return network.eval()


def answer(network: nn.Module, images: Tensor, layer: str) -> Tensor:
    """What a layer of the whole network answers, at its last call."""
    found = []
    # What follows may work in place: it gets a copy.
    handle = network.get_submodule(layer).register_forward_hook(
        lambda *call: [found.append(call[2]), call[2].clone()][1]
    )
    network(images)
    handle.remove()
    return found[-1]


@pytest.mark.parametrize(("name", "layer"), [(name, layer) for name, row in NETWORKS.items() for layer in row[2]])
def test_a_cut_is_the_beginning_of_the_network_and_no_more(name: str, layer: str) -> None:
    options, side, _ = NETWORKS[name]
    torch.manual_seed(0)
    whole = moved(create_model(name, in_channels=3, num_classes=4, **options))
    torch.manual_seed(0)
    cut = Cut(network=name, layer=layer, head=[], num_classes=4, options=options)
    moved(cut)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(2))
    for key, buffer in cut.named_buffers():
        buffer.copy_(whole.get_buffer(key))
    expected = answer(whole, images, layer)
    with torch.no_grad():
        assert torch.equal(cut.trunk(images), expected)
        assert cut(images).shape == (2, 4)
    gradients = torch.autograd.grad(expected.square().sum(), list(whole.parameters()), allow_unused=True)
    needed = {
        key for (key, _), gradient in zip(whole.named_parameters(), gradients, strict=True) if gradient is not None
    }
    assert {key for key, _ in cut.named_parameters() if not key.startswith("head.")} == needed


def test_the_example_of_vgg16() -> None:
    with torch.device("meta"):
        network = create_model("cut", head=["conv 16", "relu", "flatten", "dense 10"])
    trunk = sum(
        9 * i * o + o for i, o in ((3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256))
    )
    counts = {name: sum(p.numel() for p in network.get_submodule(name).parameters()) for name in ("features", "head")}
    assert counts == {"features": trunk, "head": 9 * 256 * 16 + 16 + 16 * 56 * 56 * 10 + 10}
    assert network.window == (224, 224)
    images = torch.empty(1, 3, 224, 224, device="meta")
    assert network.trunk(images).shape == (1, 256, 56, 56)
    assert network.head[:2](network.trunk(images)).shape == (1, 16, 56, 56)
    assert network(images).shape == (1, 10)
    assert [key for key, _ in network.features.named_children()] == [str(number) for number in range(15)]
    assert network.notes == ()


def test_the_layer_behind_a_convolution_is_its_relu() -> None:
    torch.manual_seed(0)
    before = Cut(network="vgg11", options={"width": 4}, layer="features.3", head=[]).eval()
    torch.manual_seed(0)
    after = Cut(network="vgg11", options={"width": 4}, layer="features.4", head=[]).eval()
    images = torch.randn(1, 3, 32, 32)
    assert before.trunk(images).min() < 0
    assert torch.equal(before.trunk(images).relu(), after.trunk(images))


def test_a_head_is_what_its_words_say() -> None:
    words = ["conv 6", "batchnorm", "relu", "conv 5 1x1", "maxpool", "dropout 0.25", "flatten", "dense 7", "batchnorm",
             "relu", "dense classes"]  # fmt: skip
    network = Cut(network="resnet18", layer="layer1", head=words, num_classes=3, size=(32, 48))
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.MaxPool2d, nn.Dropout, nn.Flatten, nn.Linear,
             nn.BatchNorm1d, nn.ReLU, nn.Linear]  # fmt: skip
    assert [type(layer) for layer in network.head] == kinds
    assert network.window == (32, 48)
    assert network.head[5].p == 0.25
    assert [tuple(p.shape) for p in network.head.parameters() if p.dim() > 1] == [
        (6, 64, 3, 3), (5, 6, 1, 1), (7, 5 * 4 * 6), (3, 7)]  # fmt: skip
    assert network.train()(torch.randn(2, 3, 32, 48)).shape == (2, 3)
    assert not network.notes


@pytest.mark.parametrize(
    ("layer", "head", "added"),
    [
        ("layer1", [], "extended by avgpool and dense classes"),
        ("layer1", ["conv 8", "relu"], "extended by avgpool and dense classes"),
        ("layer1", ["conv 8", "avgpool", "dropout 0.5"], "extended by dense classes"),
        ("layer1", ["avgpool", "dense 12", "relu"], "extended by dense classes"),
    ],
)
def test_a_head_without_an_end_gets_one_and_says_so(layer: str, head: list[str], added: str) -> None:
    network = Cut(network="resnet18", layer=layer, head=head, num_classes=3)
    assert network(torch.randn(2, 3, 24, 40)).shape == (2, 3)
    assert network.window is None
    assert added in network.notes[0]


def test_sizes() -> None:
    def sides(**options: Any) -> tuple[int, tuple[int, int] | None]:
        network = Cut(num_classes=3, **options)
        return network.smallest, network.window

    assert sides(network="vgg11", layer="features.5", head=[], options={"width": 2}) == (4, None)
    pooled = ["maxpool", "maxpool"]
    assert sides(network="vgg11", layer="features.5", head=pooled, options={"width": 2}) == (16, None)
    assert sides(network="lenet5", layer="s4", head=["flatten"]) == (32, (32, 32))
    assert sides(network="lenet5", layer="s4", head=["flatten"], size=40) == (40, (40, 40))
    assert sides(network="resnet18", layer="conv1", head=["avgpool"]) == (1, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"network": "vgg61"}, "unknown network to cut 'vgg61'; did you mean 'vgg"),
        ({"network": "unet"}, "unknown network to cut 'unet'"),
        ({"layer": "feature.14"}, "unknown layer 'feature.14'; did you mean 'features.14'"),
        ({"layer": ""}, "unknown layer ''"),
        ({"layer": "classifier.6"}, "it returns vgg16's class logits"),
        ({"layer": "classifier"}, "it returns vgg16's class logits"),
        ({"network": "densenet121", "layer": "features"}, "does not call it as a whole .* 'features.norm5'"),
        (
            {"network": "googlenet", "options": {"auxiliary": True}, "layer": "aux1.conv"},
            "not call it .* cut after another",
        ),
        ({"head": ["cnv 16"]}, "unknown layer of the head 'cnv'; did you mean 'conv'"),
        ({"head": ["conv"]}, "found 'conv', expected conv N, or conv N KxK with K odd"),
        ({"head": ["conv 8 2x2"]}, "found 'conv 8 2x2'"),
        ({"head": ["dropout 1"]}, "found 'dropout 1', expected dropout P"),
        ({"head": ["dense classes"]}, "'dense classes' takes a vector; put flatten or avgpool before it"),
        ({"head": ["avgpool", "conv 8"]}, "'conv 8' takes maps, but its input is a vector"),
        ({"head": ["flatten", "dense 9"]}, "'dense 9', does not return one value for each of the 10 classes"),
        ({"head": ["maxpool"] * 4, "size": 32}, "'maxpool' cannot reduce maps of 1 x 1"),
        ({"network": "mlp", "layer": "hidden", "size": 20}, "mlp: cannot take pictures of 20 x 20"),
        ({"options": {"widht": 2}}, "did you mean 'width'"),
        ({"options": {"num_classes": 2}}, "num_classes"),
    ],
)
def test_mistakes_are_one_sentence(options: dict[str, Any], words: str) -> None:
    with torch.device("meta"), pytest.raises(UserError, match=words) as caught:
        create_model("cut", num_classes=10, **options)
    assert "\n" not in str(caught.value)


def test_weights_load_by_key_and_the_rest_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = create_model("vgg11", num_classes=9, width=4)
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    cut: dict[str, Any] = {"network": "vgg11", "options": {"width": 4}, "layer": "features.9", "head": ["avgpool"]}
    with caplog.at_level(logging.INFO, logger="pixelwise"):
        network = create_model("cut", num_classes=3, weights=tmp_path / "w.safetensors", **cut)
    assert "8 tensors loaded; 14 not used (classifier.0.bias, " in caplog.text
    for name, value in network.state_dict().items():
        assert name.startswith("head.") or torch.equal(value, whole.state_dict()[name])
    grey = create_model("cut", num_classes=3, in_channels=1, weights=tmp_path / "w.safetensors", **cut)
    assert torch.equal(grey.get_parameter("features.0.weight"), whole.features[0].weight.sum(1, keepdim=True))
    with pytest.raises(UserError, match="these weights are of another network"):
        create_model("cut", num_classes=3, weights=tmp_path / "w.safetensors", **{**cut, "options": {"width": 8}})


def test_freezing_and_rates_know_the_trunk() -> None:
    def trained(what: int | str | tuple[str, ...]) -> set[str]:
        network = Cut(network="resnet18", layer="layer3.0", head=["conv 8", "relu"], num_classes=3)
        freeze(network, what)
        return {name.partition(".")[0] for name, p in network.named_parameters() if p.requires_grad}

    assert trained("trunk") == {"head"}
    assert trained(1) == {"layer1", "layer2", "layer3", "head"}
    assert trained(("conv1", "bn1", "layer1", "layer2")) == {"layer3", "head"}

    network = Cut(network="resnet18", layer="layer3.0", head=["conv 8", "relu"], num_classes=3)
    recipe = load_recipe("resnet18", {"optimizer.depth_decay": 0.5, "optimizer.encoder_lr_factor": 0.8})
    factors = rate_factors(recipe, network)
    found = {name: factors[id(parameter)] for name, parameter in network.named_parameters()}
    expected = {"head.0.weight": 1, "layer3.0.conv1.weight": 0.4, "layer2.1.bn2.bias": 0.2, "conv1.weight": 0.05}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    with pytest.raises(UserError, match="no stages with separate"):
        rate_factors(recipe, Cut(network="lenet5", layer="s4", num_classes=3))


def test_a_copy_is_independent() -> None:
    """As averaged weights and folded batch norms need it."""
    network = Cut(network="resnet18", layer="layer1.0", head=[], num_classes=3).eval()
    other = copy.deepcopy(network)
    images = torch.randn(1, 3, 16, 16)
    before = network(images)
    with torch.no_grad():
        other.get_parameter("layer1.0.conv1.weight").zero_()
    assert torch.equal(network(images), before)
    assert not torch.equal(other(images), before)
