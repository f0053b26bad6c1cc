"""Whether a picture's object was named and found, and how many of all objects were."""

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

    All scores are over all pictures, never averaged over batches. Source: the localisation task of ILSVRC (Russakovsky
    et al., IJCV 2015, section 4.2): an answer counts where its class is right and its box has an intersection over
    union with the true one of at least 0.5; the task's error is one minus that share. It takes five answers a picture,
    of which the best counts.

    Attributes:
        threshold: the least intersection over union of a box that counts as found.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold
        self._classes = self._right = 0  # pictures with a class, and those where it was named
        self._boxes = self._overlap = 0  # pictures with a box, and the sum of their overlaps in units of 1 / UNIT
        self._both = self._found = 0  # pictures with class and box, and those where class and box are right

    def update(self, predicted: Tensor, target: Tensor, overlap: Tensor) -> None:
        """Adds pictures.

        Args:
            predicted: (N,) class ids, or (N, k), the k answers that each picture is given.
            target: (N,) true class ids; 255 where the class is not known.
            overlap: (N,) intersection over union of the true class's box with the true box, see `nn.boxes.iou`; NaN
                where a picture has no box, or no class to choose one by.

        Raises:
            ValueError: other shapes, or overlaps outside 0..1. The counts are then unchanged.
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
        """Adds the pictures that another has counted.

        Raises:
            ValueError: another threshold.
        """
        if self.threshold != other.threshold:
            raise ValueError(f"thresholds {self.threshold} and {other.threshold} cannot be added")
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def counts(self) -> Tensor:
        """(6,) float64, exact: all that was counted, to be summed over processes and set again."""
        return torch.tensor([getattr(self, name) for name in _COUNTS], dtype=torch.float64)

    @counts.setter
    def counts(self, counts: Tensor) -> None:
        for name, count in zip(_COUNTS, counts.tolist(), strict=True):
            setattr(self, name, int(count))

    def accuracy(self) -> float:
        """The share of pictures whose class was named; NaN if none has a class."""
        return self._right / self._classes if self._classes else float("nan")

    def mean_iou(self) -> float:
        """The mean over pictures of the intersection over union of the true class's box; NaN if none has a box."""
        return self._overlap / UNIT / self._boxes if self._boxes else float("nan")

    def localised(self) -> float:
        """The share of pictures whose class was named and whose object was found; NaN if none has both."""
        return self._found / self._both if self._both else float("nan")

    def summary(self, split: str | None = None) -> dict[str, Any]:
        """Everything as plain JSON values; what is undefined is None.

        Args:
            split: what the pictures are of (`val`), for the definition.
        """
        scores = {"accuracy": self.accuracy(), "box_iou": self.mean_iou(), "localised": self.localised()}
        return {
            **{name: None if score != score else score for name, score in scores.items()},
            "pictures": self._classes,
            "boxes": self._boxes,
            "definition": f"over {self._both} pictures{f' of the {split} split' if split else ''} with a class and a "
            f"box: localised is the share with the right class and an IoU of at least {self.threshold:g} (ILSVRC's "
            "localisation error is one minus it); box_iou is the mean IoU of the true class's box",
        }


class DetectionScore:
    """Counts objects by whether a box of the right class was found for them, and boxes by whether they are right.

    In each picture boxes are taken from the surest down, and each is given the object of its class that it overlaps
    most, of those that no surer box has (Everingham et al., IJCV 2010, section 4.4). Boxes below the least confidence
    do not count.

    Attributes:
        confidence: the least one.
        threshold: the least intersection over union of a box that counts as right.
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
            ignored: how the boxes lie on difficult objects and crowds; those that are on one count only where they are
                right.

        Raises:
            ValueError: other shapes.
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
                fits[:, fits[box].argmax()] = 0.0  # found once
        self.objects += len(true_classes)

    def merge(self, other: DetectionScore) -> None:
        """Adds the pictures that another one has counted.

        Raises:
            ValueError: another confidence or threshold.
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
        """Everything as plain JSON values; what is undefined is None."""
        scores = {"precision": self.precision(), "recall": self.recall()}
        return {
            **{name: None if score != score else score for name, score in scores.items()},
            "objects": self.objects,
            "boxes": self.boxes,
            "right": self.right,
            "confidence": self.confidence,
            "definition": f"of the boxes with a confidence of {self.confidence:g} or more, the share with the class of "
            f"an object that no surer box has and an IoU of at least {self.threshold:g} with it is precision; of all "
            "objects, the share that such a box was found for is recall",
        }
