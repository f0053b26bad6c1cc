"""What every network that finds all objects of a picture has in common."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

SMALLEST = 1e-3
"""Pixels: boxes narrower or lower than this are no boxes."""


class Detections(NamedTuple):
    """The objects that a detector finds in one picture, the most confident first.

    Attributes:
        boxes: (M, 4) float32 xyxy in pixels of the picture, within it.
        classes: (M,) int64 class ids, never 0, the background.
        scores: (M,) float32, 0..1.
        masks: (M, S, S) float32 probability that a place of the mask's window is on the object; None for boxes alone.
        windows: (M, 4) float32 xyxy in pixels, what each mask covers; None where it covers the box.
    """

    boxes: Tensor
    classes: Tensor
    scores: Tensor
    masks: Tensor | None = None
    windows: Tensor | None = None


class DetectionLimits(NamedTuple):
    """What counts as a detection.

    Attributes:
        score: scores up to it are left out.
        overlap: boxes of one class with a larger IoU are one object.
        objects: the most of a picture.
    """

    score: float = 0.05
    overlap: float = 0.5
    objects: int = 100


class Detector(nn.Module):
    """Base class: `forward` takes pictures (N, C, H, W) and gives `Detections` for each.

    `losses(images, targets)` takes `ObjectTargets`, the objects of each picture, and gives the terms of the loss.

    Attributes:
        outlines: whether detections have masks.
        stride: tiles of large pictures begin at multiples of it.
        limits: see `DetectionLimits`.
    """

    outlines: bool = False
    stride: int

    def __init__(self, detections: int) -> None:
        super().__init__()
        self.limits = DetectionLimits(objects=detections)


def usable(boxes: Tensor) -> Tensor:
    """(M, 4) -> indices of those with an area; NaN, the padding of `ObjectTargets`, has none."""
    return ((boxes[:, 2:] - boxes[:, :2]) > SMALLEST).all(1).nonzero().flatten()
