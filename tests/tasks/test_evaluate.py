"""A split measured: equal to counting by hand, and the pictures that are shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from tiny_dense import near

from pixelwise.data.dataset import Dataset, Record
from pixelwise.data.formats import open_dataset
from pixelwise.data.pictures import PictureFormat
from pixelwise.data.scenes import write_coco_scenes
from pixelwise.errors import UserError
from pixelwise.inference.evaluate import PictureScore, evaluate_split, telling
from pixelwise.inference.predictor import Predictor
from pixelwise.models.spec import ModelSpec


def predictor(classes: int = 11) -> Predictor:
    names = tuple(str(k) for k in range(classes))
    spec = ModelSpec("near", {}, names, PictureFormat(), (128.0,) * 3, (64.0,) * 3)
    return Predictor(near(num_classes=classes), spec, precision="float32")


def test_equals_counting_by_hand(scenes_folder: Path) -> None:
    dataset = open_dataset(scenes_folder)
    predict = predictor()
    result = evaluate_split(predict, dataset, "val")
    right = total = 0
    counts = np.zeros((11, 11), int)
    for record in dataset.split("val"):
        sample = dataset.load(record)
        assert sample.mask is not None
        mask = predict(sample.image).mask
        right, total = right + int((mask == sample.mask).sum()), total + mask.size
        np.add.at(counts, (sample.mask.ravel(), mask.ravel()), 1)
    assert result.summary["pixel_accuracy"] == pytest.approx(right / total)
    assert result.confusion.counts.tolist() == counts.tolist()
    assert result.summary["pictures"] == 4
    scores = [picture.mean_iou for picture in result.pictures]
    assert scores == sorted(scores, reverse=True)


def test_other_classes_and_empty_splits_are_sentences(scenes_folder: Path) -> None:
    dataset = open_dataset(scenes_folder)
    with pytest.raises(UserError, match=r"11 classes.*knows 3"):
        evaluate_split(predictor(3), dataset)
    turned = replace(dataset, class_names=tuple(str(k) for k in reversed(range(11))))
    with pytest.raises(UserError, match="so ids differ"):
        evaluate_split(predictor(), turned)
    with pytest.raises(UserError, match="no labelled picture in the split 'none'"):
        evaluate_split(predictor(), replace(dataset, splits={"none": ()}), "none")


class Told:
    """Stands for a predictor that knows the masks, or shifts their classes by one."""

    def __init__(self, dataset: Dataset, shift: int) -> None:
        self.class_names = dataset.class_names
        samples = map(dataset.load, dataset.split("val"))
        self.answers = {sample.image.tobytes(): self._shifted(sample.mask, shift) for sample in samples}

    def _shifted(self, mask: np.ndarray | None, shift: int) -> np.ndarray:
        assert mask is not None
        return np.where(mask > 0, (mask - 1 + shift) % 10 + 1, 0).astype(np.uint8)

    def __call__(self, image: np.ndarray) -> SimpleNamespace:
        mask = self.answers[image.tobytes()]
        return SimpleNamespace(mask=mask, confidence=np.ones(mask.shape, np.float32))


def test_objects_of_several_classes(tmp_path: Path, scenes_folder: Path) -> None:
    write_coco_scenes(tmp_path / "coco", train=2, val=6, size=(64, 96), digits=(1, 1))
    dataset = open_dataset(tmp_path / "coco")
    right, wrong = (cast(Predictor, Told(dataset, shift)) for shift in (0, 1))
    assert "objects" not in evaluate_split(right, dataset).summary
    found = evaluate_split(right, dataset, instances="components").summary["objects"]
    assert found["f1_50"] == found["dsb_score"] == 1.0
    assert found["true_objects"] == found["predicted_objects"] == 6
    mistaken = evaluate_split(wrong, dataset, instances="components").summary["objects"]
    assert (mistaken["f1_50"], mistaken["true_objects"], mistaken["predicted_objects"]) == (0.0, 6, 6)
    with pytest.raises(UserError, match="not which objects there are"):
        evaluate_split(predictor(), open_dataset(scenes_folder), instances="components")


@pytest.mark.parametrize("count", [1, 5, 9, 10, 40])
def test_examples_are_the_best_the_middle_and_the_worst_and_none_twice(count: int) -> None:
    ranking = [PictureScore(Record(str(i), Path(str(i))), 1 - i / count) for i in range(count)]
    shown = telling([*ranking, PictureScore(Record("void", Path("v")), float("nan"))])
    names = [picture.record.name for picture in shown]
    assert len(set(names)) == len(names) == min(count, 9)
    assert "void" not in names
    assert names[0] == "0"
    assert names[-1] == str(count - 1)
