"""A trained network measured on a split: every pixel counted once, and the pictures that tell most."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelwise.data.dataset import Dataset, Record
from pixelwise.data.loader import prefetch
from pixelwise.data.sample import VOID
from pixelwise.errors import UserError, unknown
from pixelwise.inference.instances import INSTANCES, label_objects
from pixelwise.inference.predictor import Predictor
from pixelwise.metrics.boundary import BoundaryScore
from pixelwise.metrics.calibration import Calibration
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.metrics.instances import InstanceScore


@dataclass(frozen=True, slots=True)
class PictureScore:
    """One picture's own mean IoU, over the classes it has."""

    record: Record
    mean_iou: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a network reaches on a split.

    Attributes:
        summary: what `metrics.json` holds; depends on data and weights alone.
        pictures: from the best to the worst.
        seconds: of prediction, without reading.
    """

    summary: dict[str, Any]
    confusion: ConfusionMatrix
    calibration: Calibration
    pictures: tuple[PictureScore, ...]
    seconds: float


def evaluate_split(
    predictor: Predictor,
    dataset: Dataset,
    split: str = "val",
    progress: Callable[[float], None] | None = None,
    *,
    instances: str | None = None,
) -> Evaluation:
    """Predicts every labelled picture of a split and counts.

    Args:
        instances: how masks become objects, a name in `instances.INSTANCES`, to be compared with those that the data
            tells apart. None for `components` where every mask is an object by the data's layout, else for none.

    Raises:
        UserError: an unknown name, objects asked for that the data does not tell apart, no such split, no labelled
            picture in it, or classes other than the network's.
    """
    if instances is None and dataset.coding.kind == "objects":
        instances = "components"
    if instances is not None and instances not in INSTANCES:
        raise unknown("way to instances", instances, INSTANCES)
    if instances is not None and dataset.coding.kind not in {"objects", "shapes"}:
        raise UserError(
            f"{dataset.root}: the masks say which pixels are of a class, but not which objects there are, so objects "
            "cannot be compared; leave out --instances."
        )
    records = labelled_records(dataset, split, predictor.class_names)
    confusion = ConfusionMatrix(len(predictor.class_names), predictor.class_names)
    calibration = Calibration()
    outlines = BoundaryScore(predictor.class_names)
    objects = None if instances is None else InstanceScore()
    scores = []
    seconds = 0.0
    for number, (record, sample) in enumerate(zip(records, prefetch(dataset.load, records), strict=True), start=1):
        assert sample.mask is not None
        started = time.perf_counter()
        prediction = predictor(sample.image)
        seconds += time.perf_counter() - started
        own = ConfusionMatrix(confusion.num_classes, confusion.class_names)
        own.update(prediction.mask, sample.mask)
        confusion.merge(own)
        outlines.update(prediction.mask, sample.mask)
        counted = sample.mask != VOID
        calibration.update(prediction.confidence[counted], (prediction.mask == sample.mask)[counted])
        scores.append(PictureScore(record, own.mean_iou()))
        if instances is not None and objects is not None and sample.instances is not None:
            assert sample.instances.ids is not None
            labels, classes = label_objects(prediction.mask, INSTANCES[instances])
            true_classes = sample.instances.classes[: sample.instances.outlined]
            objects.update(labels, sample.instances.ids, (classes, true_classes))
        if progress is not None:
            progress(number / len(records))
    summary = {"split": split, "pictures": len(records), **confusion.summary(split)}
    summary["boundary"] = outlines.summary(split)
    summary["boundary_f"] = summary["boundary"]["mean_f"]
    error = calibration.ece()
    summary["expected_calibration_error"] = None if np.isnan(error) else error
    if objects is not None:
        summary["objects"] = objects.summary()
    # Pictures that are void all over have no score; they come last.
    ranked = sorted(scores, key=lambda score: -1.0 if np.isnan(score.mean_iou) else score.mean_iou, reverse=True)
    return Evaluation(summary, confusion, calibration, tuple(ranked), seconds)


def labelled_records(dataset: Dataset, split: str, class_names: Sequence[str]) -> list[Record]:
    """What a network with these classes can be measured on.

    Raises:
        UserError: no such split, no labelled picture in it, or classes other than the network's.
    """
    if len(dataset.class_names) != len(class_names):
        raise UserError(
            f"{dataset.root}: {len(dataset.class_names)} classes ({', '.join(dataset.class_names)}), but the network "
            f"knows {len(class_names)} ({', '.join(class_names)}); evaluate on data with the same."
        )
    if set(dataset.class_names) == set(class_names) and dataset.class_names != tuple(class_names):
        raise UserError(
            f"{dataset.root}: the classes are {', '.join(dataset.class_names)}, but the network knows them as "
            f"{', '.join(class_names)}, so ids differ; put classes.txt and the labels in its order."
        )
    records = [record for record in dataset.split(split) if record.labelled]
    if not records:
        raise UserError(f"{dataset.root}: no labelled picture in the split '{split}', so there is nothing to measure.")
    return records


def telling(pictures: Sequence[PictureScore], each: int = 3) -> list[PictureScore]:
    """The best, the middle and the worst few of a ranking, none twice; pictures without a score are left out."""
    ranked = [picture for picture in pictures if not np.isnan(picture.mean_iou)]
    if len(ranked) <= 3 * each:
        return ranked
    middle = (len(ranked) - each) // 2
    return [*ranked[:each], *ranked[middle : middle + each], *ranked[-each:]]
