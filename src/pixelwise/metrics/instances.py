"""How well predicted objects match true ones, given as label maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
DENSE = 1 << 22  # cells up to which a table of all pairs of objects is counted at once


class Overlaps(NamedTuple):
    """The pairs of a true and a predicted object that share pixels.

    Attributes:
        true, predicted: (M,) the objects' numbers, from 0, in rising order of their ids.
        shared: (M,) pixels that both hold.
        true_areas: (T,) pixels of each true object.
        predicted_areas: (P,) pixels of each predicted object.
    """

    true: np.ndarray
    predicted: np.ndarray
    shared: np.ndarray
    true_areas: np.ndarray
    predicted_areas: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        """(M,) float64 intersection over union of each pair."""
        return self.shared / (self.true_areas[self.true] + self.predicted_areas[self.predicted] - self.shared)


def overlaps(predicted: np.ndarray, true: np.ndarray) -> Overlaps:
    """Counts the shared pixels of two label maps.

    Args:
        predicted, true: (H, W) non-negative integers, 0 = no object; ids may have gaps.

    Raises:
        ValueError: sizes that differ, or negative ids.
    """
    if predicted.shape != true.shape:
        raise ValueError(f"predicted label map is {predicted.shape} but the true one is {true.shape}")
    columns, predicted_areas = _renumber(predicted)
    rows, true_areas = _renumber(true)
    inside = (rows > 0) & (columns > 0)
    pairs = (rows[inside] - 1) * len(predicted_areas) + columns[inside] - 1
    if len(true_areas) * len(predicted_areas) <= DENSE:
        table = np.bincount(pairs)
        which = np.flatnonzero(table)
        shared = table[which]
    else:
        which, shared = np.unique(pairs, return_counts=True)
    matched, partner = np.divmod(which, max(len(predicted_areas), 1))
    return Overlaps(matched, partner, shared, true_areas, predicted_areas)


def _renumber(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ids as 1..N without gaps (int64, flat), and (N,) their areas."""
    flat = ids.ravel().astype(np.int64)
    if flat.min(initial=0) < 0:
        raise ValueError(f"object ids start at 0, found {flat.min()}")
    if flat.max(initial=0) <= flat.size:
        counts = np.bincount(flat, minlength=1)
        counts[0] = 0
        table = np.cumsum(counts > 0) * (counts > 0)
        return table[flat], counts[counts > 0]
    _, numbers, counts = np.unique(np.append(flat, 0), return_inverse=True, return_counts=True)
    return numbers[:-1], counts[1:]


