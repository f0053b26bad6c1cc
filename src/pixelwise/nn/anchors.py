"""Anchors: boxes of a few sizes and shapes at every position of a map (Ren et al., NIPS 2015, section 3.1.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def anchor_shapes(size: float, ratios: Sequence[float]) -> Tensor:
    """(A, 4) boxes around (0, 0) with the area `size ** 2`, one per ratio of height to width.

    Edges are rounded to whole pixels, as in the published detectors.

    >>> anchor_shapes(32, (1.0, 2.0)).tolist()
    [[-16.0, -16.0, 16.0, 16.0], [-11.0, -23.0, 11.0, 23.0]]
    """
    stretch = torch.tensor(ratios).sqrt()
    widths, heights = size / stretch, size * stretch
    return (torch.stack([-widths, -heights, widths, heights], 1) / 2).round()


def anchors_of(maps: Sequence[Tensor], picture: tuple[int, int], shapes: Sequence[Tensor]) -> list[Tensor]:
    """The anchors at every position of each map, row by row, with one anchor per shape at each position.

    Args:
        maps: (N, C, H_i, W_i).
        picture: height and width in pixels of the pictures that the maps come from.
        shapes: (A, 4) for each map.

    Returns:
        (H_i * W_i * A, 4) xyxy in pixels for each map.
    """
    found = []
    for each, own in zip(maps, shapes, strict=True):
        height, width = each.shape[-2:]
        # Whole strides, counted from the picture's corner, because the map of a padded picture is a little longer.
        rows = torch.arange(height, device=own.device) * (picture[0] // height)
        columns = torch.arange(width, device=own.device) * (picture[1] // width)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        positions = torch.stack([x, y, x, y], -1).view(-1, 1, 4)
        found.append((positions + own).flatten(0, 1))
    return found
