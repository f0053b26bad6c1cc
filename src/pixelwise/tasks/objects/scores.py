"""Scores of networks that find every object: boxes, masks and label maps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pixelwise.data.listing import counted
from pixelwise.data.sample import Instances, Sample
from pixelwise.metrics.average_precision import VocScore
from pixelwise.metrics.coco import CocoScore, encoded
from pixelwise.metrics.detection_errors import IGNORED, KINDS, kinds_of_detections
from pixelwise.metrics.headline import Headline
from pixelwise.metrics.ignored import Ignored
from pixelwise.metrics.instances import InstanceScore
from pixelwise.metrics.localisation import DetectionScore
from pixelwise.models.detect.detector import SMALLEST
from pixelwise.nn.boxes import area, intersection, pairwise_iou
from pixelwise.tasks.evaluation import Scores
from pixelwise.tasks.objects.inference import CONFIDENCE, ObjectPrediction
from pixelwise.tasks.ranking import best_middle_worst

AP50 = Headline(
    "ap50",
    "AP at IoU 0.5",
    definition="COCO's average precision of boxes at an IoU of 0.5: the mean precision over 101 values of recall, then "
    "over classes.",
)
AP = Headline(
    "ap",
    "AP",
    definition="COCO's average precision of boxes, the mean over IoU thresholds from 0.5 to 0.95.",
)
MASK_AP50 = Headline(
    "mask_ap50",
    "mask AP at IoU 0.5",
    definition="Like AP at IoU 0.5, with the IoU of masks instead of boxes.",
)
MASK_AP = Headline(
    "mask_ap",
    "mask AP",
    definition="Like AP, with the IoU of masks instead of boxes.",
)

MISSED = "missed"
"""Kind of an object without a detection of at least the confidence that counts."""


@dataclass(frozen=True, slots=True)
class PictureResult:
    """How well the objects of one picture were found.

    Attributes:
        f1: F1 at an IoU of 0.5, counting detections of at least the confidence of the scores: of boxes, or of the label
            map if outlines are known. 1 for a picture without objects and detections.
    """

    name: str
    f1: float


class ObjectScores(Scores[ObjectPrediction]):
    """Accumulates the scores of predicted objects over pictures.

    Args:
        class_names: by class id; class 0 is the background.
        masks: whether outlines are scored as well.
        confidence: least confidence of the objects that count for precision, recall and the scores of label maps.
    """

    def __init__(self, class_names: Sequence[str], *, masks: bool, confidence: float = CONFIDENCE) -> None:
        self.class_names = tuple(class_names)
        self.masks = masks
        self.confidence = confidence
        self.coco = CocoScore(range(1, len(self.class_names)))
        self.voc = VocScore(range(1, len(self.class_names)))
        self.every = DetectionScore(confidence)
        self.outlined = InstanceScore()
        self.pictures: list[PictureResult] = []
        self.empty = self.false_alarms = 0
        self.kinds: Counter[str] = Counter()

    @property
    def headlines(self) -> Sequence[Headline]:
        return (MASK_AP50, MASK_AP, AP50, AP) if self.masks else (AP50, AP)

    def update(self, prediction: ObjectPrediction, sample: Sample) -> None:
        objects = Instances.none() if sample.instances is None else sample.instances
        true = found = hidden = None
        if self.masks and objects.ids is not None:
            true = _encoded_objects(objects)
            hidden = None if objects.ignored is None else _encoded_ignored(objects.ignored, objects.ids.shape)
            found = [self._encoded(prediction, number) for number in range(len(prediction))]
        self.coco.update(
            (objects.boxes, objects.classes, true),
            (prediction.boxes, prediction.classes, found),
            prediction.confidences,
            (prediction.image.shape[0], prediction.image.shape[1]),
            None if objects.ignored is None else (objects.ignored.boxes, objects.ignored.classes, hidden),
        )
        both = pairwise_iou(torch.from_numpy(prediction.boxes), torch.from_numpy(objects.boxes)).numpy()
        ignored = ignored_by(prediction, objects)
        self.voc.update(both, prediction.classes, prediction.confidences, objects.classes, ignored)
        every = DetectionScore(self.confidence)
        every.update(both, prediction.classes, prediction.confidences, objects.classes, ignored)
        self.every.merge(every)
        which = np.flatnonzero(prediction.confidences >= self.confidence)
        sure = prediction.select(which)
        kinds, hit = kinds_of_detections(
            both[which], sure.classes, sure.confidences, objects.classes, ignored.select(which)
        )
        self.kinds.update(kinds)
        self.kinds[MISSED] += int((~hit).sum())
        sure = sure.select(np.flatnonzero([kind != IGNORED for kind in kinds]))
        if not len(objects) and objects.ignored is None:
            self.empty += 1
            self.false_alarms += len(sure)
        value = every.f1()
        if self.masks and objects.ids is not None:
            ids = sure.label_map()
            shown = np.unique(ids[ids > 0]) - 1  # an object hidden by others has no pixel in the label map
            own = InstanceScore()
            own.update(ids, objects.ids, (sure.classes[shown], objects.classes[: objects.outlined]))
            self.outlined.merge(own)
            value = own.f1()
        self.pictures.append(PictureResult(sample.name, 1.0 if math.isnan(value) else value))

    def _encoded(self, prediction: ObjectPrediction, number: int) -> dict[str, Any]:
        assert prediction.masks is not None
        height, width = prediction.image.shape[:2]
        piece = prediction.masks[number]
        return encoded(piece.mask, (height, width), piece.top, piece.left)

    def merge(self, other: ObjectScores) -> None:
        self.coco.merge(other.coco)
        self.voc.merge(other.voc)
        self.every.merge(other.every)
        self.outlined.merge(other.outlined)
        self.pictures += other.pictures
        self.empty += other.empty
        self.false_alarms += other.false_alarms
        self.kinds.update(other.kinds)

    def values(self) -> dict[str, float]:
        found = self._coco()[0]
        return {headline.key: found[headline.key] for headline in self.headlines}

    def _coco(self) -> tuple[dict[str, float], dict[int, dict[str, float]]]:
        """COCO's average precisions by name, over all classes and per class; names for masks begin with `mask_`."""
        values: dict[str, float] = {}
        classes: dict[int, dict[str, float]] = {}
        for prefix, kind in (("", "bbox"), ("mask_", "segm"))[: 1 + self.masks]:
            overall, by_class = self.coco.evaluated(kind)
            values |= {f"{prefix}{name}": value for name, value in overall.items()}
            for class_id, (ap, ap50) in by_class.items():
                classes.setdefault(class_id, {}).update({f"{prefix}ap": ap, f"{prefix}ap50": ap50})
        return values, classes

    def summary(self, split: str) -> dict[str, Any]:
        overall, classes = self._coco()
        found = {
            **overall,
            "voc_ap50": self.voc.mean(),
            "voc_ap50_11_point": self.voc.mean("11-point"),
            "false_positives_per_empty_picture": self.false_alarms / self.empty if self.empty else math.nan,
        }
        values = {name: None if math.isnan(value) else value for name, value in found.items()}
        summary: dict[str, Any] = {"split": split, "pictures": len(self.pictures), **values}
        voc = self.voc.by_class()
        summary["classes"] = {
            self.class_names[class_id]: {**own, "voc_ap50": voc[class_id]} for class_id, own in classes.items()
        }
        summary["found"] = self.every.summary()
        summary["recommended"] = self.voc.recommended()
        summary["kinds"] = {kind: self.kinds[kind] for kind in (*KINDS, MISSED) if kind != IGNORED or self.kinds[kind]}
        if self.masks:
            summary["objects"] = self.outlined.summary()
        summary["definition"] = (
            f"over {counted(self.coco.objects, 'object', 'objects')} in "
            f"{counted(len(self.pictures), 'picture', 'pictures')} of the {split} split: ap and ap50 are "
            "COCO's (faster-coco-eval), voc_ap50 is the area under VOC's curve; precision, recall and false positives "
            f"are of detections with a confidence of {self.confidence:g} or more"
        )
        return summary

    def examples(self, each: int = 3) -> dict[str, list[PictureResult]]:
        """The few best, middle and worst pictures, each picture only once."""
        ranked = sorted(self.pictures, key=lambda picture: picture.f1, reverse=True)
        return best_middle_worst(ranked, each)


