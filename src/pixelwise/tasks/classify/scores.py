"""Scores of a classifier."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelwise.data.sample import Sample
from pixelwise.errors import UserError
from pixelwise.metrics.bootstrap import mean_margin
from pixelwise.metrics.calibration import Calibration
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.metrics.headline import Headline
from pixelwise.metrics.ranking import TopK
from pixelwise.tasks.classify.inference import ClassPrediction
from pixelwise.tasks.evaluation import Scores

ACCURACY = Headline(
    "accuracy", "accuracy", definition="The share of the pictures whose most probable class is the true one."
)
TOP5 = Headline(
    "top5_accuracy",
    "top-5 accuracy",
    definition="The share of the pictures whose true class is among the five most probable classes.",
)
MEAN_CLASS = Headline(
    "mean_class_accuracy",
    "mean class accuracy",
    definition="The mean of the classes' recall, in which each class has the same weight.",
)
HEADLINES = (ACCURACY, TOP5, MEAN_CLASS)


@dataclass(frozen=True, slots=True, eq=False)
class PictureAnswer:
    """One picture, its class, and the probabilities (K,) that the classifier predicts."""

    name: str
    truth: int
    probabilities: np.ndarray

    @property
    def right(self) -> bool:
        """Whether the most probable class is the true one."""
        return int(self.probabilities.argmax()) == self.truth


class ClassScores(Scores[ClassPrediction]):
    """Counts pictures by true and predicted class.

    Args:
        thorough: whether the predictions for single pictures are kept.

    Attributes:
        confusion, calibration: the counts of all updates.
        pictures: predictions for single pictures, in the order of the updates; empty unless `thorough`.
    """

    def __init__(self, class_names: Sequence[str], *, thorough: bool = True) -> None:
        self.thorough = thorough
        self.confusion = ConfusionMatrix(len(class_names), class_names, void=None)
        self.calibration, self.ranks = Calibration(), TopK()
        self.pictures: list[PictureAnswer] = []

    @property
    def headlines(self) -> Sequence[Headline]:
        return HEADLINES if self.confusion.num_classes > 5 else (ACCURACY, MEAN_CLASS)

    def update(self, prediction: ClassPrediction, sample: Sample) -> None:
        if sample.class_id is None:
            raise ValueError(f"{sample.name} has no class to compare with")
        truth = np.array([sample.class_id], np.int64)
        predicted = np.array([prediction.class_id], np.int64)
        self.confusion.update(predicted, truth)
        self.ranks.add(prediction.ranking, sample.class_id)
        self.calibration.update(prediction.probabilities.max(keepdims=True), predicted == truth)
        if self.thorough:
            self.pictures.append(PictureAnswer(sample.name, sample.class_id, prediction.probabilities))

    def merge(self, other: ClassScores) -> None:
        self.confusion.merge(other.confusion)
        self.calibration.merge(other.calibration)
        self.ranks.merge(other.ranks)
        self.pictures += other.pictures

    def values(self) -> dict[str, float]:
        values = {"accuracy": self.confusion.pixel_accuracy()}
        if self.confusion.num_classes > 5:
            values["top5_accuracy"] = self.ranks.accuracy(5)
        return values

    def margin(self) -> float:
        return mean_margin(np.array([answer.right for answer in self.pictures], np.float64))

    def summary(self, split: str) -> dict[str, Any]:
        if not self.confusion.pixels:
            raise UserError(
                f"no picture of the split '{split}' has a class, so there is nothing to measure; choose another."
            )
        summary: dict[str, Any] = {
            "split": split,
            "pictures": self.confusion.pixels,
            **class_summary(self.confusion, split),
        }
        if self.confusion.num_classes > 5:
            summary["top5_accuracy"] = self.ranks.accuracy(5)
        error = self.calibration.ece()
        summary["expected_calibration_error"] = None if math.isnan(error) else error
        return summary

    def examples(self, each: int = 12) -> dict[str, list[PictureAnswer]]:
        """The most informative pictures, without repetition.

        These are errors with the highest confidence, pictures with the lowest confidence, and right predictions with
        the highest confidence.
        """
        ordered = sorted(self.pictures, key=lambda answer: -float(answer.probabilities[answer.truth]))
        wrong = sorted((a for a in ordered if not a.right), key=lambda a: -float(a.probabilities.max()))
        surely_wrong = wrong[:each]
        sure = _of_every_class([answer for answer in ordered if answer.right], each)
        taken = {answer.name for answer in (*surely_wrong, *sure)}
        unsure = sorted(
            (answer for answer in ordered if answer.name not in taken),
            key=lambda answer: float(answer.probabilities.max()),
        )[:each]
        groups = {
            "Wrong with high confidence": surely_wrong,
            "Least confident": unsure,
            "Right with high confidence": sure,
        }
        return {title: answers for title, answers in groups.items() if answers}


def class_summary(confusion: ConfusionMatrix, split: str) -> dict[str, Any]:
    """The scores of a confusion matrix of whole pictures, in the form of the JSON; undefined scores are None."""
    of_pixels = confusion.summary()
    missing = int((confusion.true_pixels == 0).sum())
    definition = f"accuracy: share of the pictures of the {split} split whose most probable class is the true one"
    if missing:
        definition += f"; {missing} of {confusion.num_classes} classes have no picture in it"
    return {
        "accuracy": of_pixels["pixel_accuracy"],
        "mean_class_accuracy": of_pixels["mean_accuracy"],
        "f1": of_pixels["dice"],
        "precision": of_pixels["precision"],
        "recall": of_pixels["recall"],
        "definition": definition,
    }


def _of_every_class(answers: list[PictureAnswer], count: int) -> list[PictureAnswer]:
    """At most `count` entries of a ranking: the first of each class, then the second of each, and so on."""
    seen: Counter[int] = Counter()
    turns = []
    for answer in answers:
        turns.append(seen[answer.truth])
        seen[answer.truth] += 1
    chosen = sorted(range(len(answers)), key=lambda index: (turns[index], index))[:count]
    return [answers[index] for index in sorted(chosen)]
