"""Padding and cropping of dense networks, and averages of weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.nn.averaging import ExponentialMovingAverage
from pixelwise.nn.dense import DenseModel, mirror_pad


@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (1, 2, 3, 4), (6, 6, 4, 4), (0, 3, 0, 0)])
def test_inside_torchs_range_it_is_reflection(padding: tuple[int, int, int, int]) -> None:
    images = torch.randn(2, 3, 5, 7)
    assert torch.equal(mirror_pad(images, padding), F.pad(images, padding, mode="reflect"))


def test_beyond_it_reflection_goes_on() -> None:
    row = torch.tensor([[[0.0, 1.0, 2.0]]])
    assert mirror_pad(row, (6, 5, 0, 0))[0, 0].tolist() == [2, 1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1]
    assert mirror_pad(torch.full((1, 1, 1, 1), 7.0), (9, 9, 9, 9)).unique().tolist() == [7]


class Sizes(DenseModel):
    """Gives the pixels that a network with this stride and margin would keep, and checks what it is given."""

    def __init__(self, stride: int, margin: int, offset: int) -> None:
        super().__init__()
        self.num_classes, self.stride, self.margin, self.offset = 1, stride, margin, offset

    def logits(self, images: Tensor) -> Tensor:
        for side in images.shape[-2:]:
            assert (side - 2 * self.margin) % self.stride == self.offset % self.stride
        height, width = images.shape[-2:]
        return images[..., self.margin : height - self.margin, self.margin : width - self.margin]


@pytest.mark.parametrize(("stride", "margin", "offset"), [(1, 0, 0), (32, 0, 0), (16, 92, 4), (4, 3, 1)])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (33, 47), (100, 64), (388, 4)])
def test_any_size_comes_back_pixel_for_pixel(stride: int, margin: int, offset: int, size: tuple[int, int]) -> None:
    images = torch.randn(1, 1, *size)
    assert torch.equal(Sizes(stride, margin, offset)(images), images)


def test_average_follows_the_definition_and_includes_batch_norm() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    average = ExponentialMovingAverage(network, decay=0.5)
    expected = {name: value.clone().double() for name, value in network.state_dict().items()}
    for count in range(1, 8):
        network(torch.randn(4, 1, 3, 3))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(network)
        decay = min(0.5, (1 + count) / (10 + count))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * value.double()
            else:
                expected[name] = value.clone()
    for name, value in average.network.state_dict().items():
        assert torch.allclose(value.double(), expected[name].double(), atol=1e-6), name
    assert not any(parameter.requires_grad for parameter in average.parameters())


def test_average_goes_on_from_its_state() -> None:
    torch.manual_seed(0)
    network = nn.Linear(2, 2)
    first = ExponentialMovingAverage(network, decay=0.9)
    first.update(network)
    second = ExponentialMovingAverage(nn.Linear(2, 2), decay=0.9)
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        network.weight.add_(1)
    first.update(network)
    second.update(network)
    assert torch.equal(first.network.weight, second.network.weight)
