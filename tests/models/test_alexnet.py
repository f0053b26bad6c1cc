"""AlexNet: sizes of its maps, the maps on their grids, its dilated form and its convolutional one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pixelwise.catalog import create_model
from pixelwise.models.classify.alexnet import AlexNet
from pixelwise.models.convert import fully_convolutional
from pixelwise.nn.dense import mirror_pad


def own_maps(network: AlexNet, images: Tensor) -> list[Tensor]:
    """What the stages hand on, before anything is brought to a grid."""
    maps = [images]
    for stage in network.stages():
        maps.append(stage(maps[-1]))
    return maps[1:]


def test_sizes_of_the_maps_of_a_picture_of_224() -> None:
    with torch.device("meta"):
        network = AlexNet()
        maps = own_maps(network, torch.empty(1, 3, 224, 224))
        assert [tuple(m.shape[1:]) for m in maps] == [(64, 55, 55), (192, 27, 27), (256, 13, 13), (256, 6, 6)]
        assert [tuple(m.shape[1:]) for m in network.pyramid(torch.empty(1, 3, 224, 224))] == [
            (64, 56, 56),
            (192, 28, 28),
            (256, 14, 14),
            (256, 7, 7),
        ]


@torch.no_grad()
def test_the_classifier_reads_the_maps_as_they_are() -> None:
    torch.manual_seed(0)
    network = AlexNet(width=4, num_classes=3).eval()
    images = torch.randn(2, 3, 224, 224)
    last = own_maps(network, images)[-1]
    assert torch.allclose(network(images), network.classifier(last.flatten(1)), atol=1e-6)
    assert torch.equal(last, nn.functional.max_pool2d(own_maps(network, images)[-2], 3, 2))
    # Each map of the pyramid lies between the places of the network's own, and repeats the outermost ones.
    for own, given in zip(own_maps(network, images), network.pyramid(images), strict=True):
        between = (own[..., :-1] + own[..., 1:]) / 2
        between = (between[..., :-1, :] + between[..., 1:, :]) / 2
        assert torch.allclose(given[..., 1:-1, 1:-1], between, atol=1e-6)
        assert torch.allclose(given[..., 0, 0], own[..., 0, 0], atol=1e-6)
        assert torch.allclose(given[..., -1, -1], own[..., -1, -1], atol=1e-6)


@torch.no_grad()
def test_maps_move_with_the_picture() -> None:
    torch.manual_seed(0)
    network = AlexNet(width=4, num_classes=0).eval()
    images = torch.randn(1, 3, 448, 480)
    for whole, part, stride in zip(
        network.pyramid(images), network.pyramid(images[..., 64:, 32:]), network.feature_strides, strict=True
    ):
        whole = whole[..., 64 // stride :, 32 // stride :]
        inner = slice(160 // stride, -160 // stride)  # beyond the reach of the border
        assert part[..., inner, inner].numel() > 0
        assert torch.allclose(whole[..., inner, inner], part[..., inner, inner], atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("output_stride", [32, 8])
def test_a_small_picture_is_mirrored_until_it_suits_the_layers(output_stride: int) -> None:
    torch.manual_seed(0)
    network = AlexNet(width=4, num_classes=0).eval()
    network.dilate(output_stride)
    images = torch.randn(1, 3, 32, 96)
    expected = network.pyramid(mirror_pad(images, (0, 0, 0, 32)))
    for small, large, stride in zip(network.pyramid(images), expected, network.feature_strides, strict=True):
        assert small.shape[-2:] == (32 // stride, 96 // stride)
        assert torch.equal(small, large[..., : 32 // stride, :])


@torch.no_grad()
@pytest.mark.parametrize("output_stride", [4, 8, 16])
def test_dilated_maps_hold_the_plain_ones(output_stride: int) -> None:
    """Where pooling is taken out of it, a dilated filter reads the finer map on the grid that the plain one reads."""
    torch.manual_seed(0)
    plain, dilated = (AlexNet(width=4, num_classes=0).eval() for _ in range(2))
    dilated.load_state_dict(plain.state_dict())
    dilated.dilate(output_stride)
    for network in (plain, dilated):
        for module in network.modules():
            if isinstance(module, nn.MaxPool2d):
                module.kernel_size, module.padding = 1, 0
    images = torch.randn(1, 3, 160, 160)
    fine, coarse = own_maps(dilated, images)[-1], own_maps(plain, images)[-1]
    step = 32 // output_stride
    assert coarse.std() > 0.01
    assert torch.allclose(fine[..., ::step, ::step], coarse, atol=1e-5)


@torch.no_grad()
def test_as_a_convolution_it_gives_the_same_logits() -> None:
    torch.manual_seed(0)
    network = create_model("alexnet", num_classes=6, width=4).eval()
    converted = fully_convolutional(network, 224)
    images = torch.randn(1, 3, 224, 224)
    assert torch.allclose(converted(images)[..., 0, 0], network(images), atol=1e-5)
    assert converted.stride == (32, 32)
    assert converted(torch.randn(1, 3, 256, 320)).shape == (1, 6, 2, 4)
