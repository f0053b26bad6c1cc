"""How well predicted objects match true objects, both given as label maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
DENSE = 1 << 22  # up to this many pairs of objects, the counts of all pairs are held in one table


class Overlaps(NamedTuple):
    """The pairs of a true and a predicted object that share pixels.

    Attributes:
        true, predicted: (M,) indices of the two objects, counted from 0 in ascending order of their ids.
        shared: (M,) number of pixels that both objects cover.
        true_areas: (T,) number of pixels of each true object.
        predicted_areas: (P,) number of pixels of each predicted object.
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
        ValueError: the sizes differ, or an id is negative.
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
    """The ids renumbered 1..N without gaps (int64, flat), and the areas (N,) of their objects."""
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
    """Accumulates, picture by picture, how well predicted objects match true objects.

    A predicted object is a true positive at threshold t if its IoU with a true object is greater than t. For t of one
    half or more no object can have two such partners, so there is no assignment problem to solve. Unmatched predicted
    objects are false positives, unmatched true objects are false negatives. A picture without true and predicted
    objects scores 1.
    """

    def __init__(self, thresholds: Sequence[float] = THRESHOLDS) -> None:
        """Args:
            thresholds: IoU thresholds, in 0.5..1.

        Raises:
            ValueError: there are no thresholds, or one is out of range.
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
            classes: class ids of the predicted and of the true objects, in ascending order of their object ids; objects
                of different classes do not match. None if all objects have the same class.

        Raises:
            ValueError: the sizes differ, an id is negative, or there are not as many classes as objects.
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
        """F1, 2 TP / (2 TP + FP + FN), counted over the objects of all pictures; NaN if there are none.

        Raises:
            ValueError: the threshold is not one of those that were counted.
        """
        if threshold not in self.thresholds:
            raise ValueError(f"threshold {threshold} was not counted; counted: {self.thresholds}")
        objects = self.true_objects + self.predicted_objects
        return float(2 * self.true_positives[self.thresholds.index(threshold)] / objects) if objects else math.nan

    def dsb_score(self) -> float:
        """Score of the 2018 Data Science Bowl: TP / (TP + FP + FN), averaged over thresholds, then over pictures."""
        return _mean(self._scores)

    def aggregated_jaccard(self) -> float:
        """Aggregated Jaccard index, AJI (Kumar et al. 2017, algorithm 1), averaged over pictures.

        Every true object is paired with the predicted object of largest IoU. The sum of the pairs' intersections is
        divided by the sum of their unions plus the areas of the predicted objects that are in no pair.
        """
        return _mean(self._jaccards)

    def merge(self, other: InstanceScore) -> None:
        """Adds the pictures that another accumulator has counted.

        Raises:
            ValueError: the thresholds differ.
        """
        if self.thresholds != other.thresholds:
            raise ValueError(f"scores at {self.thresholds} and {other.thresholds} cannot be added")
        self.true_positives += other.true_positives
        self.true_objects += other.true_objects
        self.predicted_objects += other.predicted_objects
        self._scores += other._scores
        self._jaccards += other._jaccards

    def scores(self) -> dict[str, float | None]:
        """F1 at the first threshold, the score of DSB 2018 and AJI by name; undefined scores are None."""
        first = self.thresholds[0]
        values = {
            f"f1_{round(first * 100)}": self.f1(first),
            "dsb_score": self.dsb_score(),
            "aggregated_jaccard": self.aggregated_jaccard(),
        }
        return {name: None if math.isnan(value) else value for name, value in values.items()}

    def summary(self) -> dict[str, Any]:
        """All scores as plain JSON values; undefined scores are None."""
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
    """The overlaps without the pairs whose classes differ."""
    counted = len(found.predicted_areas), len(found.true_areas)
    if counted != (len(predicted_classes), len(true_classes)):
        raise ValueError(
            f"{counted[0]} predicted and {counted[1]} true objects, but {len(predicted_classes)} and "
            f"{len(true_classes)} classes; one class per object expected"
        )
    alike = predicted_classes[found.predicted] == true_classes[found.true]
    return found._replace(true=found.true[alike], predicted=found.predicted[alike], shared=found.shared[alike])


def _aggregated_jaccard(found: Overlaps) -> float:
    if not len(found.true_areas) and not len(found.predicted_areas):
        return 1.0
    # Sorted by true object, then by IoU; among equal IoUs the first predicted object comes last and wins.
    order = np.lexsort((-found.predicted, found.iou, found.true))
    last = np.flatnonzero(np.diff(found.true[order], append=-1))
    best = order[last]
    taken = np.zeros(len(found.predicted_areas), bool)
    taken[found.predicted[best]] = True
    # A true object that overlaps no predicted object adds its area to the union and nothing to the intersection.
    intersection = found.shared[best].sum()
    union = found.true_areas.sum() + found.predicted_areas[found.predicted[best]].sum() - intersection
    return float(intersection / (union + found.predicted_areas[~taken].sum()))


def _mean(values: list[float]) -> float:
    """The mean, exactly rounded so that the order of the pictures does not matter; NaN without values."""
    return math.fsum(values) / len(values) if values else math.nan
