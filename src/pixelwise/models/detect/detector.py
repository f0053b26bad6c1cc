"""What every network that finds all objects of a picture has in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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

    def select(self, which: Tensor) -> Detections:
        """The objects at these indices (K,), in this order."""
        boxes, classes, scores = (part[which] for part in self[:3])
        masks, windows = (None if part is None else part[which] for part in self[3:])
        return Detections(boxes, classes, scores, masks, windows)


class DetectionLimits(NamedTuple):
    """What counts as a detection.

    Attributes:
        score: scores up to it are left out.
        overlap: boxes of one class with a larger IoU are one object.
        objects: the most of a picture.
        area: pixels of the pictures that the numbers of objects and proposals are meant for, those of a crop in
            training: of a larger picture there are as many times more. None for pictures of any size.
    """

    score: float = 0.05
    overlap: float = 0.5
    objects: int = 100
    area: int | None = None

    def growth(self, picture: tuple[int, int]) -> float:
        """How many times as large as `area` a picture of that height and width is, at least 1."""
        return 1.0 if self.area is None else max(picture[0] * picture[1] / self.area, 1.0)

    def of(self, picture: tuple[int, int]) -> DetectionLimits:
        """What counts in a picture of that height and width."""
        return self._replace(objects=math.ceil(self.objects * self.growth(picture)))


class Source(NamedTuple):
    """What the class of a detection was decided from.

    Attributes:
        region: (4,) xyxy in pixels: the proposal, or the cell, that the detection comes from.
        layer: name of the module whose map was read.
        covered: (4,) xyxy in pixels, what that map covers of the picture.
        scores: pictures (N, C, H, W) -> (N, K), what the region has for each class id: logits, or YOLO's probabilities.
    """

    region: Tensor
    layer: str
    covered: Tensor
    scores: Callable[[Tensor], Tensor]


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

    def maps(self, images: Tensor) -> Any:
        """What the layers make of pictures (N, C, H, W), before anything is decided about an object."""
        raise NotImplementedError

    def sources(self, images: Tensor, found: Detections) -> Sequence[Source]:
        """What each of the objects found in a picture (1, C, H, W) was found from."""
        raise NotImplementedError


def usable(boxes: Tensor) -> Tensor:
    """(M, 4) -> indices of those with an area; NaN, the padding of `ObjectTargets`, has none."""
    return ((boxes[:, 2:] - boxes[:, :2]) > SMALLEST).all(1).nonzero().flatten()
