"""How good masks are: one confusion matrix, and at the end outlines, confidences and objects as well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelwise.data.sample import VOID, Sample
from pixelwise.metrics.boundary import BoundaryScore
from pixelwise.metrics.calibration import Calibration
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.metrics.headline import Headline
from pixelwise.metrics.instances import InstanceScore
from pixelwise.tasks.base import Scores
from pixelwise.tasks.segment.inference import SegmentPrediction
from pixelwise.tasks.segment.instances import INSTANCES, label_objects

HEADLINES = (
    Headline(
        "mean_iou", "mean IoU",
        definition="The mean of the classes' IoU, each class counting alike. It is computed once, over all pixels of "
        "the split together; a class in neither truth nor prediction is left out.",
    ),
    Headline(
        "pixel_accuracy", "pixel accuracy",
        definition="The share of all pixels whose class is right. Large classes dominate it.",
    ),
    Headline("mean_accuracy", "mean accuracy", definition="The mean of the classes' recall."),
    Headline("mean_dice", "mean Dice", definition="The mean of the classes' Dice, each class counting alike."),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PictureScore:
    """One picture's own mean IoU, over the classes that it has; NaN for a picture that is void all over."""

    name: str
    mean_iou: float


class SegmentScores(Scores[SegmentPrediction]):
    """Counts pixels by true and predicted class.

    Args:
        thorough: whether outlines, confidences and single pictures are measured too, which takes longer.
        instances: how masks become objects, a name in `instances.INSTANCES`, to be compared with those that samples
            tell apart; None for no objects.

    Attributes:
        confusion, calibration, outlines: what was counted; the last two only where `thorough`.
        objects: matches of objects; None without `instances`.
        pictures: in the order in which they were counted; only where `thorough`.
    """

    headlines: Sequence[Headline] = HEADLINES

    def __init__(self, class_names: Sequence[str], *, thorough: bool = True, instances: str | None = None) -> None:
        self.thorough = thorough
        self.instances = instances
        self.confusion = ConfusionMatrix(len(class_names), class_names)
        self.calibration = Calibration()
        self.outlines = BoundaryScore(class_names)
        self.objects = None if instances is None else InstanceScore()
        self.pictures: list[PictureScore] = []

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
        self.calibration.update(prediction.confidence[counted], (prediction.mask == sample.mask)[counted])
        self.pictures.append(PictureScore(sample.name, own.mean_iou()))
        if self.instances is not None and self.objects is not None and sample.instances is not None:
            assert sample.instances.ids is not None
            labels, classes = label_objects(prediction.mask, INSTANCES[self.instances])
            true_classes = sample.instances.classes[: sample.instances.outlined]
            self.objects.update(labels, sample.instances.ids, (classes, true_classes))

    def merge(self, other: SegmentScores) -> None:
        self.confusion.merge(other.confusion)
        self.calibration.merge(other.calibration)
        self.outlines.merge(other.outlines)
        self.pictures += other.pictures
        if self.objects is not None and other.objects is not None:
            self.objects.merge(other.objects)

    def values(self) -> dict[str, float]:
        return {"mean_iou": self.confusion.mean_iou(), "pixel_accuracy": self.confusion.pixel_accuracy()}

    def summary(self, split: str) -> dict[str, Any]:
        summary = {"split": split, "pictures": len(self.pictures), **self.confusion.summary(split)}
        summary["boundary"] = self.outlines.summary(split)
        summary["boundary_f"] = summary["boundary"]["mean_f"]
        error = self.calibration.ece()
        summary["expected_calibration_error"] = None if math.isnan(error) else error
        if self.objects is not None:
            summary["objects"] = self.objects.summary()
        return summary

    def telling(self, each: int = 3) -> list[PictureScore]:
        """The best, the middle and the worst few pictures, none twice; those that are void all over are left out."""
        ranked = sorted(
            (picture for picture in self.pictures if not np.isnan(picture.mean_iou)),
            key=lambda picture: picture.mean_iou,
            reverse=True,
        )
        if len(ranked) <= 3 * each:
            return ranked
        middle = (len(ranked) - each) // 2
        return [*ranked[:each], *ranked[middle : middle + each], *ranked[-each:]]
