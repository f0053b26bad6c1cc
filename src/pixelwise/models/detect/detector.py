"""The base class of networks that find all objects of a picture, and the form of their output."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

SMALLEST = 1e-3
"""A box whose width or height in pixels is below this does not count as a box."""


class Detections(NamedTuple):
    """The objects that a detector finds in one picture, the most confident first.

    Attributes:
        boxes: (M, 4) float32 xyxy in pixels of the picture, within it.
        classes: (M,) int64 class ids, never 0, the background.
        scores: (M,) float32 confidences, 0..1.
        masks: (M, S, S) float32 probability that a position of the mask is on the object; None if there are only boxes.
        windows: (M, 4) float32 xyxy in pixels, the window that each mask covers; None if it covers the box.
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
    """The limits that decide which boxes become detections.

    Attributes:
        score: boxes with a confidence up to this value are left out.
        overlap: two boxes of one class with a larger IoU count as the same object.
        objects: largest number of objects per picture.
        area: number of pixels of a crop in training, for which the numbers of objects and proposals are meant. A larger
            picture has proportionally more of both. None to use the same numbers for pictures of any size.
    """

    score: float = 0.05
    overlap: float = 0.5
    objects: int = 100
    area: int | None = None

    def growth(self, picture: tuple[int, int]) -> float:
        """The area of a picture, given by height and width, divided by `area`; at least 1."""
        return 1.0 if self.area is None else max(picture[0] * picture[1] / self.area, 1.0)

    def of(self, picture: tuple[int, int]) -> DetectionLimits:
        """The limits for a picture of the given height and width."""
        return self._replace(objects=math.ceil(self.objects * self.growth(picture)))


class DetectionSource(NamedTuple):
    """Where the class of a detection comes from.

    Attributes:
        region: (4,) xyxy in pixels: the proposal or the cell that the detection comes from.
        layer: name of the module whose map was read.
        covered: (4,) xyxy in pixels: the part of the picture that this map covers.
        scores: function from pictures (N, C, H, W) to the region's values (N, K) for each class id: logits, or
            probabilities for YOLO.
    """

    region: Tensor
    layer: str
    covered: Tensor
    scores: Callable[[Tensor], Tensor]


class Detector(nn.Module):
    """Base class of detectors: `forward` takes pictures (N, C, H, W) and returns `Detections` for each.

    `losses(images, targets)` takes `ObjectTargets`, the objects of each picture, and returns the terms of the loss.

    Attributes:
        outlines: whether detections have masks.
        stride: tiles of large pictures begin at multiples of this number of pixels.
        limits: see `DetectionLimits`.
    """

    outlines: bool = False
    stride: int

    def __init__(self, detections: int) -> None:
        super().__init__()
        self.limits = DetectionLimits(objects=detections)

    def maps(self, images: Tensor) -> Any:
        """The feature maps of pictures (N, C, H, W), from which all objects are predicted."""
        raise NotImplementedError

    def sources(self, images: Tensor, found: Detections) -> Sequence[DetectionSource]:
        """The source of each object found in a picture (1, C, H, W)."""
        raise NotImplementedError


def usable(boxes: Tensor) -> Tensor:
    """Indices of the boxes (M, 4) with an area; NaN, the padding of `ObjectTargets`, has none."""
    return ((boxes[:, 2:] - boxes[:, :2]) > SMALLEST).all(1).nonzero().flatten()
