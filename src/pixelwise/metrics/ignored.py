"""Ignored objects: difficult objects and crowds, which are neither right nor wrong to find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Ignored:
    """How far the detections of a picture overlap its ignored objects.

    A detection on an ignored object of its class is not counted, unless it is right. PASCAL VOC treats difficult
    objects like this, and COCO crowds (Everingham et al., IJCV 2010, section 4.2; cocodataset.org, "Detection
    evaluation").

    Attributes:
        overlaps: (M, I) IoU of the M detections with difficult objects; with crowds, the share of the detection's area
            on the crowd.
        classes: (I,) class ids.
        crowd: (I,) bool.
    """

    overlaps: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray

    @classmethod
    def none(cls, detections: int) -> Ignored:
        """The overlaps for a picture without ignored objects."""
        return cls(np.zeros((detections, 0)), np.zeros(0, np.int64), np.zeros(0, bool))

    def on(self, classes: np.ndarray, threshold: float) -> np.ndarray:
        """(M,) bool: which detections, with these classes (M,), overlap an ignored object of their class enough."""
        of_class = self.classes[None] == classes[:, None]
        return (self.overlaps * of_class).max(1, initial=0.0) >= threshold

    def select(self, which: np.ndarray) -> Ignored:
        """The overlaps of the detections at these indices."""
        return Ignored(self.overlaps[which], self.classes, self.crowd)
