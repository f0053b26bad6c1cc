"""Boxes measured on whole pictures: against answers that are known to be right, late, or wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pixelwise.data.dataset import Dataset
from pixelwise.data.formats import open_dataset
from pixelwise.data.objects import box_areas, largest_first
from pixelwise.data.sample import Instances, Sample
from pixelwise.data.scenes import write_coco_scenes
from pixelwise.errors import UserError
from pixelwise.inference.predictor import Inference, Predictor, Progress, Written
from pixelwise.inference.rasters import Picture, Raster
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.boxes import iou
from pixelwise.tasks.detect.inference import BoxPrediction
from pixelwise.tasks.detect.merging import Localised, ScoredBoxes
from pixelwise.tasks.detect.scores import BoxAnswer, BoxScores
from pixelwise.tasks.detect.task import Detect, WholePictures, Windows
from pixelwise.tasks.evaluation import Evaluation
from pixelwise.training.finish import evaluate_split

Answer = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
NOTHING = ScoredBoxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0))
SEARCHED = Localised((), NOTHING, NOTHING)
"""Marks an answer as that of a network that looked for all objects."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data") / "coco"
    write_coco_scenes(folder, train=2, val=5, size=(64, 96), digits=(2, 3))
    return open_dataset(folder)


class Known(Inference[BoxPrediction]):
    """Answers made from the objects (boxes, classes) of each picture."""

    def __init__(self, dataset: Dataset, answer: Answer, searches: bool = True, confidence: float = 0.5) -> None:
        notes = {"confidence": confidence}
        super().__init__(ModelSpec("known", {}, dataset.class_names, dataset.form, (0.0,), (1.0,), notes=notes))
        self.answer, self.steps = answer, SEARCHED if searches else None
        self.known = [dataset.load(record) for record in dataset.records]

    def predict(self, raster: Raster, picture: Picture) -> BoxPrediction:
        for sample in self.known:
            if np.array_equal(sample.image, picture):
                objects = sample.instances or Instances(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
                return BoxPrediction(
                    *self.answer(objects.boxes, objects.classes), self.spec.class_names, sample.image, self.steps
                )
        raise AssertionError("unknown picture")

    def write(self, file: Path, target: Path, progress: Progress) -> Written:
        raise NotImplementedError


def measured(dataset: Dataset, answer: Answer, *, searches: bool = True, confidence: float = 0.5) -> Evaluation:
    task: Detect = Windows() if searches else WholePictures()
    return evaluate_split(Predictor(Known(dataset, answer, searches, confidence)), task, dataset, "val", dataset.root)


def by_size(boxes: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.argsort(-box_areas(boxes), kind="stable")
    return boxes[order], classes[order], np.linspace(1, 0.6, len(boxes), dtype=np.float32)


def test_the_truth_is_perfect(dataset: Dataset) -> None:
    result = measured(dataset, by_size)
    assert (result.summary["accuracy"], result.summary["box_iou"], result.summary["localised"]) == (1, 1, 1)
    assert (result.summary["objects"]["precision"], result.summary["objects"]["recall"]) == (1, 1)
    assert result.summary["pictures"] == result.summary["pictures_with_object"] == 5
    assert result.scores.calibration is None
    assert int(result.scores.confusion.counts.diagonal().sum()) == 5


def test_the_surest_answer_names_the_picture_and_all_objects_are_counted(dataset: Dataset) -> None:
    """The largest object last: found all the same, but the picture is named by another one unless that is alike."""

    def late(boxes: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        best, ids, confidences = by_size(boxes, classes)
        return best[::-1].copy(), ids[::-1].copy(), confidences

    result = measured(dataset, late)
    alike, overlaps = [], []
    for sample in map(dataset.load, dataset.split("val")):
        assert sample.instances is not None
        order = np.argsort(-box_areas(sample.instances.boxes), kind="stable")
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
    assert result.scores.calibration is not None
    assert result.summary["expected_calibration_error"] == pytest.approx(0, abs=1e-6)  # sure of it, and right
    assert "objects" not in result.summary

    def nothing(boxes: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return boxes[:0], classes[:0], np.zeros(0, np.float32)

    none = measured(dataset, nothing).summary
    assert (none["accuracy"], none["box_iou"], none["localised"]) == (0, 0, 0)
    assert none["objects"]["precision"] is None


def test_pictures_that_tell_most() -> None:
    scores = BoxScores(("background", "a"))
    scores.pictures = [BoxAnswer(str(i), overlap, True) for i, overlap in enumerate((*np.linspace(1, 0, 12), np.nan))]
    groups = scores.examples()
    assert {title: len(some) for title, some in groups.items()} == {"Best": 3, "Middle": 3, "Worst": 3}
    assert groups["Worst"][-1].overlap == 0
    scores.pictures = scores.pictures[:4]
    assert list(scores.examples()) == ["Examples"]
    scores.pictures = [BoxAnswer("none", float("nan"), False)]
    assert not scores.examples()


def test_data_without_objects_is_refused(scenes_folder: Path) -> None:
    masks = open_dataset(scenes_folder)

    def nothing(boxes: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return boxes[:0], classes[:0], np.zeros(0, np.float32)

    with pytest.raises(UserError, match="the pictures of the split 'val' have no objects"):
        measured(masks, nothing)


NAMES = ("background", "a", "b", "c")


def random_pair(seed: int) -> tuple[BoxPrediction, Sample]:
    """A picture with up to three objects, one in four without any, and boxes near them; most classes are right."""
    rng = np.random.default_rng(seed)
    image = np.zeros((20, 30, 3), np.uint8)
    count = seed % 4
    low = rng.uniform(0, 10, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(4, 9, (count, 2))], 1).astype(np.float32)
    classes = rng.integers(1, 4, count)
    guesses = np.where(rng.random(count) < 0.6, classes, rng.integers(1, 4, count))
    moved = (boxes + rng.uniform(-1.5, 1.5, boxes.shape)).astype(np.float32)
    if not count:
        moved, guesses = np.array([[1, 1, 5, 5]], np.float32), np.array([2])
    confidences = np.sort(rng.uniform(0.2, 1, len(moved)))[::-1].astype(np.float32)
    prediction = BoxPrediction(moved, guesses, confidences, NAMES, image)
    return prediction, largest_first(Sample(str(seed), image, instances=Instances(boxes, classes)))


@pytest.mark.parametrize("options", [{}, {"confidence": 0.5}, {"terms": {"box_l2": 1.0}}])
def test_parts_merge_to_one_pass(options: dict[str, Any]) -> None:
    whole, first, second = (BoxScores(NAMES, **options) for _ in range(3))
    for seed in range(12):
        whole.update(*random_pair(seed))
        (first if seed < 5 else second).update(*random_pair(seed))
    assert first.values() != whole.values()
    first.merge(second)
    assert first.values() == whole.values()
    assert str(first.pictures) == str(whole.pictures)  # NaN is not equal to itself
    assert first.summary("val") == whole.summary("val")


@pytest.mark.parametrize(
    ("terms", "keys"),
    [
        (None, ["localised", "box_iou", "accuracy"]),
        ({"cross_entropy": 1.0, "box_l2": 0.5}, ["localised", "box_iou", "accuracy"]),
        ({"box_l2": 1.0}, ["box_iou", "accuracy", "localised"]),
        ({"focal": 1.0}, ["accuracy"]),
    ],
)
def test_the_terms_of_the_loss_decide_which_score_comes_first(
    terms: dict[str, float] | None, keys: Sequence[str]
) -> None:
    scores = BoxScores(NAMES, terms=terms)
    scores.update(*random_pair(1))
    assert [headline.key for headline in scores.headlines] == list(keys)
    assert set(scores.values()) == set(keys)
