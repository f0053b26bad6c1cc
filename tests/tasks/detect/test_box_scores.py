"""Boxes measured on whole pictures: against answers that are known to be right, late, or wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pixelwise.data.dataset import Dataset
from pixelwise.data.formats import open_dataset
from pixelwise.data.objects import area
from pixelwise.data.scenes import write_coco_scenes
from pixelwise.errors import UserError
from pixelwise.inference.box_predictor import BoxPrediction
from pixelwise.inference.evaluate_boxes import BoxAnswer, BoxEvaluation, evaluate_boxes, telling_boxes
from pixelwise.nn.boxes import iou

Answer = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data") / "coco"
    write_coco_scenes(folder, train=2, val=5, size=(64, 96), digits=(2, 3))
    return open_dataset(folder)


@dataclass
class Known:
    """Answers made from the objects (boxes, classes) of each picture."""

    dataset: Dataset
    answer: Answer
    searches: bool = True
    confidence: float = 0.5

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.dataset.class_names

    def candidates(self, image: np.ndarray) -> BoxPrediction:
        for sample in map(self.dataset.load, self.dataset.records):
            if np.array_equal(sample.image, image):
                assert sample.instances is not None
                boxes, classes, confidences = self.answer(sample.instances.boxes, sample.instances.classes)
                return BoxPrediction(boxes, classes, confidences, self.class_names, image)
        raise AssertionError("unknown picture")


def measured(dataset: Dataset, answer: Answer, **options: Any) -> BoxEvaluation:
    return evaluate_boxes(Known(dataset, answer, **options), dataset)  # type: ignore[arg-type]


def by_size(boxes: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.argsort(-area(boxes), kind="stable")
    return boxes[order], classes[order], np.linspace(1, 0.6, len(boxes), dtype=np.float32)


def test_the_truth_is_perfect(dataset: Dataset) -> None:
    result = measured(dataset, by_size)
    assert (result.summary["accuracy"], result.summary["box_iou"], result.summary["localised"]) == (1, 1, 1)
    assert (result.summary["objects"]["precision"], result.summary["objects"]["recall"]) == (1, 1)
    assert result.summary["pictures"] == result.summary["pictures_with_object"] == 5
    assert result.calibration is None
    assert int(result.confusion.counts.diagonal().sum()) == 5


def test_the_surest_answer_names_the_picture_and_all_objects_are_counted(dataset: Dataset) -> None:
    """The largest object last: found all the same, but the picture is named by another one unless that is alike."""

    def late(boxes: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        best, ids, confidences = by_size(boxes, classes)
        return best[::-1].copy(), ids[::-1].copy(), confidences

    result = measured(dataset, late)
    alike, overlaps = [], []
    for sample in map(dataset.load, dataset.split("val")):
        assert sample.instances is not None
        order = np.argsort(-area(sample.instances.boxes), kind="stable")
        boxes, classes = sample.instances.boxes[order], sample.instances.classes[order]
        alike.append(classes[0] == classes[-1])
        surest = boxes[np.flatnonzero(classes == classes[0])[-1]]  # of the largest object's class
        overlaps.append(float(iou(torch.from_numpy(surest), torch.from_numpy(boxes[0]))))
    assert result.summary["accuracy"] == pytest.approx(np.mean(alike))
    assert result.summary["box_iou"] == pytest.approx(np.mean(overlaps), abs=1e-5)
    assert result.summary["objects"]["recall"] == 1


def test_confidence_cuts_boxes_off(dataset: Dataset) -> None:
    def unsure(boxes: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        best, ids, _ = by_size(boxes, classes)
        return best, ids, np.array([0.9, *[0.4] * (len(boxes) - 1)], np.float32)

    objects = measured(dataset, unsure).summary["objects"]
    assert (objects["boxes"], objects["right"], objects["precision"]) == (5, 5, 1)
    assert objects["recall"] == pytest.approx(5 / objects["objects"])
    assert measured(dataset, unsure, confidence=0.3).summary["objects"]["recall"] == 1


def test_shifted_boxes_and_no_boxes(dataset: Dataset) -> None:
    def shifted(boxes: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        best, ids, confidences = by_size(boxes, classes)
        wide = (best[:, 2] - best[:, 0]) / 2
        return best + np.stack([wide, 0 * wide, wide, 0 * wide], 1), ids, confidences  # half beside: IoU 1 / 3

    result = measured(dataset, shifted, searches=False)
    assert result.summary["box_iou"] == pytest.approx(1 / 3, abs=1e-5)
    assert result.summary["localised"] == 0
    assert result.summary["accuracy"] == 1
    assert result.calibration is not None
    assert result.summary["expected_calibration_error"] == pytest.approx(0, abs=1e-6)  # sure of it, and right
    assert "objects" not in result.summary

    def nothing(boxes: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return boxes[:0], classes[:0], np.zeros(0, np.float32)

    none = measured(dataset, nothing).summary
    assert (none["accuracy"], none["box_iou"], none["localised"]) == (0, 0, 0)
    assert none["objects"]["precision"] is None


def test_pictures_that_tell_most(dataset: Dataset, tmp_path: Path) -> None:
    record = dataset.records[0]
    answers = tuple(BoxAnswer(record, overlap, True) for overlap in (*np.linspace(1, 0, 12), np.nan))
    groups = telling_boxes(answers)
    assert {title: len(some) for title, some in groups.items()} == {"Best": 3, "Middle": 3, "Worst": 3}
    assert groups["Worst"][-1].overlap == 0
    assert list(telling_boxes(answers[:4])) == ["Examples"]
    assert not telling_boxes(answers[-1:])


def test_data_without_objects_is_refused(scenes_folder: Path, dataset: Dataset) -> None:
    masks = open_dataset(scenes_folder)

    def nothing(boxes: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return boxes, classes, np.zeros(0, np.float32)

    class Blind(Known):
        def candidates(self, image: np.ndarray) -> BoxPrediction:
            none = np.zeros(0, np.int64)
            return BoxPrediction(np.zeros((0, 4), np.float32), none, none.astype(np.float32), self.class_names, image)

    with pytest.raises(UserError, match="no object in the pictures of the split 'val'"):
        evaluate_boxes(Blind(masks, nothing), masks)  # type: ignore[arg-type]
