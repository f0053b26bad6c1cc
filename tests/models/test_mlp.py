"""The perceptron: its layers, and that it knows no neighbours."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pixelwise.models.classify.mlp import MLP


def test_layers_of_784_800_10() -> None:
    network = MLP()
    sizes = [(m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)]
    assert sizes == [(784, 800), (800, 10)]
    assert network.window == (28, 28)


@torch.no_grad()
def test_shuffled_pixels_are_the_same_to_shuffled_weights() -> None:
    torch.manual_seed(0)
    network = MLP(in_channels=2, size=(4, 6), hidden=(20, 8), num_classes=3).eval()
    images = torch.randn(5, 2, 4, 6)
    expected = network(images)
    order = torch.randperm(2 * 4 * 6)
    network.hidden[0].weight.copy_(network.hidden[0].weight[:, order])
    assert not torch.allclose(network(images), expected, atol=1e-3)
    shuffled = images.flatten(1)[:, order].view_as(images)
    assert torch.allclose(network(shuffled), expected, atol=1e-5)


@torch.no_grad()
def test_the_order_of_pixels_is_the_pictures_whatever_its_layout_in_memory() -> None:
    network = MLP(in_channels=3, size=8, hidden=(4,)).eval()
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(network(images.contiguous(memory_format=torch.channels_last)), network(images))


@pytest.mark.parametrize("hidden", [(), (16,), (16, 8)])
def test_without_hidden_layers_it_is_linear(hidden: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = MLP(size=5, hidden=hidden, num_classes=3).eval()
    a, b = torch.randn(2, 4, 1, 5, 5)
    with torch.no_grad():
        middle = network((a + b) / 2)
        mean = (network(a) + network(b)) / 2
    assert torch.allclose(middle, mean, atol=1e-5) == (not hidden)
