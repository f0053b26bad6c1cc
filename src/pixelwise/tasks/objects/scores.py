"""How many objects were found, how well placed and how well outlined."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pixelwise.data.sample import Instances, Sample
from pixelwise.metrics.average_precision import VocScore
from pixelwise.metrics.coco import CocoScore, encoded
from pixelwise.metrics.detection_errors import KINDS, kinds_of_detections
from pixelwise.metrics.headline import Headline
from pixelwise.metrics.instances import InstanceScore
from pixelwise.metrics.localisation import DetectionScore
from pixelwise.nn.boxes import pairwise_iou
from pixelwise.tasks.base import Scores
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
    definition="As the AP at an IoU of 0.5, with the IoU of masks in place of that of boxes.",
)
MASK_AP = Headline(
    "mask_ap",
    "mask AP",
    definition="As AP, with the IoU of masks in place of that of boxes.",
)

MISSED = "missed"
"""Of an object: no detection with the confidence that counts is on it."""


@dataclass(frozen=True, slots=True)
class PictureResult:
    """How well the objects of one picture were found.

    Attributes:
        f1: of its objects at an IoU of 0.5 of the boxes and the confidence that counts; 1 where there was nothing and
            nothing was found.
    """

    name: str
    f1: float


class ObjectScores(Scores[ObjectPrediction]):
    """Counts objects by whether they were found.

    Args:
        class_names: by class id; class 0 is the background.
        masks: whether outlines are scored as well.
        confidence: from which objects count for precision, recall and the scores of label maps.
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
        objects = sample.instances or Instances(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
        true = found = None
        if self.masks and objects.ids is not None:
            true = _encoded_objects(objects)
            found = [self._encoded(prediction, number) for number in range(len(prediction))]
        self.coco.update(
            (objects.boxes, objects.classes, true),
            (prediction.boxes, prediction.classes, found),
            prediction.confidences,
            (prediction.image.shape[0], prediction.image.shape[1]),
        )
        both = pairwise_iou(torch.from_numpy(prediction.boxes), torch.from_numpy(objects.boxes)).numpy()
        self.voc.update(both, prediction.classes, prediction.confidences, objects.classes)
        every = DetectionScore(self.confidence)
        every.update(both, prediction.classes, prediction.confidences, objects.classes)
        self.every.merge(every)
        which = np.flatnonzero(prediction.confidences >= self.confidence)
        sure = prediction.select(which)
        kinds, hit = kinds_of_detections(both[which], sure.classes, sure.confidences, objects.classes)
        self.kinds.update(kinds)
        self.kinds[MISSED] += int((~hit).sum())
        if not len(objects):
            self.empty += 1
            self.false_alarms += len(sure)
        value = every.f1()
        if self.masks and objects.ids is not None:
            ids = sure.label_map()
            shown = np.unique(ids[ids > 0]) - 1  # an object that others hide has no pixel in the map
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
        """COCO's average precisions by name, over all classes and of each; those of masks begin with `mask_`."""
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
        summary["kinds"] = {kind: self.kinds[kind] for kind in (*KINDS, MISSED)}
        if self.masks:
            summary["objects"] = self.outlined.summary()
        summary["definition"] = (
            f"over {self.coco.objects} objects in {len(self.pictures)} pictures of the {split} split: ap and ap50 are "
            "COCO's (faster-coco-eval), voc_ap50 is the area under VOC's curve; precision, recall and false positives "
            f"are of detections with a confidence of {self.confidence:g} or more"
        )
        return summary

    def telling(self, each: int = 3) -> dict[str, list[PictureResult]]:
        """The best, the middle and the worst few pictures, none twice."""
        ranked = sorted(self.pictures, key=lambda picture: picture.f1, reverse=True)
        return best_middle_worst(ranked, each)


def _encoded_objects(objects: Instances) -> list[dict[str, Any]]:
    """The run lengths of true objects, each looked for within its own box alone."""
    assert objects.ids is not None
    height, width = objects.ids.shape
    found = []
    for number, (left, top, right, bottom) in enumerate(objects.boxes.tolist()):
        top, left = math.floor(top), math.floor(left)
        part = objects.ids[top : math.ceil(bottom), left : math.ceil(right)] == number + 1
        found.append(encoded(part, (height, width), top, left))
    return found
