"""COCO's average precision of boxes and of masks, computed by faster-coco-eval.

A detection is right if its IoU with an object of its class reaches a threshold and no more confident detection is
matched to that object. The average precision of a class is the mean precision over 101 values of recall. `ap` is its
mean over the thresholds 0.5, 0.55, ... 0.95 and over the classes that have an object (Lin et al., ECCV 2014;
cocodataset.org, "Detection evaluation"). All pictures are counted together, including those without objects. All
detections of a picture count, whereas COCO's own tools take the 100 most confident.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Literal

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask as rle

NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
"""The first six numbers of COCO's summary. Objects are small below 32 x 32 pixels and large from 96 x 96 pixels on."""
MAX_DETECTIONS = 100
"""Detections per picture that COCO's own tools count. Here all count if a picture has more."""


@dataclass
class CocoScore:
    """Collects true and predicted objects picture by picture.

    Attributes:
        classes: ids of the classes that are scored.
    """

    classes: Sequence[int]
    objects: int = 0
    _sizes: list[tuple[int, int]] = field(default_factory=list)
    _true: list[dict[str, Any]] = field(default_factory=list)
    _found: list[dict[str, Any]] = field(default_factory=list)

    @property
    def pictures(self) -> int:
        return len(self._sizes)

    def update(
        self,
        true: tuple[np.ndarray, np.ndarray, Sequence[Mapping[str, Any]] | None],
        found: tuple[np.ndarray, np.ndarray, Sequence[Mapping[str, Any]] | None],
        scores: np.ndarray,
        size: tuple[int, int],
        ignored: tuple[np.ndarray, np.ndarray, Sequence[Mapping[str, Any]] | None] | None = None,
    ) -> None:
        """Adds one picture.

        Args:
            true, found: boxes (N, 4) xyxy in pixels, class ids (N,), and run lengths of masks (`encoded`), or None
                if there are only boxes.
            scores: (M,) confidences of the boxes that were found.
            size: height and width of the picture.
            ignored: crowds and difficult objects, in the same form as `true`. A detection of the same class is neither
                right nor wrong if the share of its area on an ignored object exceeds the IoU threshold, as with COCO's
                `iscrowd`.
        """
        self._sizes.append(size)
        self.objects += len(true[0])
        self._true += self._entries(*true)
        if ignored is not None:
            self._true += ({**entry, "iscrowd": 1} for entry in self._entries(*ignored))
        entries = self._entries(*found)
        for entry, score in zip(entries, scores.tolist(), strict=True):
            entry["score"] = score
        self._found += entries

    def _entries(
        self, boxes: np.ndarray, classes: np.ndarray, masks: Sequence[Mapping[str, Any]] | None
    ) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        for number, ((left, top, right, bottom), class_id) in enumerate(
            zip(boxes.tolist(), classes.tolist(), strict=True)
        ):
            width, height = max(right - left, 0.0), max(bottom - top, 0.0)
            entry = {"image_id": self.pictures, "category_id": class_id, "bbox": [left, top, width, height]}
            entry |= {"area": width * height, "iscrowd": 0}
            if masks is not None:
                entry |= {"segmentation": masks[number], "area": float(rle.area(masks[number]))}
            entries.append(entry)
        return entries

    def merge(self, other: CocoScore) -> None:
        """Adds the pictures that another accumulator has counted."""
        moved = ({**entry, "image_id": entry["image_id"] + self.pictures} for entry in other._true)
        self._true += moved
        self._found += ({**entry, "image_id": entry["image_id"] + self.pictures} for entry in other._found)
        self._sizes += other._sizes
        self.objects += other.objects

    def average_precision(self, kind: Literal["bbox", "segm"] = "bbox") -> dict[str, float]:
        """The scores in `NAMES` by name; NaN for a score to which no object belongs."""
        return self.evaluated(kind)[0]

    def by_class(self, kind: Literal["bbox", "segm"] = "bbox") -> dict[int, tuple[float, float]]:
        """`ap` and `ap50` of each class that has an object."""
        return self.evaluated(kind)[1]

    def evaluated(self, kind: str) -> tuple[dict[str, float], dict[int, tuple[float, float]]]:
        """`average_precision` and `by_class`, from a single evaluation."""
        if not self.objects:
            return dict.fromkeys(NAMES, math.nan), {}
        if not self._found:
            present = sorted({entry["category_id"] for entry in self._true if not entry["iscrowd"]})
            return dict.fromkeys(NAMES, 0.0), dict.fromkeys(present, (0.0, 0.0))
        with redirect_stdout(StringIO()):  # the library prints its progress
            truth = COCO()
            truth.dataset = {
                "images": [
                    {"id": number, "height": height, "width": width}
                    for number, (height, width) in enumerate(self._sizes, start=1)
                ],
                "categories": [{"id": class_id, "name": str(class_id)} for class_id in self.classes],
                "annotations": [{**entry, "id": number} for number, entry in enumerate(self._true, start=1)],
            }
            truth.createIndex()
            found = truth.loadRes([dict(entry) for entry in self._found])
            evaluation = COCOeval_faster(truth, found, kind, print_function=lambda *_: None)
            most = max(Counter(entry["image_id"] for entry in self._found).values())
            evaluation.params.maxDets = [1, 10, max(MAX_DETECTIONS, most)]
            evaluation.run()
        # (thresholds, recalls, classes, areas, limits on detections), -1 where there is no object.
        precision = np.where(evaluation.eval["precision"] < 0, np.nan, evaluation.eval["precision"])[..., -1]
        values = {
            name: _mean(part)
            for name, part in zip(
                NAMES,
                (
                    precision[..., 0],
                    precision[0, ..., 0],
                    precision[5, ..., 0],
                    *(precision[..., k] for k in (1, 2, 3)),
                ),
                strict=True,
            )
        }
        classes = {
            class_id: (_mean(precision[:, :, number, 0]), _mean(precision[0, :, number, 0]))
            for number, class_id in enumerate(evaluation.params.catIds)
            if not np.isnan(precision[0, :, number, 0]).all()
        }
        return values, classes


def encoded(mask: np.ndarray, size: tuple[int, int] | None = None, top: int = 0, left: int = 0) -> dict[str, Any]:
    """(h, w) bool -> run lengths along the columns, in the compressed form of COCO's tools.

    Args:
        size: height and width of the picture that the mask is a part of; None if the mask covers the whole picture. No
            array as large as the picture is allocated.
        top, left: row and column of the picture at which the mask begins.
    """
    height, width = size or mask.shape
    columns, rows = np.nonzero(mask.T)
    positions = (left + columns) * height + top + rows  # flat indices of the mask's pixels, in the order of the runs
    ends = np.flatnonzero(np.diff(positions) > 1)
    begins = positions[np.append(0, ends + 1)] if len(positions) else positions
    stops = positions[np.append(ends, len(positions) - 1)] + 1 if len(positions) else positions
    edges = np.stack([begins, stops], 1).ravel()
    counts = np.diff(edges, prepend=0, append=height * width)
    return dict(rle.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width))


def _mean(values: np.ndarray) -> float:
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if kept.size else math.nan
