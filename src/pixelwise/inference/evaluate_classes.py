"""A trained classifier measured on a split, and the pictures that tell most."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelwise.data.dataset import Dataset, Record
from pixelwise.data.loader import prefetch
from pixelwise.data.sample import Sample
from pixelwise.inference.class_predictor import ClassPredictor
from pixelwise.inference.evaluate import labelled_records
from pixelwise.metrics.calibration import Calibration
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.metrics.ranking import TopK


@dataclass(frozen=True, slots=True, eq=False)
class PictureAnswer:
    """One picture, its class, and the probabilities (K,) that the classifier gives it."""

    record: Record
    truth: int
    probabilities: np.ndarray

    @property
    def right(self) -> bool:
        return int(self.probabilities.argmax()) == self.truth


@dataclass(frozen=True, slots=True)
class ClassEvaluation:
    """What a classifier reaches on a split.

    Attributes:
        summary: what `metrics.json` holds; depends on data and weights alone.
        pictures: from the most probable true class to the least.
        seconds: of prediction, without reading.
    """

    summary: dict[str, Any]
    confusion: ConfusionMatrix
    calibration: Calibration
    pictures: tuple[PictureAnswer, ...]
    seconds: float


def evaluate_classes(
    predictor: ClassPredictor, dataset: Dataset, split: str = "val", progress: Callable[[float], None] | None = None
) -> ClassEvaluation:
    """Classifies every labelled picture of a split and counts.

    Raises:
        UserError: no such split, no labelled picture in it, or classes other than the network's.
    """
    records = labelled_records(dataset, split, predictor.class_names)
    count = len(predictor.class_names)
    confusion = ConfusionMatrix(count, predictor.class_names, void=None)
    calibration, ranks = Calibration(), TopK()
    answers: list[PictureAnswer] = []
    seconds = 0.0

    def measure(batch: list[tuple[Record, Sample]]) -> float:
        started = time.perf_counter()
        probabilities = predictor.probabilities([sample.image for _, sample in batch])
        elapsed = time.perf_counter() - started
        truth = np.array([record.class_id for record, _ in batch], np.int64)
        predicted = probabilities.argmax(1)
        confusion.update(predicted, truth)
        ranks.update(probabilities, truth)
        calibration.update(probabilities.max(1), predicted == truth)
        answers.extend(
            PictureAnswer(record, int(true), row)
            for (record, _), true, row in zip(batch, truth, probabilities, strict=True)
        )
        return elapsed

    def load(record: Record) -> Sample:
        return Sample(record.name, predictor.read(dataset.read(record)), class_id=record.class_id)

    waiting: list[tuple[Record, Sample]] = []
    for record, sample in zip(records, prefetch(load, records), strict=True):
        waiting.append((record, sample))
        if len(waiting) == predictor.batch_size:
            seconds += measure(waiting)
            waiting = []
            if progress is not None:
                progress(len(answers) / len(records))
    if waiting:
        seconds += measure(waiting)
    error = calibration.ece()
    summary: dict[str, Any] = {"split": split, "pictures": len(records), **class_summary(confusion, split)}
    if count > 5:
        summary["top5_accuracy"] = ranks.accuracy(5)
    summary["expected_calibration_error"] = None if np.isnan(error) else error
    ordered = sorted(answers, key=lambda answer: -float(answer.probabilities[answer.truth]))
    return ClassEvaluation(summary, confusion, calibration, tuple(ordered), seconds)


def class_summary(confusion: ConfusionMatrix, split: str) -> dict[str, Any]:
    """The scores of a confusion matrix of whole pictures, as JSON holds them; what is undefined is None."""
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


def telling_answers(evaluation: ClassEvaluation, each: int = 12) -> dict[str, list[PictureAnswer]]:
    """The pictures that tell most, none twice: errors that the classifier is surest of, pictures it is least sure of,
    and those that it is surest of and right."""
    wrong = sorted((a for a in evaluation.pictures if not a.right), key=lambda a: -float(a.probabilities.max()))
    surely_wrong = wrong[:each]
    sure = _of_every_class([answer for answer in evaluation.pictures if answer.right], each)
    taken = {answer.record.name for answer in (*surely_wrong, *sure)}
    unsure = sorted(
        (answer for answer in evaluation.pictures if answer.record.name not in taken),
        key=lambda answer: float(answer.probabilities.max()),
    )[:each]
    groups = {"Wrong, and sure of it": surely_wrong, "Least sure": unsure, "Right, and sure of it": sure}
    return {title: answers for title, answers in groups.items() if answers}


def _of_every_class(answers: list[PictureAnswer], count: int) -> list[PictureAnswer]:
    """At most so many of a ranking: the first of each class, then the second of each, and so on."""
    seen: Counter[int] = Counter()
    turns = []
    for answer in answers:
        turns.append(seen[answer.truth])
        seen[answer.truth] += 1
    chosen = sorted(range(len(answers)), key=lambda place: (turns[place], place))[:count]
    return [answers[place] for place in sorted(chosen)]
