"""Average precision as the PASCAL VOC challenge defines it (Everingham et al., IJCV 2010, section 4.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from pixelwise.errors import unknown
from pixelwise.metrics.ignored import Ignored

KINDS = ("area", "11-point")


def voc_average_precision(
    correct: Sequence[bool] | np.ndarray, positives: int, kind: Literal["area", "11-point"] = "area"
) -> float:
    """Average precision of one class.

    The precision at a recall is the largest precision at this recall or a higher one. `area` is the area below that
    curve (VOC 2010 and later). `11-point` is the mean of the curve at the recalls 0, 0.1, ... 1 (VOC 2007); recalls are
    compared in binary floats, as in the challenge's own program, so a recall of 3/10 does not reach its 0.3.

    Args:
        correct: whether each detection is right, in descending order of confidence.
        positives: number of true objects of the class.

    Raises:
        UserError: an unknown kind.

    >>> voc_average_precision([True, True, False, True], positives=4)
    0.6875
    """
    if kind not in KINDS:
        raise unknown("kind of average precision", kind, KINDS)
    if not positives:
        return math.nan
    right = np.cumsum(np.asarray(correct, bool))
    recall = right / positives
    precision = right / np.arange(1, len(right) + 1)
    # Accumulated from the right: each entry is the largest precision at its recall or a higher one.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if kind == "area":
        steps = np.diff(recall, prepend=0.0)
        return float((steps * envelope).sum())
    reached = [envelope[recall >= level] for level in np.arange(0.0, 1.1, 0.1)]
    return float(sum(part[0] if len(part) else 0.0 for part in reached) / 11)


@dataclass
class VocScore:
    """Collects detections picture by picture and scores them as the challenge does.

    Detections are taken in descending order of confidence. Each one is assigned to the object of its class in its
    picture that it overlaps most. It is right if their IoU is above the threshold and no more confident detection was
    assigned to the object. Box coordinates are continuous; for boxes of whole pixels this equals the challenge's pixel
    count.

    Attributes:
        classes: ids of the classes that are scored.
        threshold: IoU above which a detection is right.
    """

    classes: Sequence[int]
    threshold: float = 0.5
    positives: dict[int, int] = field(default_factory=dict)
    _found: dict[int, list[tuple[float, bool]]] = field(default_factory=dict)

    def update(
        self,
        overlaps: np.ndarray,
        classes: np.ndarray,
        confidences: np.ndarray,
        true_classes: np.ndarray,
        ignored: Ignored | None = None,
    ) -> None:
        """Adds one picture.

        Args:
            overlaps: (M, N) IoU of the M detections with the N objects.
            classes, confidences: (M,) of the detections.
            true_classes: (N,).
            ignored: how far the detections overlap difficult objects and crowds. A detection that overlaps a difficult
                object more than any other object is left out, and so is a detection on a crowd, unless it is right.
        """
        ignored = ignored or Ignored.none(len(classes))
        difficult = ignored.overlaps * ((ignored.classes[None] == classes[:, None]) & ~ignored.crowd)
        hardest = difficult.max(1, initial=0.0)
        in_crowd = (ignored.overlaps * ((ignored.classes[None] == classes[:, None]) & ignored.crowd)).max(
            1, initial=0.0
        )
        for class_id in self.classes:
            own, true = np.flatnonzero(classes == class_id), np.flatnonzero(true_classes == class_id)
            self.positives[class_id] = self.positives.get(class_id, 0) + len(true)
            found = self._found.setdefault(class_id, [])
            taken: set[int] = set()
            for number in own[np.argsort(-confidences[own], kind="stable")]:
                nearest = int(true[overlaps[number, true].argmax()]) if len(true) else -1
                best = overlaps[number, nearest] if nearest >= 0 else 0.0
                if hardest[number] > max(best, self.threshold):
                    continue
                right = best > self.threshold and nearest not in taken
                if right:
                    taken.add(nearest)
                elif in_crowd[number] > self.threshold:
                    continue
                found.append((float(confidences[number]), bool(right)))

    def merge(self, other: VocScore) -> None:
        """Adds the pictures that another accumulator has counted."""
        for class_id in self.classes:
            self.positives[class_id] = self.positives.get(class_id, 0) + other.positives.get(class_id, 0)
            self._found.setdefault(class_id, []).extend(other._found.get(class_id, []))

    def by_class(self, kind: Literal["area", "11-point"] = "area") -> dict[int, float]:
        """Average precision of each class that has an object."""
        values = {}
        for class_id in self.classes:
            ranked = sorted(self._found.get(class_id, []), key=lambda pair: -pair[0])
            if self.positives.get(class_id, 0):
                correct = [right for _, right in ranked]
                values[class_id] = voc_average_precision(correct, self.positives[class_id], kind)
        return values

    def curve(self, class_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Recall (M,) and precision (M,) of a class, counting its detections down to each confidence."""
        ranked = sorted(self._found.get(class_id, []), key=lambda pair: -pair[0])
        right = np.cumsum([right for _, right in ranked])
        recall = right / max(self.positives.get(class_id, 0), 1)
        return recall, right / np.arange(1, len(right) + 1)

    def recommended(self) -> dict[str, float] | None:
        """The least confidence that gives the highest F1 over all classes, and the scores at it.

        Returns:
            `confidence`, `f1`, `precision` and `recall`; None without objects or detections.
        """
        ranked = sorted((pair for found in self._found.values() for pair in found), key=lambda pair: -pair[0])
        objects = sum(self.positives.values())
        if not ranked or not objects:
            return None
        right = np.cumsum([right for _, right in ranked])
        numbers = np.arange(1, len(ranked) + 1)
        scores = np.array([score for score, _ in ranked])
        f1 = 2 * right / (numbers + objects)
        # A threshold keeps all detections of equal confidence or none: only the last of them is a possible cut.
        f1[:-1][scores[:-1] == scores[1:]] = -1
        best = int(f1.argmax())
        confidence = math.floor(1000 * scores[best]) / 1000 if scores[best] >= 0.001 else float(scores[best])
        return {
            "confidence": confidence,
            "f1": float(f1[best]),
            "precision": float(right[best] / numbers[best]),
            "recall": float(right[best] / objects),
        }

    def mean(self, kind: Literal["area", "11-point"] = "area") -> float:
        """The mean over the classes that have an object; NaN if none has."""
        values = list(self.by_class(kind).values())
        return float(np.mean(values)) if values else math.nan
