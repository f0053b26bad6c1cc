"""RoIAlign: features of one size for boxes of any size, by bilinear interpolation (He et al., ICCV 2017, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.nn.map_table import MapTable

FINEST_LEVEL = 2
"""A pyramid's finest map has stride 2 ** 2."""
CANONICAL_SIDE = 224
CANONICAL_LEVEL = 4
"""A box as large as an ImageNet picture belongs to the map of stride 16 (Lin et al., CVPR 2017, equation 1)."""


def pyramid_levels(boxes: Tensor, levels: int) -> Tensor:
    """(R, 4) xyxy -> (R,) int64, the map of a pyramid from which a box is read; 0 is the finest.

    The level is `4 + log2(sqrt(width * height) / 224)`, rounded down and limited to the `levels` maps of the pyramid
    (Lin et al., CVPR 2017, section 4.2, equation 1).
    """
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp_min(0).sqrt()
    level = (CANONICAL_LEVEL + (sides / CANONICAL_SIDE).log2() + 1e-6).floor()
    return (level - FINEST_LEVEL).clamp(0, levels - 1).long()


def roi_align(
    maps: Sequence[Tensor],
    boxes: Tensor,
    pictures: Tensor,
    strides: Sequence[float],
    size: int,
    *,
    samples: int = 2,
    levels: Tensor | None = None,
) -> Tensor:
    """The part of a map that each box covers, as `size` x `size` values per channel.

    A box is divided into `size` x `size` bins. A bin's value is the mean of the map at `samples` x `samples` points
    spread evenly over the bin, each interpolated bilinearly between the four values around it. Two details follow the
    published Mask R-CNN: boxes narrower than one position of the map are widened to it, and coordinates on the map are
    counted from the centre of its first value, not from its corner.

    Each bin is a weighted sum of `4 * samples ** 2` values of a map. With the map as a table that has one row of
    channels per position, this sum is an embedding bag. Forward and backward pass are then one kernel each, and the
    gathered values are never stored.

    Args:
        maps: (N, C, H_i, W_i), the levels of a pyramid, or a single map.
        boxes: (R, 4) xyxy in pixels of the picture.
        pictures: (R,) int64, the picture of the batch that each box belongs to.
        strides: pixels of the picture per position of each map.
        levels: (R,) int64, the map from which each box is read; None for `pyramid_levels`.

    Returns:
        (R, C, size, size) in the maps' dtype, channels last.
    """
    channels = maps[0].shape[1]
    if not len(boxes):
        return maps[0].new_zeros(0, channels, size, size)
    boxes = boxes.detach().float()
    levels = pyramid_levels(boxes, len(maps)) if levels is None else levels
    table = MapTable(maps)
    height, width = table.sizes(levels)
    stride = boxes.new_tensor(strides)[levels]
    rows, row_weights = _points(boxes[:, 1], boxes[:, 3], stride, height, size, samples)  # (R, size, 2 * samples)
    columns, column_weights = _points(boxes[:, 0], boxes[:, 2], stride, width, size, samples)
    # All pairs of a bin's rows and columns: (R, size, size, 4 * samples ** 2).
    positions = table.positions(levels, pictures, rows[:, :, None, :, None], columns[:, None, :, None, :]).flatten(3)
    weights = (row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]).flatten(3)
    values = F.embedding_bag(
        positions.flatten(0, 2), table.values.float(), mode="sum", per_sample_weights=weights.flatten(0, 2)
    )
    return values.view(len(boxes), size, size, channels).to(maps[0].dtype).permute(0, 3, 1, 2)


def _points(
    low: Tensor, high: Tensor, stride: Tensor, length: Tensor, size: int, samples: int
) -> tuple[Tensor, Tensor]:
    """The positions of the map that each bin reads along one axis, and their weights.

    Args:
        low, high: (R,) edges in pixels.
        stride, length: (R,) of the box's map.

    Returns:
        (R, size, 2 * samples) int64 positions and float32 weights, whose sum over a bin inside the map is 1.
    """
    begin = low / stride
    side = (high / stride - begin).clamp_min(1)
    steps = (torch.arange(size * samples, device=low.device) + 0.5) / (size * samples)
    points = begin[:, None] + side[:, None] * steps  # (R, size * samples)
    inside = (points >= -1) & (points <= length[:, None])
    last = length[:, None] - 1
    points = points.clamp_min(0).minimum(last)
    before = points.floor()
    share = points - before
    positions = torch.stack([before, (before + 1).minimum(last)], -1).long()
    weights = torch.stack([1 - share, share], -1) * (inside / samples)[..., None]
    return positions.view(len(low), size, 2 * samples), weights.view(len(low), size, 2 * samples)
