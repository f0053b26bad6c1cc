"""RoI max pooling: features of one size for boxes of any size, by the largest value of each bin.

Girshick, Fast R-CNN, ICCV 2015, section 2.1; a spatial pyramid of one level (He et al., ECCV 2014).
"""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.nn.map_table import MapTable


def roi_max_pool(maps: Tensor, boxes: Tensor, pictures: Tensor, stride: float, size: int) -> Tensor:
    """The largest value of a map in each of `size` x `size` bins of a box.

    A box covers every position of the map that it touches, at least one. If these are n rows, bin k covers the rows
    from `floor(k * n / size)` up to, but not including, `ceil((k + 1) * n / size)`. No bin is empty, and bins overlap
    rather than skip a position: a box of 7 rows is divided into the 3 bins 0-2, 2-4 and 4-6.

    The largest value of a run of positions is the larger maximum of two runs whose length is a power of two: one begins
    where the run begins, the other ends where it ends. The maxima of these runs are computed once for the map, so a bin
    of any size needs only four reads.

    Args:
        maps: (N, C, H, W).
        boxes: (R, 4) xyxy in pixels of the picture.
        pictures: (R,) int64, the picture of the batch that each box belongs to.
        stride: pixels of the picture per position of the map.

    Returns:
        (R, C, size, size) in the maps' dtype, channels last. The gradient goes to the positions of the largest values.
    """
    channels, height, width = maps.shape[1:]
    if not len(boxes):
        return maps.new_zeros(0, channels, size, size)
    edges = boxes.detach().float() / stride
    top, bottom = _bins(edges[:, 1], edges[:, 3], height, size)  # (R, size) each
    left, right = _bins(edges[:, 0], edges[:, 2], width, size)
    rows, columns = _power(bottom - top), _power(right - left)
    down, across = int(rows.max()) + 1, int(columns.max()) + 1
    table = MapTable([each for tall in _doubled(maps, -2, down) for each in _doubled(tall, -1, across)])
    levels = (rows[:, :, None] * across + columns[:, None, :]).flatten()  # (R * size * size,)
    every = pictures[:, None, None].expand(-1, size, size).flatten()
    ys = torch.stack([top, bottom - (1 << rows)], -1)  # (R, size, 2): where the two runs begin
    xs = torch.stack([left, right - (1 << columns)], -1)
    ys = ys[:, :, None, :, None].expand(-1, -1, size, -1, 2).flatten(3).flatten(0, 2)
    xs = xs[:, None, :, None, :].expand(-1, size, -1, 2, -1).flatten(3).flatten(0, 2)
    values = table.values[table.positions(levels, every, ys, xs)].amax(1)  # (R * size * size, C)
    return values.view(len(boxes), size, size, channels).permute(0, 3, 1, 2)


def _bins(low: Tensor, high: Tensor, length: int, size: int) -> tuple[Tensor, Tensor]:
    """(R,) edges in positions of the map -> (R, size) int64 first position of each bin, and one past its last."""
    begin = low.floor().long().clamp(0, length - 1)
    end = high.ceil().long().clamp(max=length).maximum(begin + 1)
    steps = torch.arange(size + 1, device=low.device)
    count = (end - begin)[:, None]
    first = begin[:, None] + steps[:-1] * count // size
    last = begin[:, None] - (-(steps[1:] * count) // size)
    return first, last


def _power(length: Tensor) -> Tensor:
    """int64 -> the exponent of the largest power of two that is not larger."""
    return torch.frexp(length.float())[1].long() - 1


def _doubled(maps: Tensor, axis: int, levels: int) -> list[Tensor]:
    """Maps that hold at each position the largest value of the 1, 2, 4, ... positions from there to the edge."""
    found = [maps]
    for level in range(levels - 1):
        last, reach = found[-1], 1 << level
        later = last.narrow(axis, reach, last.shape[axis] - reach)
        rest = last.narrow(axis, last.shape[axis] - reach, reach)  # runs that end at the edge
        ahead = torch.cat([later, rest], axis)
        found.append(torch.maximum(last, ahead))
    return found
