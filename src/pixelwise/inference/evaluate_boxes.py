"""A network that gives boxes measured on a split, and the pictures that tell most."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pixelwise.data.dataset import Dataset, Record
from pixelwise.data.loader import prefetch
from pixelwise.data.object_windows import BACKGROUND
from pixelwise.data.objects import aimed
from pixelwise.data.sample import VOID, Instances, Sample
from pixelwise.errors import UserError
from pixelwise.inference.box_predictor import BoxPrediction, BoxPredictor
from pixelwise.inference.evaluate import labelled_records
from pixelwise.inference.evaluate_classes import class_summary
from pixelwise.metrics.calibration import Calibration
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.metrics.localisation import DetectionScore, LocalisationScore
from pixelwise.nn.boxes import iou, pairwise_iou


@dataclass(frozen=True, slots=True, eq=False)
class BoxAnswer:
    """One picture and how well its largest object was found.

    Attributes:
        overlap: IoU of that object's box with the one that its class is given; NaN for a picture without object.
        right: whether the surest class is that object's.
    """

    record: Record
    overlap: float
    right: bool


@dataclass(frozen=True, slots=True)
class BoxEvaluation:
    """What a network reaches on a split.

    Attributes:
        summary: what `metrics.json` holds; depends on data and weights alone.
        confusion: classes of the largest objects, and those that they were taken for.
        calibration: of a network that gives class probabilities; None for one that searches.
        pictures: from the best to the worst, those without object last.
        seconds: of prediction, without reading.
    """

    summary: dict[str, Any]
    confusion: ConfusionMatrix
    calibration: Calibration | None
    pictures: tuple[BoxAnswer, ...]
    seconds: float


def evaluate_boxes(
    predictor: BoxPredictor, dataset: Dataset, split: str = "val", progress: Callable[[float], None] | None = None
) -> BoxEvaluation:
    """Looks at every labelled picture of a split and counts.

    Raises:
        UserError: no such split, no labelled picture in it, none that has an object, or classes other than the
            network's.
    """
    records = labelled_records(dataset, split, predictor.class_names)
    confusion = ConfusionMatrix(len(predictor.class_names), predictor.class_names, void=None)
    calibration = None if predictor.searches else Calibration()
    largest = LocalisationScore()
    every = DetectionScore(predictor.confidence) if predictor.searches else None
    answers = []
    seconds = 0.0
    for number, (record, sample) in enumerate(zip(records, prefetch(dataset.load, records), strict=True), 1):
        started = time.perf_counter()
        found = predictor.candidates(sample.image)
        seconds += time.perf_counter() - started
        objects = _objects(sample)
        answers.append(_answer(record, found, objects))
        class_id = int(objects.classes[0]) if len(objects) else VOID
        surest = int(found.classes[0]) if len(found) else BACKGROUND
        largest.update(torch.tensor([surest]), torch.tensor([class_id]), torch.tensor([answers[-1].overlap]))
        if len(objects):
            confusion.update(np.array([surest]), np.array([class_id]))
            if calibration is not None:
                calibration.update(found.confidences[:1], np.array([surest == class_id]))
        if every is not None:
            both = pairwise_iou(torch.from_numpy(found.boxes), torch.from_numpy(objects.boxes)).numpy()
            every.update(both, found.classes, found.confidences, objects.classes)
        if progress is not None:
            progress(number / len(records))
    if not confusion.pixels:
        raise UserError(f"{dataset.root}: no object in the pictures of the split '{split}', so nothing to measure.")
    scores = largest.summary(split)
    summary: dict[str, Any] = {"split": split, **class_summary(confusion, split), **scores, "pictures": len(records)}
    summary["pictures_with_object"] = scores["pictures"]
    summary["definition"] = "the object of a picture is its largest one; " + scores["definition"]
    if every is not None:
        summary["objects"] = every.summary()
    if calibration is not None:
        error = calibration.ece()
        summary["expected_calibration_error"] = None if np.isnan(error) else error
    ranked = sorted(answers, key=lambda answer: -2.0 if np.isnan(answer.overlap) else answer.overlap, reverse=True)
    return BoxEvaluation(summary, confusion, calibration, tuple(ranked), seconds)


def _objects(sample: Sample) -> Instances:
    """The objects of a picture, the largest first."""
    none = Instances(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    plain = Sample(sample.name, sample.image, instances=sample.instances or none)
    objects = aimed(plain).instances
    assert objects is not None
    return objects


def _answer(record: Record, found: BoxPrediction, objects: Instances) -> BoxAnswer:
    if not len(objects):
        return BoxAnswer(record, float("nan"), False)
    of_class = found.boxes[found.classes == objects.classes[0]]
    # A network that gives one box whatever the class is judged by it even where the class is wrong.
    boxes = of_class if len(of_class) or found.steps is not None else found.boxes
    overlap = float(iou(torch.from_numpy(boxes[0]), torch.from_numpy(objects.boxes[0]))) if len(boxes) else 0.0
    right = len(found) > 0 and int(found.classes[0]) == int(objects.classes[0])
    return BoxAnswer(record, overlap, right)


def telling_boxes(pictures: tuple[BoxAnswer, ...], each: int = 3) -> dict[str, list[BoxAnswer]]:
    """The best, the middle and the worst few of a ranking, none twice; pictures without an object are left out."""
    ranked = [answer for answer in pictures if not np.isnan(answer.overlap)]
    if len(ranked) <= 3 * each:
        return {"Examples": ranked} if ranked else {}
    middle = (len(ranked) - each) // 2
    return {"Best": ranked[:each], "Middle": ranked[middle : middle + each], "Worst": ranked[-each:]}
