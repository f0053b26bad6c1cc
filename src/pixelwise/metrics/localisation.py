"""Localisation and detection: whether a picture's one object was classified and located, or all of its objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.sample import VOID
from pixelwise.metrics.calibration import UNIT
from pixelwise.metrics.ignored import Ignored

_COUNTS = ("_classes", "_right", "_boxes", "_overlap", "_both", "_found")


class LocalisationScore:
    """Counts pictures by whether the class is right and by how well the box of the true class fits.

    All scores are computed over all pictures, never averaged over batches. Source: the localisation task of ILSVRC
    (Russakovsky et al., IJCV 2015, section 4.2). A prediction counts if its class is right and the intersection over
    union of its box with the true box is at least 0.5. The error of the task is one minus the share of pictures with
    such a prediction. ILSVRC allows five predictions per picture, of which the best one counts.

    Attributes:
        threshold: least intersection over union of a box that counts as found.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold
        self._classes = self._right = 0  # pictures with a class, and those whose class was predicted
        self._boxes = self._overlap = 0  # pictures with a box, and the sum of their overlaps in units of 1 / UNIT
        self._both = self._found = 0  # pictures with class and box, and those where both are right

    def update(self, predicted: Tensor, target: Tensor, overlap: Tensor) -> None:
        """Adds pictures.

        Args:
            predicted: (N,) class ids, or (N, k) with k predictions per picture.
            target: (N,) true class ids; 255 if the class is not known.
            overlap: (N,) intersection over union of the box predicted for the true class with the true box, see
                `nn.boxes.iou`; NaN if a picture has no box, or no class to choose the predicted box by.

        Raises:
            ValueError: other shapes, or overlaps outside 0..1. The counts stay unchanged.
        """
        guesses = predicted.detach().cpu()
        guesses = guesses.unsqueeze(1) if guesses.dim() == 1 else guesses
        truth, overlaps = target.detach().cpu(), overlap.detach().cpu().double()
        if guesses.dim() != 2 or not len(guesses) == len(truth) == len(overlaps) or truth.dim() + overlaps.dim() != 2:
            raise ValueError(
                f"predicted is {tuple(predicted.shape)}, target {tuple(target.shape)} and overlap "
                f"{tuple(overlap.shape)}; (N,) or (N, k), (N,) and (N,) expected"
            )
        has_box = ~overlaps.isnan()
        fits = overlaps[has_box]
        if len(fits) and not (float(fits.min()) >= 0 and float(fits.max()) <= 1 + 1e-6):
            raise ValueError(f"overlaps lie in 0..1, found {float(fits.min()):g} to {float(fits.max()):g}")
        has_class = truth != VOID
        right = (guesses == truth.unsqueeze(1)).any(1) & has_class
        both = has_class & has_box
        self._classes += int(has_class.sum())
        self._right += int(right.sum())
        self._boxes += int(has_box.sum())
        self._overlap += int((fits * UNIT).round().sum())  # sums of integers do not depend on the order
        self._both += int(both.sum())
        self._found += int((right & both & (overlaps >= self.threshold)).sum())

    def merge(self, other: LocalisationScore) -> None:
        """Adds the pictures that another accumulator has counted.

        Raises:
            ValueError: the thresholds differ.
        """
        if self.threshold != other.threshold:
            raise ValueError(f"thresholds {self.threshold} and {other.threshold} cannot be added")
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def counts(self) -> Tensor:
        """(6,) float64, exact: all counts, which several processes sum and set again."""
        return torch.tensor([getattr(self, name) for name in _COUNTS], dtype=torch.float64)

    @counts.setter
    def counts(self, counts: Tensor) -> None:
        for name, count in zip(_COUNTS, counts.tolist(), strict=True):
            setattr(self, name, int(count))

    def accuracy(self) -> float:
        """The share of pictures whose class was predicted; NaN if no picture has a class."""
        return self._right / self._classes if self._classes else float("nan")

    def mean_iou(self) -> float:
        """Mean intersection over union of the box predicted for the true class; NaN if no picture has a box."""
        return self._overlap / UNIT / self._boxes if self._boxes else float("nan")

    def localised(self) -> float:
        """The share of pictures whose class was predicted and whose box was found; NaN if no picture has both."""
        return self._found / self._both if self._both else float("nan")

    def summary(self, split: str | None = None) -> dict[str, Any]:
        """All scores as plain JSON values; undefined scores are None.

        Args:
            split: name of the pictures' split (`val`), for the definition.
        """
        scores = {"accuracy": self.accuracy(), "box_iou": self.mean_iou(), "localised": self.localised()}
        return {
            **{name: None if score != score else score for name, score in scores.items()},
            "pictures": self._classes,
            "boxes": self._boxes,
            "definition": f"over {self._both} pictures{f' of the {split} split' if split else ''} with a class and a "
            f"box: localised is the share with the right class and an IoU of at least {self.threshold:g} (ILSVRC's "
            "localisation error is one minus that share); box_iou is the mean IoU of the box predicted for the true "
            "class",
        }


