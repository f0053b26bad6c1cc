"""Joints as heatmaps with a Gaussian at each joint, and back: the position of the peak to a quarter of a cell.

Newell, Yang, Deng, ECCV 2016, section 3.1. Coordinates are continuous: the centre of cell (0, 0) is at (0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.distributed import total

SIGMA = 1.0
"""Standard deviation of the Gaussians, in cells of the heatmap (section 3.1)."""


def gaussians(points: Tensor, size: tuple[int, int], sigma: float = SIGMA) -> Tensor:
    """The heatmap of each point; its value at the point, which need not be the centre of a cell, would be 1.

    Args:
        points: (..., 2) x and y in cells.
        size: height and width.

    Returns:
        (..., height, width) float32.
    """
    height, width = size
    columns, rows = (torch.arange(side, device=points.device) + 0.5 for side in (width, height))
    across = (columns - points[..., 0, None].float()).square()  # (..., width)
    down = (rows - points[..., 1, None].float()).square()  # (..., height)
    return torch.exp(-(across[..., None, :] + down[..., :, None]) / (2 * sigma**2))


def peaks(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """The peak of each heatmap: the centre of the highest cell, moved a quarter of a cell towards the higher neighbour.

    This is done on each axis. It finds the peak of a Gaussian to a quarter of a cell, or to half a cell in an outermost
    cell, which lacks a neighbour.

    Args:
        heatmaps: (..., height, width).

    Returns:
        Points (..., 2) float32, x and y in cells, and the values (...) of the highest cells.
    """
    height, width = heatmaps.shape[-2:]
    flat = heatmaps.float().flatten(-2)
    values, positions = flat.max(-1)
    row, column = positions // width, positions % width
    found = []
    for position, side, step in ((column, width, 1), (row, height, width)):
        inner = (position > 0) & (position < side - 1)
        before, after = (flat.gather(-1, (positions + sign * step * inner)[..., None]).squeeze(-1) for sign in (-1, 1))
        found.append(position + 0.5 + 0.25 * torch.sign(after - before) * inner)
    return torch.stack(found, -1), values


def mirrored(heatmaps: Tensor, order: Sequence[int]) -> Tensor:
    """The heatmaps (..., J, H, W) of a picture, from those of its mirror image.

    Args:
        order: for each joint the joint that it becomes in a mirror image, `Joints.mirrored`.
    """
    return heatmaps[..., list(order), :, :].flip(-1)


def heatmap_loss(heatmaps: Tensor, true: Tensor, present: Tensor) -> Tensor:
    """The mean squared error over all cells of the heatmaps of annotated joints, over all processes.

    Args:
        heatmaps, true: (N, J, H, W).
        present: (N, J) bool, whether the joint is annotated; the heatmaps of other joints do not count.

    Returns:
        A scalar; 0 if no joint is annotated.
    """
    errors = F.mse_loss(heatmaps.float(), true, reduction="none").mean((-2, -1))  # (N, J)
    return total((errors * present).sum()) / total(present.sum()).clamp(min=1)
