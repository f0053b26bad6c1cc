"""How well predicted class boundaries match the true ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from pixelwise.data.sample import VOID
from pixelwise.metrics.json_values import or_none

DIAGONAL_SHARE = 0.0075
"""Tolerance of Csurka et al., as a share of the picture's diagonal."""


def boundaries(mask: np.ndarray) -> np.ndarray:
    """Pixels with a neighbour of another class above, below, left or right; void is not a class and has no boundary.

    Args:
        mask: (H, W) class ids, 255 = void.

    Returns:
        (H, W) bool. Both sides of an edge between two classes are True; the picture's border is not an edge.
    """
    found = np.zeros(mask.shape, bool)
    known = mask != VOID
    for one, other in (((slice(1, None),), (slice(None, -1),)), ((..., slice(1, None)), (..., slice(None, -1)))):
        edge = (mask[one] != mask[other]) & known[one] & known[other]
        found[one] |= edge
        found[other] |= edge
    return found


class BoundaryScore:
    """Counts, for each class, the boundary pixels that have a boundary pixel of that class near them in the other mask.

    The boundary F-score is F = 2 precision recall / (precision + recall). Precision is the share of predicted boundary
    pixels that lie within the tolerance of a true boundary pixel. Recall is the share of true boundary pixels that lie
    within the tolerance of a predicted one.

    Csurka et al., What is a good evaluation measure for semantic segmentation?, BMVC 2013, section 2.2. The tolerance,
    0.75 % of the diagonal, and the Euclidean distance are theirs; pixels are counted over all pictures together instead
    of averaging over pictures, as for every score here. (Perazzi et al., CVPR 2016, dilate by the tolerance instead,
    which differs only in the shape of the disc.) A boundary pixel of a class is a pixel of `boundaries` with its id.
    Pixels that are void in the truth are set to void in the prediction too, so edges to void count on neither side.

    Attributes:
        class_names: by class id.
        tolerance: in pixels, or None for `DIAGONAL_SHARE` of each picture's diagonal.
        near_predicted, predicted, near_true, true: (K,) int64 counts of pixels.
    """

    def __init__(self, class_names: Sequence[str], tolerance: float | None = None) -> None:
        """Args:
            tolerance: in pixels, at least 0; None for `DIAGONAL_SHARE` of each picture's diagonal.

        Raises:
            ValueError: a negative tolerance, no classes, or more than 255 of them.
        """
        if not 1 <= len(class_names) <= VOID:
            raise ValueError(f"{len(class_names)} classes, 1 to 255 expected (255 is void)")
        if tolerance is not None and not tolerance >= 0:
            raise ValueError(f"a tolerance of {tolerance} pixels, at least 0 expected")
        self.class_names = tuple(class_names)
        self.tolerance = tolerance
        self.near_predicted, self.predicted, self.near_true, self.true = (
            np.zeros(len(self.class_names), np.int64) for _ in range(4)
        )

    def update(self, prediction: np.ndarray, target: np.ndarray) -> None:
        """Adds one picture.

        Args:
            prediction, target: (H, W) uint8 class ids; the target may hold void (255).

        Raises:
            ValueError: the sizes differ.
        """
        if prediction.shape != target.shape:
            raise ValueError(f"prediction is {prediction.shape} but target is {target.shape}")
        tolerance = self.tolerance if self.tolerance is not None else DIAGONAL_SHARE * math.hypot(*target.shape)
        prediction = np.where(target == VOID, np.uint8(VOID), prediction)
        found, wanted = np.flatnonzero(boundaries(prediction)), np.flatnonzero(boundaries(target))
        found_ids, wanted_ids = prediction.ravel()[found], target.ravel()[wanted]
        classes = len(self.class_names)
        found_counts, wanted_counts = (np.bincount(ids, minlength=classes) for ids in (found_ids, wanted_ids))
        self.predicted += found_counts
        self.true += wanted_counts
        width = target.shape[1]
        for class_id in np.flatnonzero((found_counts > 0) & (wanted_counts > 0)):
            of_found = np.divmod(found[found_ids == class_id], width)
            of_wanted = np.divmod(wanted[wanted_ids == class_id], width)
            self.near_predicted[class_id] += _near(of_found, of_wanted, tolerance)
            self.near_true[class_id] += _near(of_wanted, of_found, tolerance)

    def merge(self, other: BoundaryScore) -> None:
        """Adds the pictures that another accumulator has counted.

        Raises:
            ValueError: the classes or tolerances differ.
        """
        if (self.class_names, self.tolerance) != (other.class_names, other.tolerance):
            raise ValueError("boundary scores of different classes or tolerances cannot be added")
        self.near_predicted += other.near_predicted
        self.predicted += other.predicted
        self.near_true += other.near_true
        self.true += other.true

    def precision(self) -> np.ndarray:
        """(K,) float64, NaN where no boundary was predicted."""
        return _share(self.near_predicted, self.predicted)

    def recall(self) -> np.ndarray:
        """(K,) float64, NaN where there is no true boundary."""
        return _share(self.near_true, self.true)

    def f(self) -> np.ndarray:
        """(K,) float64; 0 for a class with a boundary in truth or prediction only, NaN for a class with neither."""
        precision, recall = np.nan_to_num(self.precision()), np.nan_to_num(self.recall())
        scores = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
        return np.where(self.predicted + self.true > 0, scores, np.nan)

    def mean_f(self) -> float:
        """The mean of `f` over the classes for which it is defined; NaN if there are none."""
        scores = self.f()
        return float(np.nanmean(scores)) if (~np.isnan(scores)).any() else float("nan")

    def summary(self, split: str | None = None) -> dict[str, Any]:
        """All scores as plain JSON values; undefined scores are None.

        Args:
            split: name of the pictures' split (`val`), for the definition.
        """
        counted = int((~np.isnan(self.f())).sum())
        if self.tolerance is None:
            within = f"{100 * DIAGONAL_SHARE:g} % of the picture's diagonal"
        else:
            within = f"{self.tolerance:g} pixels"
        return {
            "mean_f": or_none(self.mean_f()),
            "f": self._by_name(self.f()),
            "precision": self._by_name(self.precision()),
            "recall": self._by_name(self.recall()),
            "definition": f"boundary F-score (Csurka et al. 2013), tolerance {within}, mean over {counted} of "
            f"{len(self.class_names)} classes, dataset-level (pixels of all pictures"
            f"{f' of the {split} split' if split else ''} counted together), void excluded",
        }

    def _by_name(self, scores: np.ndarray) -> dict[str, float | None]:
        return {name: or_none(score) for name, score in zip(self.class_names, scores.tolist(), strict=True)}


def _near(these: tuple[np.ndarray, np.ndarray], others: tuple[np.ndarray, np.ndarray], tolerance: float) -> int:
    """How many of these pixels (rows, columns) have one of the others within the tolerance."""
    # Only the rectangle around these pixels matters, widened by the tolerance.
    reach = math.floor(tolerance) + 1
    top, left = these[0].min() - reach, these[1].min() - reach
    height, width = these[0].max() + reach + 1 - top, these[1].max() + reach + 1 - left
    rows, columns = others[0] - top, others[1] - left
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    if not inside.any():
        return 0
    elsewhere = np.ones((height, width), np.uint8)
    elsewhere[rows[inside], columns[inside]] = 0
    distance = cv2.distanceTransform(elsewhere, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Distances are square roots of integers, so the slack admits no further pixel.
    return int((distance[these[0] - top, these[1] - left] <= tolerance + 1e-4).sum())


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
