"""Scores of networks that classify and localise objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pixelwise.data.object_windows import BACKGROUND
from pixelwise.data.objects import largest_first
from pixelwise.data.sample import NO_CLASS, VOID, Instances, Sample
from pixelwise.errors import UserError
from pixelwise.losses.boxes import BOX_LOSSES
from pixelwise.metrics.bootstrap import mean_margin
from pixelwise.metrics.calibration import Calibration
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.metrics.headline import Headline
from pixelwise.metrics.localisation import DetectionScore, LocalisationScore
from pixelwise.nn.boxes import iou, pairwise_iou
from pixelwise.tasks.classify.scores import class_summary
from pixelwise.tasks.detect.inference import BoxPrediction
from pixelwise.tasks.evaluation import Scores
from pixelwise.tasks.ranking import best_middle_worst

LOCALISED = Headline(
    "localised",
    "right class, IoU of 0.5 or more",
    definition="The share of the pictures whose object was classified and localised: one minus ILSVRC's localisation "
    "error, with one prediction per picture.",
)
BOX_IOU = Headline(
    "box_iou",
    "mean IoU of boxes",
    definition="The mean over pictures of the IoU between the box of the picture's object and the box predicted for "
    "its class; 0 if no box was predicted for it.",
)
ACCURACY = Headline(
    "accuracy",
    "accuracy of the class",
    definition="The share of the pictures whose most confident class is that of their object.",
)
HEADLINES = (LOCALISED, BOX_IOU, ACCURACY)


@dataclass(frozen=True, slots=True, eq=False)
class BoxAnswer:
    """How well the largest object of one picture was found.

    Attributes:
        overlap: IoU of the object's box with the box predicted for its class; NaN for a picture without an object.
        right: whether the most probable class is the object's class.
    """

    name: str
    overlap: float
    right: bool


class BoxScores(Scores[BoxPrediction]):
    """Counts pictures by whether the class of their object is right and how well its box fits, and all objects by
    whether they were found.

    Args:
        terms: terms of the loss of a training run, which decide the score that chooses the best weights: accuracy if
            the class is learned, the mean IoU of boxes if boxes are learned, and the share of pictures with the right
            class and an IoU of 0.5 if both are learned. None for a complete evaluation.
        confidence: least confidence of a box that counts, for a network that looks for all objects; None for a network
            that predicts the one object of a picture.

    Attributes:
        confusion: confusion matrix of the classes of the largest objects.
        calibration: calibration of the class; None for a network that looks for all objects.
        pictures: results by picture, in the order in which they were counted.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        terms: Mapping[str, float] | None = None,
        confidence: float | None = None,
    ) -> None:
        self.confusion = ConfusionMatrix(len(class_names), class_names, void=None)
        self.largest = LocalisationScore()
        self.every = None if confidence is None else DetectionScore(confidence)
        self.calibration = Calibration() if confidence is None else None
        self.pictures: list[BoxAnswer] = []
        boxes = terms is None or not BOX_LOSSES.keys().isdisjoint(terms)
        classes = terms is None or not BOX_LOSSES.keys() >= terms.keys()
        self._headlines: tuple[Headline, ...] = (ACCURACY,)
        if boxes:
            self._headlines = HEADLINES if classes else (BOX_IOU, ACCURACY, LOCALISED)

    @property
    def headlines(self) -> Sequence[Headline]:
        return self._headlines

    def update(self, prediction: BoxPrediction, sample: Sample) -> None:
        objects = _largest_first(sample)
        own = sample.class_id if sample.class_id is not None else int(objects.classes[0]) if len(objects) else NO_CLASS
        predicted = int(prediction.classes[0]) if len(prediction) else BACKGROUND
        overlap = _overlap(prediction, objects, own, searched=self.every is not None)
        self.largest.update(
            torch.tensor([predicted]), torch.tensor([VOID if own == NO_CLASS else own]), torch.tensor([overlap])
        )
        self.pictures.append(BoxAnswer(sample.name, overlap, len(prediction) > 0 and predicted == own))
        if len(objects):
            self.confusion.update(np.array([predicted]), np.array([own]))
            if self.calibration is not None:
                self.calibration.update(prediction.confidences[:1], np.array([predicted == own]))
        if self.every is not None:
            both = pairwise_iou(torch.from_numpy(prediction.boxes), torch.from_numpy(objects.boxes)).numpy()
            self.every.update(both, prediction.classes, prediction.confidences, objects.classes)

    def merge(self, other: BoxScores) -> None:
        self.confusion.merge(other.confusion)
        self.largest.merge(other.largest)
        self.pictures += other.pictures
        if self.every is not None and other.every is not None:
            self.every.merge(other.every)
        if self.calibration is not None and other.calibration is not None:
            self.calibration.merge(other.calibration)

    def values(self) -> dict[str, float]:
        largest = self.largest
        values = {
            "accuracy": largest.accuracy(),
            "box_iou": largest.mean_iou(),
            "localised": largest.localised(),
        }
        return {name: value for name, value in values.items() if name in {line.key for line in self._headlines}}

    def margin(self) -> float:
        found = [math.nan if math.isnan(one.overlap) else one.right and one.overlap >= 0.5 for one in self.pictures]
        return mean_margin(np.array(found, np.float64))

    def summary(self, split: str) -> dict[str, Any]:
        if not self.confusion.pixels:
            raise UserError(
                f"the pictures of the split '{split}' have no objects, so there is nothing to measure; choose "
                "another split."
            )
        scores = self.largest.summary(split)
        summary: dict[str, Any] = {"split": split, **class_summary(self.confusion, split), **scores}
        summary["pictures"] = len(self.pictures)
        summary["pictures_with_object"] = scores["pictures"]
        summary["definition"] = "the object of a picture is its largest one; " + scores["definition"]
        if self.every is not None:
            summary["objects"] = self.every.summary()
        if self.calibration is not None:
            error = self.calibration.ece()
            summary["expected_calibration_error"] = None if math.isnan(error) else error
        return summary

    def examples(self, each: int = 3) -> dict[str, list[BoxAnswer]]:
        """The few best, middle and worst pictures, each only once; pictures without an object are left out."""
        ranked = sorted(
            (answer for answer in self.pictures if not math.isnan(answer.overlap)),
            key=lambda answer: answer.overlap,
            reverse=True,
        )
        return best_middle_worst(ranked, each)


def _largest_first(sample: Sample) -> Instances:
    """The objects of a picture, the largest first."""
    known = Instances.none() if sample.instances is None else sample.instances
    objects = largest_first(Sample(sample.name, sample.image, instances=known)).instances
    assert objects is not None
    return objects


def _overlap(prediction: BoxPrediction, objects: Instances, class_id: int, *, searched: bool) -> float:
    """IoU of the boxes predicted for a class with its largest objects, averaged if there are several.

    NaN without an object of the class, 0 without a box.

    Args:
        searched: whether the network looks for all objects; then only its most confident box is compared.
    """
    truth = objects.boxes[objects.classes == class_id]
    if not len(truth) or class_id == NO_CLASS:
        return math.nan
    of_class = prediction.boxes[prediction.classes == class_id]
    if searched:
        of_class, truth = of_class[:1], truth[:1]
    elif not len(of_class):
        # A network that predicts one box for all classes is scored by that box even if the class is wrong.
        of_class = prediction.boxes
    if not len(of_class):
        return 0.0
    count = min(len(of_class), len(truth))
    return float(iou(torch.from_numpy(of_class[:count]), torch.from_numpy(truth[:count])).mean())
