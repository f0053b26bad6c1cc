"""Initialisation of new layers: its scale, which layers it reaches, and the order of its draws."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pixelwise.nn.initialise import he_normal, small_normal


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(40, 60, 5),
        nn.BatchNorm2d(60),
        nn.Sequential(nn.ConvTranspose2d(60, 50, 3, bias=False), nn.ReLU()),
        nn.Linear(700, 90),
    )


@pytest.mark.parametrize(("mode", "fans"), [("fan_in", (40 * 25, 50 * 9, 700)), ("fan_out", (60 * 25, 60 * 9, 90))])
def test_variance_is_two_over_the_fan(mode: str, fans: tuple[int, ...]) -> None:
    layers = network()
    he_normal(layers, mode=mode)
    for layer, fan in zip((layers[0], layers[2][0], layers[3]), fans, strict=True):
        assert float(layer.weight.detach().std()) == pytest.approx((2 / fan) ** 0.5, rel=0.02)
        assert abs(float(layer.weight.detach().mean())) < 0.02 * (2 / fan) ** 0.5 * 3
    assert not layers[0].bias.any()
    assert not layers[3].bias.any()
    assert torch.equal(layers[1].weight, torch.ones(60))


def test_only_the_chosen_layers_are_drawn_in_the_order_of_the_arguments() -> None:
    layers, expected = network(), network()
    torch.manual_seed(4)
    he_normal(layers[3], layers[:3], kinds=(nn.Linear, nn.Conv2d), zero_bias=False)
    torch.manual_seed(4)
    for layer in (expected[3], expected[0]):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    for (name, found), value in zip(layers.named_parameters(), expected.parameters(), strict=True):
        assert torch.equal(found, value), name


def test_small_normal_has_one_standard_deviation() -> None:
    layers = network()
    small_normal(layers, kinds=nn.Conv2d)
    assert float(layers[0].weight.detach().std()) == pytest.approx(0.01, rel=0.02)
    assert not layers[0].bias.any()
    small_normal(layers[3], std=0.5)
    assert float(layers[3].weight.detach().std()) == pytest.approx(0.5, rel=0.02)
