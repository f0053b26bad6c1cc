"""Lists the layers of a network in the order in which they are computed, and picks those worth looking at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.explain.activations import frozen, hooked
from pixelwise.nn.encoder import Encoder


@dataclass(frozen=True, slots=True)
class Layer:
    """A module that was called and returned a tensor.

    Attributes:
        name: as in `network.named_modules()`.
        kind: its class.
        shape: shape of its (first) output, from the last call if there were several.
        parameters: number of parameters, including those of the modules inside it.
        within: number of modules inside it.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    within: int

    @property
    def positions(self) -> int:
        """Number of positions of its feature map, rows times columns; 1 if the output is not a map."""
        return self.shape[2] * self.shape[3] if len(self.shape) == 4 else 1


def list_layers(network: nn.Module, images: Tensor) -> list[Layer]:
    """The layers that pictures (N, C, H, W) pass through, in the order of their outputs; a module follows its parts."""
    modules = {name: module for name, module in network.named_modules() if name}
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, output: Any) -> None:
        first = output[0] if isinstance(output, tuple | list) and output else output
        if isinstance(first, Tensor):
            shapes.pop(name, None)  # the last call decides the order
            shapes[name] = tuple(first.shape)

    with frozen(network), torch.no_grad(), hooked(modules, note):
        network(images)
    return [
        Layer(
            name,
            type(modules[name]).__name__,
            shape,
            sum(parameter.numel() for parameter in modules[name].parameters()),
            sum(1 for _ in modules[name].modules()) - 1,
        )
        for name, shape in shapes.items()
    ]


def coarsest(network: nn.Module, layers: Sequence[Layer]) -> Layer | None:
    """The last layer among those with the coarsest map of more than one position: the default layer for Grad-CAM.

    For a classifier it is the last map. For a dense network it is the coarsest map, looked for in the encoder only if
    there is one, because later modules may pool further. None if no layer has a map.
    """
    inside = _encoder_prefix(network)
    maps = [layer for layer in layers if layer.positions > 1]
    maps = [layer for layer in maps if layer.name.startswith(inside)] or maps
    fewest = min((layer.positions for layer in maps), default=0)
    return next((layer for layer in reversed(maps) if layer.positions == fewest), None)


def stage_ends(layers: Sequence[Layer], count: int = 5) -> list[Layer]:
    """The last map before each change of size, from input to output; at most `count` of them, evenly selected."""
    maps = [layer for layer in layers if layer.positions > 1]
    ends = [one for one, following in pairwise(maps) if one.shape[2:] != following.shape[2:]] + maps[-1:]
    if len(ends) <= count:
        return ends
    return [ends[round(number * (len(ends) - 1) / (count - 1))] for number in range(count)]


def _encoder_prefix(network: nn.Module) -> str:
    encoder = getattr(network, "encoder", None)
    return next((f"{name}." for name, module in network.named_modules() if name and module is encoder), "")


def first_convolution(network: nn.Module) -> nn.Conv2d | None:
    """The convolution that reads the picture: declared by an encoder; in other networks the first one by name."""
    encoder = getattr(network, "encoder", network)
    if isinstance(encoder, Encoder):
        return encoder.first_convolution()
    return next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
