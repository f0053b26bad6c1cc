"""Diagrams of networks: which maps are drawn and how they are connected, with the shapes of a traced pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pixelwise.catalog import create_model
from pixelwise.nn.shapes import shapes_only

PICTURE, LOGITS = "picture", "logits"
"""Names of the input and of the result of a pass."""
UNPOOLED = "max_unpool2d"
"""Name of the functional unpooling; `max_unpool2d.0<` is the input of the first one in a pass."""
Shape = tuple[int, int, int]
"""Channels, height, width."""


class Part(Enum):
    """The part of a network that a map belongs to."""

    PICTURE = "picture"
    ENCODER = "encoder"
    DECODER = "decoder"
    HEAD = "head"


class Kind(Enum):
    """How a map is computed from another one."""

    LAYERS = "layers"
    DOWN = "downsampling"
    UP = "upsampling"
    CONCATENATION = "concatenation"
    SUM = "addition"
    INDICES = "positions of the maxima"


@dataclass(frozen=True, slots=True)
class Map:
    """One map of a diagram.

    Attributes:
        name: the module whose output is drawn; with "<" at the end, the module whose input is drawn; or `PICTURE` or
            `LOGITS`.
        sources: name of a map -> how this map is computed from it. None stands for layers, or for downsampling or
            upsampling if height and width change by a factor of about two or more. Without sources, the map is computed
            from the one before it in the table.
        words: a word above the map.
        y: centre of the map above the middle of the diagram, in pixels; maps of one column that have none are stacked.
        plus: whether the map, a sum, is drawn as a plus sign.
    """

    name: str
    part: Part
    sources: Mapping[str, Kind | None] = field(default_factory=dict)
    words: str = ""
    y: float | None = None
    plus: bool = False


def run_logits(network: Any, images: Tensor) -> Tensor:
    """The logits without padding or cropping."""
    return network.logits(images)


@dataclass(frozen=True, slots=True)
class Diagram:
    """A network and the maps that its figure shows.

    Attributes:
        network: name in the catalog.
        size: height and width of the picture.
        columns: maps from left to right; maps of one column lie above each other.
        options: of the network.
        encoder, decoder, head: what the legend calls these parts.
        step: height that a map gains when its resolution doubles, in pixels of the figure.
        run: network, images (1, C, H, W) -> the result, (1, K, h, w) or (1, K).
    """

    network: str
    size: tuple[int, int]
    columns: Sequence[Map | Sequence[Map]]
    options: Mapping[str, Any] = field(default_factory=dict)
    encoder: str = Part.ENCODER.value
    decoder: str = Part.DECODER.value
    head: str = Part.HEAD.value
    step: float = 40
    run: Callable[[Any, Tensor], Tensor] = run_logits

    def legend(self, part: Part) -> str:
        """The name of a part in the legend."""
        names = {Part.ENCODER: self.encoder, Part.DECODER: self.decoder, Part.HEAD: self.head}
        return names.get(part, part.value)

    def stacks(self) -> list[list[Map]]:
        """The maps of each column."""
        return [[column] if isinstance(column, Map) else list(column) for column in self.columns]

    def maps(self) -> list[Map]:
        """All maps in the order of the table, each with its sources."""
        complete: list[Map] = []
        for each in (each for stack in self.stacks() for each in stack):
            if not each.sources and complete:
                each = Map(each.name, each.part, {complete[-1].name: None}, each.words, each.y, each.plus)
            complete.append(each)
        return complete


class _Unpoolings(TorchFunctionMode):
    """Shows the input of each unpooling, which is a function and no module."""

    def __init__(self, see: Callable[[str, Tensor], Tensor]) -> None:
        self.see = see
        self.count = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func.__name__ == UNPOOLED:
            args = (self.see(f"{UNPOOLED}.{self.count}<", args[0]), *args[1:])
            self.count += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def watched(network: nn.Module, names: Sequence[str], see: Callable[[str, Tensor], Tensor]) -> Iterator[None]:
    """In this context, `see(name, tensor)` gets each named map of a pass, and the pass goes on with what it returns.

    Raises:
        AttributeError: the network has no module of that name.
    """
    with ExitStack() as stack:
        for name in names:
            if name in (PICTURE, LOGITS) or name.startswith(UNPOOLED):
                continue
            module = network.get_submodule(name.removesuffix("<"))
            if name.endswith("<"):
                hook = module.register_forward_pre_hook(lambda _, given, name=name: (see(name, given[0]), *given[1:]))
            else:
                hook = module.register_forward_hook(lambda _, given, result, name=name: see(name, result))
            stack.callback(hook.remove)
        stack.enter_context(_Unpoolings(see))
        yield


def shape_of(tensor: Tensor) -> Shape:
    """(1, C, H, W) -> C, H, W; a vector (1, C) has one position."""
    channels, *size = tensor.shape[1:]
    height, width = size or (1, 1)
    return channels, height, width


def traced(diagram: Diagram) -> tuple[nn.Module, dict[str, Shape]]:
    """The network without numbers, and the shapes of the maps of one pass, by name.

    Raises:
        AttributeError: the network lacks a module that the table names.
        ValueError: a map is not computed in the pass, or shapes contradict the table's connections.
    """
    with shapes_only():
        network = create_model(diagram.network, **diagram.options).eval()
        first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
        images = torch.empty(1, first.in_channels, *diagram.size)
    names = [each.name for each in diagram.maps()]
    shapes = {PICTURE: shape_of(images)}

    def see(name: str, maps: Tensor) -> Tensor:
        shapes[name] = shape_of(maps)
        return maps

    with torch.no_grad(), watched(network, names, see):
        shapes[LOGITS] = shape_of(diagram.run(network, images))
    for missing in set(names) - set(shapes):
        raise ValueError(f"{diagram.network}: the pass does not compute {missing}")
    for each in diagram.maps():
        check(diagram.network, each, shapes)
    return network, shapes


def kind_of(kind: Kind | None, source: Shape, target: Shape) -> Kind:
    """The kind of a connection, by the shapes if the table leaves it open."""
    if kind is not None:
        return kind
    ratio = (target[1] * target[2] / (source[1] * source[2])) ** 0.5
    return Kind.DOWN if ratio < 0.6 else Kind.UP if ratio > 1.4 else Kind.LAYERS


def check(network: str, each: Map, shapes: Mapping[str, Shape]) -> None:
    """Compares the shapes at both ends of each connection.

    Raises:
        ValueError: they contradict its kind.
    """
    channels, height, width = shapes[each.name]
    joined = [shapes[name][0] for name, kind in each.sources.items() if kind is Kind.CONCATENATION]
    open_ends = sum(kind is None for kind in each.sources.values())
    if joined and (sum(joined) >= channels if open_ends else sum(joined) != channels):
        raise ValueError(f"{network}: {each.name} has {channels} channels, but {joined} are concatenated")
    for name, kind in each.sources.items():
        source = shapes[name]
        if kind is Kind.SUM and (source[0] != channels or source[1] > height or source[2] > width):
            raise ValueError(f"{network}: {name} {source} cannot be added to {each.name} {shapes[each.name]}")
        if kind is Kind.INDICES and source != (channels, height, width):
            raise ValueError(f"{network}: {name} {source} has no positions for {each.name} {shapes[each.name]}")
