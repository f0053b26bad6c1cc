"""A split measured: equal to counting by hand, and the pictures that are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelwise.data.dataset import Dataset
from pixelwise.data.formats import open_dataset
from pixelwise.data.pictures import PictureFormat
from pixelwise.data.sample import Instances, Sample
from pixelwise.data.scenes import CLASS_NAMES, write_coco_scenes
from pixelwise.errors import UserError
from pixelwise.inference.predictor import Inference, Predictor, Progress, Written
from pixelwise.inference.rasters import Picture, Raster
from pixelwise.models.spec import ModelSpec
from pixelwise.tasks.evaluation import Evaluation
from pixelwise.tasks.segment.inference import SegmentOptions, SegmentPrediction
from pixelwise.tasks.segment.scores import PictureScore, SegmentScores
from pixelwise.tasks.segment.task import Segment
from pixelwise.training.finish import evaluate_split
from tiny_dense import near, segment_predictor


def spec_of(class_names: Sequence[str]) -> ModelSpec:
    return ModelSpec("near", {}, tuple(class_names), PictureFormat(), (128.0,) * 3, (64.0,) * 3)


def predictor(classes: int = 11) -> Predictor[SegmentPrediction]:
    return segment_predictor(near(num_classes=classes), spec_of(CLASS_NAMES[:classes]))


def evaluated(
    predict: Predictor[Any], dataset: Dataset, split: str = "val", *, instances: str | None = None
) -> Evaluation:
    task = Segment()
    options = task.evaluation_options(dataset, SegmentOptions(instances=instances))
    return evaluate_split(predict, task, dataset, split, dataset.root, options)


def test_equals_counting_by_hand(scenes_folder: Path) -> None:
    dataset = open_dataset(scenes_folder)
    predict = predictor()
    result = evaluated(predict, dataset)
    right = total = 0
    counts = np.zeros((11, 11), int)
    for record in dataset.split("val"):
        sample = dataset.load(record)
        assert sample.mask is not None
        mask = predict(sample.image).mask
        right, total = right + int((mask == sample.mask).sum()), total + mask.size
        np.add.at(counts, (sample.mask.ravel(), mask.ravel()), 1)
    assert result.summary["pixel_accuracy"] == pytest.approx(right / total)
    assert result.scores.confusion.counts.tolist() == counts.tolist()
    assert result.summary["pictures"] == 4
    assert [picture.name for picture in result.scores.pictures] == [record.name for record in dataset.split("val")]
    shown = [picture.mean_iou for picture in result.scores.examples()]
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == 4


def test_other_classes_and_empty_splits_are_sentences(scenes_folder: Path) -> None:
    dataset = open_dataset(scenes_folder)
    with pytest.raises(UserError, match=r"the network's are background, 0, 1, which do not include '2', .*'9'"):
        evaluated(predictor(3), dataset)
    with pytest.raises(UserError, match="no labelled picture in the split 'none'"):
        evaluated(predictor(), replace(dataset, splits={"none": ()}), "none")


class Told(Inference[SegmentPrediction]):
    """Stands for a network that knows the masks, or shifts their classes by one."""

    def __init__(self, dataset: Dataset, shift: int) -> None:
        super().__init__(spec_of(dataset.class_names))
        samples = map(dataset.load, dataset.split("val"))
        self.answers = {sample.image.tobytes(): self._shifted(sample.mask, shift) for sample in samples}

    def _shifted(self, mask: np.ndarray | None, shift: int) -> np.ndarray:
        assert mask is not None
        return np.where(mask > 0, (mask - 1 + shift) % 10 + 1, 0).astype(np.uint8)

    def predict(self, raster: Raster, picture: Picture) -> SegmentPrediction:
        assert isinstance(picture, np.ndarray)
        mask = self.answers[picture.tobytes()]
        return SegmentPrediction(mask, self.spec.class_names, picture, None, np.full(mask.shape, 255, np.uint8))

    def write(self, file: Path, target: Path, progress: Progress) -> Written:
        raise NotImplementedError


def test_objects_of_several_classes(tmp_path: Path, scenes_folder: Path) -> None:
    write_coco_scenes(tmp_path / "coco", train=2, val=6, size=(64, 96), digits=(1, 1))
    dataset = open_dataset(tmp_path / "coco")
    right, wrong = (Predictor(Told(dataset, shift)) for shift in (0, 1))
    assert "objects" not in evaluated(right, dataset).summary
    found = evaluated(right, dataset, instances="components").summary["objects"]
    assert found["f1_50"] == found["dsb_score"] == 1.0
    assert found["true_objects"] == found["predicted_objects"] == 6
    mistaken = evaluated(wrong, dataset, instances="components").summary["objects"]
    assert (mistaken["f1_50"], mistaken["true_objects"], mistaken["predicted_objects"]) == (0.0, 6, 6)
    with pytest.raises(UserError, match="did you mean 'watershed'"):
        evaluated(right, dataset, instances="watersheds")
    with pytest.raises(UserError, match="not which object it belongs to"):
        evaluated(predictor(), open_dataset(scenes_folder), instances="components")


def test_the_best_way_to_tell_objects_apart_is_reported() -> None:
    rows, columns = np.indices((32, 64))
    ids = np.select([(rows - 16) ** 2 + (columns - centre) ** 2 < 120 for centre in (20, 40)], (1, 2)).astype(np.int32)
    mask = (ids > 0).astype(np.uint8)  # two discs that touch
    boxes = np.array([[9, 5, 31, 28], [29, 5, 52, 28]], np.float32)
    image = np.zeros((*mask.shape, 3), np.uint8)
    sample = Sample("discs", image, mask=mask, instances=Instances(boxes, np.array([1, 1]), ids))
    scores = SegmentScores(("background", "disc"), instances=("components", "watershed"))
    scores.update(SegmentPrediction(mask, scores.confusion.class_names, image, None, np.full_like(mask, 255)), sample)
    summary = scores.summary("val")
    assert summary["objects"]["separation"] == "watershed"
    assert summary["objects"]["predicted_objects"] == 2
    assert summary["objects_by_way"]["components"]["f1_50"] == pytest.approx(2 / 3)  # one disc is half of both
    assert summary["objects_by_way"]["watershed"]["f1_50"] == 1
    assert Segment().predict_flags(summary) == " --overlay --instances watershed"


@pytest.mark.parametrize("count", [1, 5, 9, 10, 40])
def test_examples_are_the_best_the_middle_and_the_worst_and_none_twice(count: int) -> None:
    scores = SegmentScores(("a", "b"))
    scores.pictures = [PictureScore(str(i), 1 - i / count) for i in range(count)]
    scores.pictures.append(PictureScore("void", float("nan")))
    names = [picture.name for picture in scores.examples()]
    assert len(set(names)) == len(names) == min(count, 9)
    assert "void" not in names
    assert names[0] == "0"
    assert names[-1] == str(count - 1)


def drawn(seed: int) -> tuple[SegmentPrediction, Sample]:
    """A random mask of 3 classes, an answer that is often right, and objects."""
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 3, (12, 17)).astype(np.uint8)
    mask[:2] = 255
    answer = np.where(rng.random(mask.shape) < 0.7, mask % 255, rng.integers(0, 3, mask.shape)).astype(np.uint8)
    confidence = rng.integers(0, 256, mask.shape).astype(np.uint8)
    image = np.zeros((*mask.shape, 3), np.uint8)
    return SegmentPrediction(answer, ("a", "b", "c"), image, None, confidence), Sample(str(seed), image, mask=mask)


@pytest.mark.parametrize("thorough", [True, False])
def test_parts_merge_to_one_pass(thorough: bool) -> None:
    whole, first, second = (SegmentScores(("a", "b", "c"), thorough=thorough) for _ in range(3))
    for seed in range(7):
        pair = drawn(seed)
        whole.update(*pair)
        (first if seed < 3 else second).update(*pair)
    assert first.values() != whole.values()
    first.merge(second)
    assert first.values() == whole.values()
    assert first.pictures == whole.pictures
    if thorough:
        assert first.summary("val") == whole.summary("val")


def test_objects_merge_to_one_pass(tmp_path: Path) -> None:
    write_coco_scenes(tmp_path / "coco", train=2, val=4, size=(64, 96), digits=(1, 3))
    dataset = open_dataset(tmp_path / "coco")
    told = Told(dataset, 0)
    whole, first, second = (SegmentScores(dataset.class_names, instances=("components", "watershed")) for _ in range(3))
    for number, sample in enumerate(map(dataset.load, dataset.split("val"))):
        prediction = told.measured([sample.image])[0]
        whole.update(prediction, sample)
        (first if number < 1 else second).update(prediction, sample)
    first.merge(second)
    assert first.summary("val") == whole.summary("val")
    assert whole.summary("val")["objects"]["true_objects"] > 4
