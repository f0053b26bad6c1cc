"""Draws the initial weights of layers.

Each function goes through the layers of the given modules in the order of `modules()`, so a seed gives the same weights
as long as the layers and the order of their declaration are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from torch import nn

Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
Kinds = type[Layer] | tuple[type[Layer], ...]
ALL: Kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def he_normal(
    *modules: nn.Module, kinds: Kinds = ALL, mode: Literal["fan_in", "fan_out"] = "fan_in", zero_bias: bool = True
) -> None:
    """Normal weights of standard deviation sqrt(2 / fan), for layers before ReLUs; He et al., ICCV 2015, section 2.2.

    Args:
        modules: the layers, or modules that contain them.
        kinds: only layers of these classes are initialised.
        mode: `fan_in` keeps the variance of the maps, `fan_out` that of the gradients. For a transposed convolution
            torch counts the two the other way round.
        zero_bias: whether biases, if there are any, start at zero; otherwise they do not change.
    """
    for layer in _layers(modules, kinds):
        nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
        if zero_bias and layer.bias is not None:
            nn.init.zeros_(layer.bias)


def small_normal(*modules: nn.Module, kinds: Kinds = ALL, std: float = 0.01) -> None:
    """Normal weights of one small standard deviation, and biases of zero (Krizhevsky et al., NIPS 2012, section 5).

    Args:
        modules, kinds: as in `he_normal`.
    """
    for layer in _layers(modules, kinds):
        nn.init.normal_(layer.weight, 0, std)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _layers(modules: tuple[nn.Module, ...], kinds: Kinds) -> Iterator[Layer]:
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, kinds):
                yield layer
