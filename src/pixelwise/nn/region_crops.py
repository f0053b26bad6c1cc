"""Parts of pictures, each warped to a square of one size (Girshick et al., CVPR 2014, section 2.1 and appendix A)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 6
"""Largest number of times that a picture is halved, for boxes that are larger than their crop."""


def region_crops(images: Tensor, boxes: Sequence[Tensor], size: int, context: float = 0) -> Tensor:
    """Warps each box of each picture, with some of its surroundings, to a square.

    The box is stretched, whatever its proportions, to the middle `size - 2 * context` pixels of the square. Pixels
    beyond the picture are 0, the mean of a normalised picture. For a box that is larger than its crop, the picture is
    first halved until the box has about as many pixels as the crop, so that no pixel is skipped.

    Args:
        images: (N, C, H, W).
        boxes: for each picture (R_i, 4) xyxy in pixels, of positive width and height.
        context: pixels of the square on each side that show the surroundings of the box.

    Returns:
        (R, C, size, size) in the pictures' dtype, channels last; picture by picture.
    """
    channels = images.shape[1]
    found = []
    for image, own in zip(images, boxes, strict=True):
        crops = torch.empty(
            (len(own), channels, size, size), dtype=image.dtype, device=image.device, memory_format=torch.channels_last
        )
        levels = _levels(own, size - 2 * context)
        reduced = image[None]
        for level in range(int(levels.max()) + 1 if len(own) else 0):
            if level:
                reduced = F.avg_pool2d(reduced, 2, ceil_mode=True, count_include_pad=False)
            which = (levels == level).nonzero().flatten()
            if len(which):
                crops[which] = _sampled(reduced, own[which] / 2**level, size, context)
        found.append(crops)
    return torch.cat(found)


def _levels(boxes: Tensor, side: float) -> Tensor:
    """(R, 4) -> (R,) how often to halve the picture, rounded down, by the side that shrinks less."""
    shrunk = (boxes[:, 2:] - boxes[:, :2]).amin(1) / side
    return shrunk.clamp_min(1).log2().floor().clamp(max=LEVELS).long()


def _sampled(image: Tensor, boxes: Tensor, size: int, context: float) -> Tensor:
    """(1, C, H, W) and (R, 4) in its pixels -> (R, C, size, size), by bilinear interpolation."""
    steps = torch.arange(size, device=boxes.device, dtype=boxes.dtype) + 0.5
    shares = (steps - context) / (size - 2 * context)  # 0 and 1 at the edges of the box
    sides = boxes[:, 2:] - boxes[:, :2]
    xs, ys = (boxes[:, axis, None] + shares * sides[:, axis, None] for axis in (0, 1))  # (R, size) each
    height, width = image.shape[-2:]
    grid = torch.stack(
        [
            (2 * xs / width - 1)[:, None, :].expand(-1, size, -1),
            (2 * ys / height - 1)[:, :, None].expand(-1, -1, size),
        ],
        -1,
    )  # (R, size, size, 2)
    # All crops as one tall picture, so that the input picture is not repeated for each crop.
    tall = F.grid_sample(image, grid.flatten(0, 1)[None].to(image.dtype), align_corners=False)
    return tall.view(image.shape[1], len(boxes), size, size).transpose(0, 1)