class InstanceScore:
    """Accumulates, picture by picture, how predicted objects match true ones.

    A predicted object is a hit (true positive) at threshold t if its IoU with a true object is greater than t; above
    one half no object can have two such partners, so no assignment needs solving. Unmatched predictions are false
    positives, unmatched true objects false negatives. A picture without objects in truth and prediction scores 1.
    """

    def __init__(self, thresholds: Sequence[float] = THRESHOLDS) -> None:
        """Args:
            thresholds: of IoU, in 0.5..1.

        Raises:
            ValueError: none, or out of range.
        """
        if not thresholds or not all(0.5 <= threshold < 1 for threshold in thresholds):
            raise ValueError(f"IoU thresholds lie in 0.5 <= t < 1, found {tuple(thresholds)}")
        self.thresholds = tuple(thresholds)
        self.true_positives = np.zeros(len(self.thresholds), np.int64)
        self.true_objects = 0
        self.predicted_objects = 0
        self._scores: list[float] = []
        self._jaccards: list[float] = []

    @property
    def pictures(self) -> int:
        return len(self._scores)

    @property
    def false_positives(self) -> np.ndarray:
        """(thresholds,) int64."""
        return self.predicted_objects - self.true_positives

    @property
    def false_negatives(self) -> np.ndarray:
        """(thresholds,) int64."""
        return self.true_objects - self.true_positives

    def update(
        self, predicted: np.ndarray, true: np.ndarray, classes: tuple[np.ndarray, np.ndarray] | None = None
    ) -> None:
        """Adds one picture.

        Args:
            predicted, true: (H, W) label maps, 0 = no object.
            classes: of the predicted and of the true objects, in rising order of their ids; objects of different
                classes do not match. None for all of one class.

        Raises:
            ValueError: sizes that differ, negative ids, or classes of another number than the objects.
        """
        found = overlaps(predicted, true)
        if classes is not None:
            found = _of_one_class(found, *classes)
        hits = (found.iou[:, None] > np.array(self.thresholds)).sum(0)
        objects = len(found.true_areas) + len(found.predicted_areas)
        self.true_positives += hits
        self.true_objects += len(found.true_areas)
        self.predicted_objects += len(found.predicted_areas)
        self._scores.append(math.fsum(hits / (objects - hits)) / len(hits) if objects else 1.0)
        self._jaccards.append(_aggregated_jaccard(found))

    def f1(self, threshold: float = 0.5) -> float:
        """2 TP / (2 TP + FP + FN), counted over the objects of all pictures; NaN if there are none.

        Raises:
            ValueError: not one of the thresholds that were counted.
        """
        if threshold not in self.thresholds:
            raise ValueError(f"threshold {threshold} was not counted; counted: {self.thresholds}")
        objects = self.true_objects + self.predicted_objects
        return float(2 * self.true_positives[self.thresholds.index(threshold)] / objects) if objects else math.nan

    def dsb_score(self) -> float:
        """The score of the 2018 Data Science Bowl: TP / (TP + FP + FN), mean over thresholds, then over pictures."""
        return _mean(self._scores)

    def aggregated_jaccard(self) -> float:
        """AJI (Kumar et al. 2017, algorithm 1), mean over pictures.

        Every true object takes the predicted one of largest IoU; the sum of their intersections is divided by the sum
        of their unions plus the areas of the predicted objects that nothing took.
        """
        return _mean(self._jaccards)

    def merge(self, other: InstanceScore) -> None:
        """Adds the pictures that another has counted.

        Raises:
            ValueError: other thresholds.
        """
        if self.thresholds != other.thresholds:
            raise ValueError(f"scores at {self.thresholds} and {other.thresholds} cannot be added")
        self.true_positives += other.true_positives
        self.true_objects += other.true_objects
        self.predicted_objects += other.predicted_objects
        self._scores += other._scores
        self._jaccards += other._jaccards

    def scores(self) -> dict[str, float | None]:
        """F1 at the first threshold, the score of DSB 2018 and AJI by name; None for what is undefined."""
        first = self.thresholds[0]
        values = {
            f"f1_{round(first * 100)}": self.f1(first),
            "dsb_score": self.dsb_score(),
            "aggregated_jaccard": self.aggregated_jaccard(),
        }
        return {name: None if math.isnan(value) else value for name, value in values.items()}

    def summary(self) -> dict[str, Any]:
        """Everything as plain JSON values; what is undefined is None."""
        first = self.thresholds[0]
        return {
            **self.scores(),
            "pictures": self.pictures,
            "true_objects": self.true_objects,
            "predicted_objects": self.predicted_objects,
            "definition": f"objects match where IoU > t; F1 at t = {first} over all objects; DSB 2018 score: "
            f"TP / (TP + FP + FN), mean over t = {', '.join(f'{t:g}' for t in self.thresholds)}, then over pictures; "
            "aggregated Jaccard index: mean over pictures",
        }


def _of_one_class(found: Overlaps, predicted_classes: np.ndarray, true_classes: np.ndarray) -> Overlaps:
    """Without the pairs whose classes differ."""
    counted = len(found.predicted_areas), len(found.true_areas)
    if counted != (len(predicted_classes), len(true_classes)):
        raise ValueError(
            f"{counted} objects predicted and true, but classes of {len(predicted_classes), len(true_classes)}"
        )
    alike = predicted_classes[found.predicted] == true_classes[found.true]
    return found._replace(true=found.true[alike], predicted=found.predicted[alike], shared=found.shared[alike])


def _aggregated_jaccard(found: Overlaps) -> float:
    if not len(found.true_areas) and not len(found.predicted_areas):
        return 1.0
    # By true object, best IoU last; of equal ones the first predicted object wins, as in a search from the left.
    order = np.lexsort((-found.predicted, found.iou, found.true))
    last = np.flatnonzero(np.diff(found.true[order], append=-1))
    best = order[last]
    taken = np.zeros(len(found.predicted_areas), bool)
    taken[found.predicted[best]] = True
    # A true object that overlaps nothing adds its own area to the union, and nothing to the intersection.
    intersection = found.shared[best].sum()
    union = found.true_areas.sum() + found.predicted_areas[found.predicted[best]].sum() - intersection
    return float(intersection / (union + found.predicted_areas[~taken].sum()))


def _mean(values: list[float]) -> float:
    """Exactly rounded, so that the order of the pictures does not matter; NaN of nothing."""
    return math.fsum(values) / len(values) if values else math.nan
