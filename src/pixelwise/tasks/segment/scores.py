"""Scores of masks: a confusion matrix, and in a complete evaluation also boundaries, confidences and objects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pixelwise.data.sample import VOID, Sample
from pixelwise.metrics.bootstrap import bootstrap_margin
from pixelwise.metrics.boundary import BoundaryScore
from pixelwise.metrics.calibration import Calibration
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.metrics.headline import Headline
from pixelwise.metrics.instances import InstanceScore
from pixelwise.tasks.evaluation import Scores
from pixelwise.tasks.ranking import best_middle_worst
from pixelwise.tasks.segment.inference import SegmentPrediction
from pixelwise.tasks.segment.instances import INSTANCES, label_objects

HEADLINES = (
    Headline(
        "mean_iou", "mean IoU",
        definition="The mean of the classes' IoU; each class counts the same. It is computed once, over all pixels of "
        "the split together. A class in neither truth nor prediction is left out.",
    ),
    Headline(
        "pixel_accuracy", "pixel accuracy",
        definition="The share of all pixels with the right class. Large classes dominate it.",
    ),
    Headline("mean_accuracy", "mean accuracy", definition="The mean of the classes' recall."),
    Headline("mean_dice", "mean Dice", definition="The mean of the classes' Dice; each class counts the same."),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PictureScore:
    """The mean IoU of a single picture over its classes; NaN if all of the picture is void."""

    name: str
    mean_iou: float


SURE = 0.95
"""A pixel's label is disputed if a different class has at least this probability."""


@dataclass(frozen=True, slots=True)
class Dispute:
    """How far confident predictions and labels of one picture differ.

    Attributes:
        pixels: the number of labelled pixels.
        disputed: the number of pixels for which a different class has a probability of 0.95 or more.
        label, predicted: the most frequent pair of class ids among the disputed pixels; both 0 if there are none.
    """

    name: str
    pixels: int
    disputed: int
    label: int
    predicted: int

    @property
    def share(self) -> float:
        """The share of the labelled pixels that is disputed."""
        return self.disputed / max(self.pixels, 1)


class SegmentScores(Scores[SegmentPrediction]):
    """Counts pixels by true and predicted class.

    Args:
        thorough: whether boundaries, confidences and single pictures are measured too, which takes longer.
        instances: the ways to separate objects (names in `instances.INSTANCES`), each of which is compared with the
            objects of the samples.

    Attributes:
        confusion, calibration, outlines: the counts; the last two only if `thorough`.
        objects: name of a way -> matches of its objects.
        pictures, disputes: in the order in which they were counted; only if `thorough`.
    """

    headlines: Sequence[Headline] = HEADLINES

    def __init__(self, class_names: Sequence[str], *, thorough: bool = True, instances: Sequence[str] = ()) -> None:
        self.thorough = thorough
        self.confusion = ConfusionMatrix(len(class_names), class_names)
        self.calibration = Calibration()
        self.outlines = BoundaryScore(class_names)
        self.objects = {way: InstanceScore() for way in instances}
        self.pictures: list[PictureScore] = []
        self.disputes: list[Dispute] = []
        self._counts: list[np.ndarray] = []  # of each picture (3, K): right, true and predicted pixels

    def update(self, prediction: SegmentPrediction, sample: Sample) -> None:
        assert sample.mask is not None
        if not self.thorough:
            self.confusion.update(prediction.mask, sample.mask)
            return
        own = ConfusionMatrix(self.confusion.num_classes, self.confusion.class_names)
        own.update(prediction.mask, sample.mask)
        self.confusion.merge(own)
        self.outlines.update(prediction.mask, sample.mask)
        counted = sample.mask != VOID
        confidence = prediction.confidence
        self.calibration.update(confidence[counted], (prediction.mask == sample.mask)[counted])
        disputed = disputed_pixels(prediction.mask, confidence, sample.mask)
        self.disputes.append(
            _dispute(sample.name, int(counted.sum()), sample.mask[disputed], prediction.mask[disputed])
        )
        self._counts.append(torch.stack([own.counts.diagonal(), own.true_pixels, own.predicted_pixels]).numpy())
        self.pictures.append(PictureScore(sample.name, own.mean_iou()))
        if sample.instances is None:
            return
        for way, matches in self.objects.items():
            assert sample.instances.ids is not None
            labels, classes = label_objects(prediction.mask, INSTANCES[way])
            true_classes = sample.instances.classes[: sample.instances.outlined]
            matches.update(labels, sample.instances.ids, (classes, true_classes))

    def merge(self, other: SegmentScores) -> None:
        self.confusion.merge(other.confusion)
        self.calibration.merge(other.calibration)
        self.outlines.merge(other.outlines)
        self.pictures += other.pictures
        self.disputes += other.disputes
        self._counts += other._counts
        for way, matches in self.objects.items():
            matches.merge(other.objects[way])

    def values(self) -> dict[str, float]:
        return {"mean_iou": self.confusion.mean_iou(), "pixel_accuracy": self.confusion.pixel_accuracy()}

    def margin(self) -> float:
        if not self._counts:
            return math.nan
        pictures = len(self._counts)
        flat = np.stack(self._counts).reshape(pictures, -1).astype(np.float64)

        def mean_iou(times: np.ndarray) -> np.ndarray:
            right, true, predicted = np.moveaxis((times @ flat).reshape(len(times), 3, -1), 1, 0)
            union = true + predicted - right
            counted = union > 0
            return (right / np.maximum(union, 1)).sum(1) / np.maximum(counted.sum(1), 1)

        return bootstrap_margin(mean_iou, pictures)

    def summary(self, split: str) -> dict[str, Any]:
        summary = {"split": split, "pictures": len(self.pictures), **self.confusion.summary(split)}
        summary["boundary"] = self.outlines.summary(split)
        summary["boundary_f"] = summary["boundary"]["mean_f"]
        error = self.calibration.ece()
        summary["expected_calibration_error"] = None if math.isnan(error) else error
        if self.objects:
            # The first one if several are equal; an undefined F1 (no objects) counts as 0.
            best = max(self.objects, key=lambda way: np.nan_to_num(self.objects[way].f1()))
            summary["objects"] = {"separation": best, **self.objects[best].summary()}
        if len(self.objects) > 1:
            summary["objects_by_way"] = {way: matches.scores() for way, matches in self.objects.items()}
        return summary

    def examples(self, each: int = 3) -> list[PictureScore]:
        """The best, the middle and the worst few pictures, each only once; entirely void pictures are left out."""
        ranked = sorted(
            (picture for picture in self.pictures if not np.isnan(picture.mean_iou)),
            key=lambda picture: picture.mean_iou,
            reverse=True,
        )
        return [picture for group in best_middle_worst(ranked, each).values() for picture in group]


def disputed_pixels(prediction: np.ndarray, confidence: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(H, W) bool: the pixels where a class other than the label's is predicted with a probability of 0.95 or more."""
    return (prediction != truth) & (truth != VOID) & (prediction != VOID) & (confidence >= SURE)


def _dispute(name: str, pixels: int, labels: np.ndarray, predicted: np.ndarray) -> Dispute:
    """The dispute of one picture, from the labels (N,) and the predicted classes (N,) of its disputed pixels."""
    if not labels.size:
        return Dispute(name, pixels, 0, 0, 0)
    pairs = np.bincount(labels.astype(np.int64) * 256 + predicted)
    label, other = divmod(int(pairs.argmax()), 256)
    return Dispute(name, pixels, int(labels.size), label, other)
