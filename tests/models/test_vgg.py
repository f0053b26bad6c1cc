"""VGG as an encoder."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pixelwise.catalog import create_model
from pixelwise.models.classify.vgg import VGG
from pixelwise.models.encoders import create_encoder

LAYERS = {"vgg11": 11, "vgg13": 13, "vgg16": 16, "vgg19": 19}


@pytest.mark.parametrize("name", [*LAYERS, *(f"{name}_bn" for name in LAYERS)])
def test_the_number_in_the_name_counts_the_weight_layers(name: str) -> None:
    network = create_model(name, width=2, num_classes=3)
    kinds = [type(module) for module in network.modules()]
    assert kinds.count(nn.Conv2d) + kinds.count(nn.Linear) == LAYERS[name.removesuffix("_bn")]
    assert kinds.count(nn.BatchNorm2d) == (kinds.count(nn.Conv2d) if name.endswith("_bn") else 0)


def test_maps_are_those_before_each_pooling_and_the_last_poolings() -> None:
    encoder = create_encoder("vgg11")
    with torch.inference_mode():
        images = torch.randn(1, 3, 64, 96)
        maps = encoder.pyramid(images)
        assert torch.equal(maps[-1], encoder.features(images))
        assert torch.equal(maps[0], encoder.features[:2](images))
    assert [m.shape[-1] for m in maps] == [96, 48, 24, 12, 6, 3]
    assert torch.equal(maps[-1], nn.functional.max_pool2d(maps[-2], 2))
    assert encoder.feature_channels == (64, 128, 256, 512, 512, 512)


def test_an_encoder_has_no_classifier() -> None:
    encoder = create_encoder("vgg11")
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 9_220_480
    assert not any(isinstance(module, nn.Linear) for module in encoder.modules())


def test_pictures_of_other_sizes_are_averaged_to_seven_by_seven() -> None:
    network = create_model("vgg11", width=2, num_classes=3).eval()
    assert isinstance(network, VGG)
    with torch.inference_mode():
        images = torch.randn(1, 3, 448, 448)
        maps = nn.functional.avg_pool2d(network.features(images), 2)  # (1, 16, 7, 7): 14x14 averaged by twos
        assert torch.allclose(network(images), network.classifier(maps.flatten(1)), atol=1e-6)


@pytest.mark.parametrize("stride", [8, 16])
def test_dilated_maps_hold_the_plain_ones(stride: int) -> None:
    """A dilated block reads the finer map on the grid that the plain one reads, where pooling is taken out of it."""
    plain, dilated = (create_encoder("vgg11").eval() for _ in range(2))
    dilated.load_state_dict(plain.state_dict())
    dilated.dilate(stride)
    assert dilated.feature_strides == tuple(min(s, stride) for s in (1, 2, 4, 8, 16, 32))
    for encoder in (plain, dilated):
        for module in encoder.modules():
            if isinstance(module, nn.MaxPool2d):
                module.kernel_size, module.padding = 1, 0
    with torch.inference_mode():
        images = torch.randn(1, 3, 64, 64)
        fine, coarse = dilated.pyramid(images)[-1], plain.pyramid(images)[-1]
    step = 32 // stride
    assert torch.allclose(fine[..., ::step, ::step], coarse, atol=1e-5)
