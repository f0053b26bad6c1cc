"""Receptive fields: literal ones, and the same as where a gradient arrives."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.catalog import create_model
from pixelwise.nn.receptive_field import ReceptiveField, Trace, receptive_field
from pixelwise.nn.upsampled_conv import UpsampledConv2d

SIDE = 96


class _Unpool(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        small, indices = F.max_pool2d(maps, 2, return_indices=True)
        return F.max_unpool2d(small, indices, 2, output_size=maps.shape[-2:])


class _Call(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, maps: Tensor) -> Tensor:
        return self.function(maps)


def meta(network: nn.Module) -> tuple[nn.Module, Tensor]:
    return copy.deepcopy(network).to("meta"), torch.empty(1, 1, SIDE, SIDE, device="meta")


def by_gradient(network: nn.Module, row: int, column: int, side: int = SIDE) -> ReceptiveField:
    """Where the gradient of one output is not zero; weights, inputs and so all paths are positive."""
    network = copy.deepcopy(network).double().eval()
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.01)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 1.0)
    images = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    network(images)[..., row, column].sum().backward()
    assert images.grad is not None
    rows, columns = (images.grad[0, 0].abs().sum(axis).nonzero().flatten() for axis in (1, 0))
    return ReceptiveField(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


CONV = nn.Conv2d(1, 1, 3, padding=1)
BY_FOUR = nn.AvgPool2d(4)
NETWORKS: dict[str, nn.Module] = {
    "three 3x3": nn.Sequential(CONV, CONV, CONV),
    "dilated": nn.Sequential(
        nn.Conv2d(1, 1, 3, padding=2, dilation=2), nn.Conv2d(1, 1, (3, 1), padding=(4, 0), dilation=4)
    ),
    "strided": nn.Sequential(nn.Conv2d(1, 2, 7, 2, 3), nn.BatchNorm2d(2), nn.AvgPool2d(3, 2, 1), nn.Conv2d(2, 1, 3)),
    "transposed": nn.Sequential(
        nn.Conv2d(1, 1, 3, 2, 1), nn.ConvTranspose2d(1, 1, 4, 2, 1), nn.ConvTranspose2d(1, 1, 3, 3)
    ),
    "nearest": nn.Sequential(BY_FOUR, CONV, nn.Upsample(scale_factor=4, mode="nearest"), CONV),
    "bilinear": nn.Sequential(BY_FOUR, CONV, nn.Upsample(scale_factor=4, mode="bilinear")),
    "bilinear corners": nn.Sequential(BY_FOUR, nn.Upsample(size=(SIDE, SIDE), mode="bilinear", align_corners=True)),
    "shuffle": nn.Sequential(nn.Conv2d(1, 4, 2, 2), nn.Conv2d(4, 4, 3, padding=1), nn.PixelShuffle(2)),
    "pad and crop": _Call(lambda maps: F.avg_pool2d(F.pad(maps, (3, 1, 2, 5)), 3, 1)[..., 4:, 1:-2]),
    "every other": _Call(lambda maps: F.avg_pool2d(maps, 3, 1)[..., ::2, 1::3]),
    "skip": _Call(lambda maps: torch.cat([maps, F.avg_pool2d(maps, 9, 1, 4)], 1) + maps),
    "unet": create_model("unet", in_channels=1, num_classes=1, width=2, batch_norm=False),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("place", [(11, 12), (12, 15), (13, 9), (14, 14)])
def test_equal_to_where_a_gradient_arrives(name: str, place: tuple[int, int]) -> None:
    network, images = meta(NETWORKS[name])
    trace = Trace(network, images)
    found, expected = trace.field(trace.outputs, *place), by_gradient(_averaged(NETWORKS[name]), *place)
    within = ReceptiveField(
        max(found.top, 0), max(found.left, 0), min(found.bottom, SIDE), min(found.right, SIDE)
    )  # the border of the picture cuts what there is
    assert within == expected


def _averaged(network: nn.Module) -> nn.Module:
    """Max pooling passes the gradient to one pixel; average pooling to all that the maximum is taken over."""
    network = copy.deepcopy(network)
    for parent in network.modules():
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                average = nn.AvgPool2d(child.kernel_size, child.stride, child.padding)
                with_places = _Call(lambda maps, average=average: (average(maps), None))  # type: ignore[misc]
                setattr(parent, name, with_places if child.return_indices else average)
    return network


def test_literal_sizes() -> None:
    assert receptive_field(*meta(NETWORKS["three 3x3"])) == 7
    assert receptive_field(*meta(_Unpool())) == 2


def test_the_largest_of_a_unet() -> None:
    averaged = _averaged(NETWORKS["unet"])
    fields = [by_gradient(averaged, row, row, side=320) for row in range(144, 160)]
    assert receptive_field(*meta(NETWORKS["unet"])) == max(field.height for field in fields) == 204


def test_the_whole_picture() -> None:
    pooled = _Call(
        lambda maps: maps + F.interpolate(F.adaptive_avg_pool2d(maps, 1), size=maps.shape[-2:], mode="bilinear")
    )
    assert receptive_field(*meta(pooled)) is None
    assert receptive_field(*meta(nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2)))) is None
    assert receptive_field(*meta(_Call(lambda maps: maps - maps.mean((2, 3), keepdim=True)))) is None


def test_of_a_layer_inside() -> None:
    network, images = meta(nn.Sequential(CONV, nn.MaxPool2d(2), copy.deepcopy(CONV)))
    inside: list[Tensor] = []
    network[1].register_forward_hook(lambda module, inputs, output: inside.append(output))
    trace = Trace(network, images)
    assert trace.field(inside[0], 3, 5) == ReceptiveField(5, 9, 9, 13)
    assert trace.field(trace.outputs, 3, 5) == ReceptiveField(3, 7, 11, 15)
    assert math.isinf(trace.field(torch.empty(1, 1, 4, 4), 0, 0).top)  # of a tensor that the pass did not make


@pytest.mark.parametrize("skip", [0, 2])
def test_a_convolution_of_an_enlarged_map_is_followed(skip: int) -> None:
    """By position, although the layer computes all four parities at once: against which pixels have a gradient."""

    class Up(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Conv2d(1, 3, 3, stride=2, padding=1)
            self.beside = nn.Conv2d(1, max(skip, 1), 3, padding=1)
            self.up = UpsampledConv2d(3, skip, 1)

        def forward(self, images: Tensor) -> Tensor:
            return self.up(self.down(images), self.beside(images) if skip else None)

    torch.manual_seed(0)
    network = Up()
    images = torch.randn(1, 1, 32, 32, requires_grad=True)
    answer = network(images)
    trace = Trace(copy.deepcopy(network).to("meta"), torch.zeros(1, 1, 32, 32, device="meta"))
    for row, column in ((16, 16), (15, 16), (15, 15), (0, 31)):
        (gradient,) = torch.autograd.grad(answer[0, 0, row, column], images, retain_graph=True)
        rows, columns = (gradient[0, 0] != 0).nonzero(as_tuple=True)
        field = trace.field(trace.outputs, row, column)
        seen = max(field.top, 0), max(field.left, 0), min(field.bottom, 32), min(field.right, 32)
        assert seen == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
