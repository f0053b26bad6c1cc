"""Occlusion: how much a score drops when a part of the picture is hidden (Zeiler & Fergus, ECCV 2014, section 4.2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pixelwise.explain.activations import frozen
from pixelwise.tasks.insight import Score, Window


def occlusion(
    network: nn.Module,
    images: Tensor,
    score: Score,
    *,
    side: int = 32,
    stride: int = 8,
    fill: float = 0.0,
    batch: int = 4,
    window: Window | None = None,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """For each pixel, the mean drop of the score over all grey squares that hide the pixel.

    Squares lie on a grid of `stride` that begins outside the window, so that a pixel in a corner is hidden as often as
    a pixel in the middle (exactly as often if `stride` divides `side`).

    Args:
        images: (1, C, H, W).
        score: score of the network's output; for a dense network, a score with a fixed `region`.
        side, stride: side of the squares, and distance between them, in pixels.
        fill: value inside a square; 0 is the mean colour of the pictures that the network was trained on.
        batch: number of squares that are predicted together.
        window: the part of the picture in which squares are placed; None for the whole picture.
        progress: is called with the share of the work that is done, 0 to 1.

    Returns:
        (H, W); negative where hiding a pixel raises the score, 0 where no square was placed.
    """
    height, width = images.shape[-2:]
    window = window or Window(0, 0, height, width)
    corners = [
        (top, left)
        for top in range(window.top + stride - side, window.bottom, stride)
        for left in range(window.left + stride - side, window.right, stride)
    ]
    drops, hidden = images.new_zeros(height, width), images.new_zeros(height, width)
    with frozen(network), torch.no_grad():
        whole = score(network(images))
        for start in range(0, len(corners), batch):
            windows = [
                (
                    slice(max(top, window.top), min(top + side, window.bottom)),
                    slice(max(left, window.left), min(left + side, window.right)),
                )
                for top, left in corners[start : start + batch]
            ]
            occluded = images.repeat(len(windows), 1, 1, 1)
            for image, (rows, columns) in zip(occluded, windows, strict=True):
                image[:, rows, columns] = fill
            for drop, (rows, columns) in zip(whole - score(network(occluded)), windows, strict=True):
                drops[rows, columns] += drop
                hidden[rows, columns] += 1
            if progress is not None:
                progress(min(start + batch, len(corners)) / len(corners))
    return drops / hidden.clamp_min(1)
