"""Finds exactly which pixels of the input an output depends on, for any network and without data.

One pass with tensors of the meta device records every operation. From a position of an output, rows and columns are
then traced back to the input in whole numbers: a convolution needs the rows under its kernel, a sum the same rows of
both its terms. The result is the pixels that can have a gradient, as an interval along each axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pixelwise.nn.upsampled_conv import in_full

Interval = tuple[float, float]
"""First and last index along one axis, both included; infinite if every index counts."""
Asks = Callable[[Interval], Interval]
"""Indices of an operation's output -> indices of its input that they depend on."""
EVERYTHING: Interval = (-math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """The part of a picture that one output depends on, in pixels; it may extend beyond the border of the picture.

    Attributes:
        top, left: first row and column; -inf if the output depends on the whole picture.
        bottom, right: one past the last row and column.
    """

    top: float
    left: float
    bottom: float
    right: float

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def width(self) -> float:
        return self.right - self.left


class Trace:
    """The operations of one forward pass.

    Args:
        run: images (1, C, H, W) on the meta device -> a tensor, or tensors.
        images: the input, on the meta device.
    """

    def __init__(self, run: Callable[[Tensor], Any], images: Tensor) -> None:
        self.images = images
        self._recorder = _Recorder()
        with torch.no_grad(), in_full(), self._recorder:
            self.outputs = run(images)

    def field(self, output: Tensor, row: int, column: int) -> ReceptiveField:
        """The pixels that an output (1, C, h, w) of the pass depends on, at one of its positions."""
        top, bottom = self._follow(output, -2, row)
        left, right = self._follow(output, -1, column)
        return ReceptiveField(top, left, bottom + 1, right + 1)

    def _follow(self, output: Tensor, axis: int, index: int) -> Interval:
        wanted: dict[int, Interval] = {id(output): (index, index)}
        for result, sources in reversed(self._recorder.operations):
            interval = wanted.get(id(result))
            if interval is None:
                continue
            for source, asks in sources:
                low, high = asks[axis](interval)
                before = wanted.get(id(source), (low, high))
                wanted[id(source)] = (min(low, before[0]), max(high, before[1]))
        return wanted.get(id(self.images), (math.inf, -math.inf))


def receptive_field(network: nn.Module, images: Tensor, run: Callable[[Tensor], Tensor] | None = None) -> int | None:
    """The longest side of the largest receptive field of any output of a dense network, in pixels.

    Args:
        network: with its parameters on the meta device.
        images: (1, C, H, W) on the meta device.
        run: images -> the output in question; None for the network itself.

    Returns:
        The side in pixels; None if an output depends on the whole picture.
    """
    trace = Trace(run or network, images)
    height, width = trace.outputs.shape[-2:]
    fields = [trace.field(trace.outputs, height // 2 + shift, width // 2 + shift) for shift in range(PHASES)]
    longest = max(max(field.height, field.width) for field in fields)
    return None if math.isinf(longest) else int(longest)


PHASES = 32
"""Number of neighbouring outputs to examine: after an upsampling their receptive fields differ."""


class _Recorder(TorchDispatchMode):
    """Records, for every operation, its result and which rows and columns of the operands that depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Tensor, list[tuple[Tensor, dict[int, Asks]]]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        rule = RULES.get(func.overloadpacket, _pointwise)
        for output in tree_leaves(result):
            if isinstance(output, Tensor) and output.dim() == 4:
                sources = [
                    (source, rule(source, output, args))
                    for source in tree_leaves((args, kwargs))
                    if isinstance(source, Tensor) and source.dim() == 4 and source is not output
                ]
                # Only the first of a layer's tensors is a map; the others are its weights.
                self.operations.append((output, sources[:1] if func.overloadpacket in LAYERS else sources))
        return result


def _pair(value: Any, axis: int) -> int:
    """The value for `axis` (-2 or -1) of one number for both axes, or of one number for each."""
    if isinstance(value, int):
        return value
    return value[axis] if len(value) > 1 else value[0]


def _both(make: Callable[[int], Asks]) -> dict[int, Asks]:
    return {axis: make(axis) for axis in (-2, -1)}


def _everything(interval: Interval) -> Interval:
    return EVERYTHING


def _pointwise(source: Tensor, output: Tensor, args: Any) -> dict[int, Asks]:
    """The same position of each operand; the whole axis if its length differs from the output's."""

    def make(axis: int) -> Asks:
        return (lambda interval: interval) if source.shape[axis] == output.shape[axis] else _everything

    return _both(make)


def _whole(source: Tensor, output: Tensor, args: Any) -> dict[int, Asks]:
    return _both(lambda axis: _everything)


def _window(kernel: int, stride: int, padding: int, dilation: int) -> Asks:
    reach = dilation * (kernel - 1) - padding
    return lambda interval: (stride * interval[0] - padding, stride * interval[1] + reach)


def _convolution(source: Tensor, output: Tensor, args: Any) -> dict[int, Asks]:
    _, weight, _, strides, paddings, dilations, transposed = args[:7]

    def make(axis: int) -> Asks:
        kernel, stride, padding, dilation = (
            weight.shape[axis],
            *(_pair(value, axis) for value in (strides, paddings, dilations)),
        )
        if not transposed:
            return _window(kernel, stride, padding, dilation)
        # Input j reaches the outputs stride * j - padding + dilation * tap.
        reach = dilation * (kernel - 1) - padding
        return lambda interval: (_up(interval[0] - reach, stride), _down(interval[1] + padding, stride))

    return _both(make)


def _up(value: float, divisor: int) -> float:
    return value if math.isinf(value) else -(-value // divisor)


def _down(value: float, divisor: int) -> float:
    return value if math.isinf(value) else value // divisor


def _pool(source: Tensor, output: Tensor, args: Any) -> dict[int, Asks]:
    kernels = args[1]
    strides = args[2] if len(args) > 2 and args[2] else kernels
    paddings = args[3] if len(args) > 3 else 0
    # Average pooling has `ceil_mode` where max pooling has its dilation.
    dilations = args[4] if len(args) > 4 and not isinstance(args[4], bool) else 1
    return _both(
        lambda axis: _window(_pair(kernels, axis), _pair(strides, axis), _pair(paddings, axis), _pair(dilations, axis))
    )


def _scaled(source: Tensor, output: Tensor, args: Any) -> dict[int, Asks]:
    """Positions of a map whose size is changed by repetition: nearest neighbours, unpooling, pixel shuffle."""

    def make(axis: int) -> Asks:
        have, made = source.shape[axis], output.shape[axis]
        if have == 1:
            return _everything
        return lambda interval: (_down(interval[0] * have, made), _down(interval[1] * have, made))

    return _both(make)


def _bilinear(source: Tensor, output: Tensor, args: Any) -> dict[int, Asks]:
    corners = bool(args[2])

    def make(axis: int) -> Asks:
        have, made = source.shape[axis], output.shape[axis]
        if have == 1:  # an average over the whole picture, enlarged again
            return _everything

        def asks(interval: Interval) -> Interval:
            low, high = (
                value * (have - 1) / max(made - 1, 1) if corners else (value + 0.5) * have / made - 0.5
                for value in interval
            )
            return (low, high) if math.isinf(low) else (math.floor(low + 1e-9), math.ceil(high - 1e-9))

        return asks

    return _both(make)


def _slice(source: Tensor, output: Tensor, args: Any) -> dict[int, Asks]:
    dim = args[1] if len(args) > 1 else 0
    start = (args[2] if len(args) > 2 else 0) or 0
    step = args[4] if len(args) > 4 else 1
    start += source.shape[dim] if start < 0 else 0

    def make(axis: int) -> Asks:
        if dim % 4 != axis % 4:
            return lambda interval: interval
        return lambda interval: (interval[0] * step + start, interval[1] * step + start)

    return _both(make)


def _constant_pad(source: Tensor, output: Tensor, args: Any) -> dict[int, Asks]:
    def make(axis: int) -> Asks:
        index = 2 * (-1 - axis)
        before = args[1][index] if index < len(args[1]) else 0
        return lambda interval: (interval[0] - before, interval[1] - before)

    return _both(make)


aten = torch.ops.aten
LAYERS = {aten.convolution, aten.max_unpool2d, aten.native_batch_norm, aten.native_group_norm}
RULES: dict[Any, Callable[[Tensor, Tensor, Any], dict[int, Asks]]] = {
    aten.convolution: _convolution,
    aten.max_pool2d_with_indices: _pool,
    aten.avg_pool2d: _pool,
    aten.upsample_nearest2d: _scaled,
    aten.upsample_bilinear2d: _bilinear,
    aten.max_unpool2d: _scaled,
    aten.native_group_norm: _whole,
    aten.pixel_shuffle: _scaled,
    aten.slice: _slice,
    aten.constant_pad_nd: _constant_pad,
    aten.replication_pad2d: _constant_pad,
}
"""Rules for operations that move positions in the plane; all other operations keep positions, or reduce a whole
axis."""