class DetectionScore:
    """Counts objects by whether a box of the right class was found for them, and boxes by whether they are right.

    In each picture the boxes are taken in descending order of confidence. Each box is matched to the object of its
    class that it overlaps most, among the objects that no more confident box has (Everingham et al., IJCV 2010, section
    4.4). Boxes below the least confidence do not count.

    Attributes:
        confidence: least confidence of a box that counts.
        threshold: least intersection over union of a box that counts as right.
    """

    def __init__(self, confidence: float, threshold: float = 0.5) -> None:
        self.confidence = confidence
        self.threshold = threshold
        self.objects = self.boxes = self.right = 0

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
            overlaps: (M, N) intersection over union of the M boxes with the N objects.
            classes, confidences: (M,) of the boxes.
            true_classes: (N,).
            ignored: how far the boxes overlap difficult objects and crowds; a box on one of them counts only if it is
                right.

        Raises:
            ValueError: the shapes do not match.
        """
        if overlaps.shape != (len(classes), len(true_classes)) or len(confidences) != len(classes):
            raise ValueError(
                f"overlaps are {overlaps.shape} for {len(classes)} classes and {len(confidences)} confidences of boxes "
                f"and {len(true_classes)} objects"
            )
        left = (ignored or Ignored.none(len(classes))).on(classes, self.threshold)
        fits = np.where(classes[:, None] == true_classes[None], overlaps, 0.0)
        for box in np.argsort(-confidences, kind="stable"):
            if confidences[box] < self.confidence:
                break
            right = len(true_classes) > 0 and fits[box].max() >= self.threshold
            self.boxes += bool(right or not left[box])
            if right:
                self.right += 1
                fits[:, fits[box].argmax()] = 0.0  # an object is found once
        self.objects += len(true_classes)

    def merge(self, other: DetectionScore) -> None:
        """Adds the pictures that another accumulator has counted.

        Raises:
            ValueError: the confidences or thresholds differ.
        """
        if (self.confidence, self.threshold) != (other.confidence, other.threshold):
            raise ValueError("detections of different confidences or thresholds cannot be added")
        self.objects += other.objects
        self.boxes += other.boxes
        self.right += other.right

    def precision(self) -> float:
        """The share of the boxes that are right; NaN without boxes."""
        return self.right / self.boxes if self.boxes else float("nan")

    def recall(self) -> float:
        """The share of the objects that were found; NaN without objects."""
        return self.right / self.objects if self.objects else float("nan")

    def f1(self) -> float:
        """The harmonic mean of precision and recall; NaN with neither boxes nor objects."""
        return 2 * self.right / (self.objects + self.boxes) if self.objects + self.boxes else float("nan")

    def summary(self) -> dict[str, Any]:
        """All scores as plain JSON values; undefined scores are None."""
        scores = {"precision": self.precision(), "recall": self.recall()}
        return {
            **{name: None if score != score else score for name, score in scores.items()},
            "objects": self.objects,
            "boxes": self.boxes,
            "right": self.right,
            "confidence": self.confidence,
            "definition": f"a box is right if it has the class of an object, an IoU of at least {self.threshold:g} "
            "with it, and no more confident box has found that object; precision is the share of right boxes among "
            f"those with a confidence of {self.confidence:g} or more; recall is the share of objects that a right box "
            "was found for",
        }