def ignored_by(prediction: ObjectPrediction, objects: Instances) -> Ignored:
    """How far detections overlap the crowds and difficult objects of a picture."""
    if objects.ignored is None:
        return Ignored.none(len(prediction))
    found, there = torch.from_numpy(prediction.boxes), torch.from_numpy(objects.ignored.boxes)
    crowd = objects.ignored.crowd if objects.ignored.crowd is not None else np.zeros(len(there), bool)
    shares = intersection(found[:, None], there[None]) / area(found).clamp_min(SMALLEST)[:, None]
    overlaps = np.where(crowd[None], shares.numpy(), pairwise_iou(found, there).numpy())
    return Ignored(overlaps, objects.ignored.classes, crowd)


def _encoded_ignored(ignored: Instances, size: tuple[int, ...]) -> list[dict[str, Any]]:
    """The run lengths of ignored objects; objects without an outline are encoded as their boxes."""
    height, width = size
    found = [] if ignored.ids is None else _encoded_objects(ignored)[: ignored.outlined]
    for left, top, right, bottom in np.rint(ignored.boxes[len(found) :]).astype(int).tolist():
        found.append(encoded(np.ones((bottom - top, right - left), bool), (height, width), top, left))
    return found


def _encoded_objects(objects: Instances) -> list[dict[str, Any]]:
    """The run lengths of true objects; each object's pixels are searched only inside its box."""
    assert objects.ids is not None
    height, width = objects.ids.shape
    found = []
    for number, (left, top, right, bottom) in enumerate(objects.boxes.tolist()):
        top, left = math.floor(top), math.floor(left)
        part = objects.ids[top : math.ceil(bottom), left : math.ceil(right)] == number + 1
        found.append(encoded(part, (height, width), top, left))
    return found
