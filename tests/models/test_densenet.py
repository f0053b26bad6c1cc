"""DenseNet: layers and channels of table 1, the dense block's law, its maps as an encoder."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pixelwise.catalog import create_model
from pixelwise.models.classify.densenet import DenseBlock, DenseNet, densenet161
from pixelwise.models.encoders import create_encoder

LAYERS = {"densenet121": 121, "densenet161": 161, "densenet169": 169, "densenet201": 201}


@pytest.mark.parametrize("name", LAYERS)
def test_the_number_in_the_name_counts_the_weight_layers(name: str) -> None:
    with torch.device("meta"):
        network = create_model(name)
    kinds = [type(module) for module in network.modules()]
    assert kinds.count(nn.Conv2d) + kinds.count(nn.Linear) == LAYERS[name]


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("densenet121", (64, 256, 512, 1024, 1024)),
        ("densenet161", (96, 384, 768, 2112, 2208)),
        ("densenet169", (64, 256, 512, 1280, 1664)),
        ("densenet201", (64, 256, 512, 1792, 1920)),
    ],
)
def test_channels_and_sizes_of_the_maps(name: str, channels: tuple[int, ...]) -> None:
    with torch.device("meta"):
        encoder = create_encoder(name)
        maps = encoder.pyramid(torch.empty(1, 3, 224, 224))
    assert encoder.feature_channels == channels
    assert [tuple(m.shape[1:]) for m in maps] == [
        (width, side, side) for width, side in zip(channels, (112, 56, 28, 14, 7), strict=True)
    ]


def test_published_names_and_shapes_of_the_one_with_another_growth_rate() -> None:
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in densenet161().state_dict().items()}
    for key, shape in {
        "features.conv0.weight": (96, 3, 7, 7),
        "features.denseblock1.denselayer1.norm1.weight": (96,),
        "features.denseblock3.denselayer36.conv1.weight": (192, 384 + 35 * 48, 1, 1),
        "features.denseblock3.denselayer36.conv2.weight": (48, 192, 3, 3),
        "features.transition3.norm.running_var": (2112,),
        "features.transition3.conv.weight": (1056, 2112, 1, 1),
        "features.norm5.bias": (2208,),
        "classifier.weight": (1000, 2208),
    }.items():
        assert shapes[key] == shape


@torch.no_grad()
def test_every_layer_reads_all_maps_before_it() -> None:
    torch.manual_seed(0)
    block = DenseBlock(6, 4, 3).eval()
    maps = torch.randn(2, 6, 5, 5)
    kept = [maps.clone()]
    for number in (1, 2, 3):  # equation 2: x_l = H_l([x_0, ..., x_{l-1}])
        kept.append(block.get_submodule(f"denselayer{number}")(torch.cat(kept, 1)))
    found = block(maps)
    assert torch.equal(maps, kept[0])  # nothing is done in place to what others read
    assert found.shape == (2, block.outputs, 5, 5)
    assert torch.allclose(found, torch.cat(kept, 1), atol=1e-6)


def test_a_gradient_reaches_the_picture_past_every_layer() -> None:
    block = DenseBlock(3, 4, 2)
    with torch.no_grad():
        for layer in block.children():
            layer.conv2.weight.zero_()
    maps = torch.randn(1, 3, 4, 4, requires_grad=True)
    block(maps).sum().backward()
    assert torch.equal(maps.grad, torch.ones(1, 3, 4, 4))


@torch.no_grad()
def test_the_stages_one_after_the_other_are_the_published_features() -> None:
    torch.manual_seed(0)
    network = DenseNet(blocks=(2, 3, 2, 1), growth_rate=4, num_classes=3).eval()
    images = torch.randn(1, 3, 64, 96)
    features = network.features(images)
    maps = network.pyramid(images)
    assert torch.equal(maps[-1], features.relu())
    assert all((m >= 0).all() for m in maps)
    assert torch.allclose(network(images), network.classifier(features.relu().mean((2, 3))), atol=1e-6)


def test_rates_of_the_dilated_network() -> None:
    with torch.device("meta"):
        network = create_encoder("densenet121", output_stride=8)
    for block, rate in ((1, 1), (2, 1), (3, 2), (4, 4)):
        layers = network.get_submodule(f"features.denseblock{block}").children()
        assert {layer.conv2.dilation[0] for layer in layers} == {rate}
