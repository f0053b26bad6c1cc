"""From a folder to detections: training, scores, files, and pictures without objects."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as rle
from PIL import Image
from torch import Tensor

from pixelwise import api
from pixelwise.catalog import SYSTEMS
from pixelwise.data.objects import ObjectFacts
from pixelwise.data.pictures import PictureFormat
from pixelwise.data.regions import Patch
from pixelwise.data.sample import Instances, Sample
from pixelwise.data.scenes import write_coco_scenes
from pixelwise.errors import UserError
from pixelwise.inference.predictor import Predictor
from pixelwise.models.detect.detector import DetectionLimits, Detections
from pixelwise.models.detect.mask_rcnn import MaskRCNN
from pixelwise.models.spec import ModelSpec, read_spec
from pixelwise.tasks.objects.inference import ObjectInference, ObjectOptions, ObjectPrediction
from pixelwise.tasks.objects.scores import ObjectScores
from pixelwise.tasks.objects.task import ObjectCrops, anchor_sizes, objects_alone
from pixelwise.training.run import Run

NAMES = ("background", "a", "b")
SMALL = {
    "model.encoder": "mobilenet_v2", "model.weights": "none", "model.width": 16, "model.hidden": 32,
    "model.proposals": 50, "model.sampled": 32, "train.batch_size": 4, "train.validations": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("objects") / "coco"
    write_coco_scenes(folder, train=6, val=4, size=(64, 96), digits=(1, 3))
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("objects") / "run"
    return api.train("mask_rcnn", data=data, epochs=2, out=out, overrides=SMALL)


def test_a_run_has_scores_a_report_and_files(run: Run, data: Path, tmp_path: Path) -> None:
    metrics = run.metrics
    assert {"ap", "ap50", "ap75", "mask_ap", "mask_ap50", "classes", "found", "objects"} <= set(metrics)
    assert metrics["found"]["objects"] == metrics["objects"]["true_objects"]
    assert api.evaluate(run.path)["mask_ap50"] == metrics["mask_ap50"]
    assert "mask AP" in run.report.read_text()
    stored = read_spec(run.best).notes
    recommended = metrics["recommended"]
    assert stored.pop("crop") == list(run.planned.crop)
    assert stored == ({} if recommended is None else {"confidence": recommended["confidence"]})
    picture = next((data / "val").iterdir()) if (data / "val").is_dir() else next(data.rglob("*.png"))
    api.predict(run.path, [picture], out=tmp_path / "out", threshold=0.01, overlay=True, instances="masks")
    rows = list(csv.DictReader((tmp_path / "out" / "boxes.csv").open()))
    ids = np.asarray(Image.open(next((tmp_path / "out").glob("*_instances.png"))))
    assert ids.dtype == np.uint16
    assert ids.max() <= len(rows)
    with Image.open(picture) as opened:
        assert ids.shape == opened.size[::-1]
    written = json.loads((tmp_path / "out" / "objects.json").read_text())
    assert [image["file_name"] for image in written["images"]] == [picture.name]
    assert len(written["annotations"]) == len(rows)
    for entry, row in zip(written["annotations"], rows, strict=True):
        assert entry["score"] == pytest.approx(float(row["confidence"]), abs=1e-6)
        assert (entry["id"], entry["image_id"]) == (written["annotations"].index(entry) + 1, 1)
        mask = rle.decode({**entry["segmentation"], "counts": entry["segmentation"]["counts"].encode()})
        assert mask.shape == ids.shape
        assert mask.sum() == entry["area"] == int(row["pixels"])


def prediction(boxes: list[list[float]], classes: list[int], confidences: list[float]) -> ObjectPrediction:
    """Objects that fill their boxes, in a picture of 40 x 60."""
    pieces = []
    for left, top, right, bottom in boxes:
        pieces.append(Patch(int(top), int(left), np.ones((int(bottom - top), int(right - left)), bool)))
    return ObjectPrediction(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int64),
        np.array(confidences, np.float32),
        NAMES,
        np.zeros((40, 60, 3), np.uint8),
        tuple(pieces),
    )


def truth(boxes: list[list[int]], classes: list[int]) -> Sample:
    ids = np.zeros((40, 60), np.int32)
    for number, (left, top, right, bottom) in enumerate(boxes, start=1):
        ids[top:bottom, left:right] = number
    objects = Instances(np.array(boxes, np.float32).reshape(-1, 4), np.array(classes, np.int64), ids)
    return Sample("x", np.zeros((40, 60, 3), np.uint8), instances=objects)


def test_what_is_right_is_right_and_a_wrong_class_is_not() -> None:
    boxes = [[2, 3, 20, 30], [30, 5, 50, 25]]
    right, wrong = (ObjectScores(NAMES, masks=True) for _ in range(2))
    right.update(prediction(boxes, [1, 2], [0.9, 0.8]), truth(boxes, [1, 2]))
    wrong.update(prediction(boxes, [2, 1], [0.9, 0.8]), truth(boxes, [1, 2]))
    assert right.values() == pytest.approx({"mask_ap50": 1, "mask_ap": 1, "ap50": 1, "ap": 1})
    assert wrong.values() == {"mask_ap50": 0, "mask_ap": 0, "ap50": 0, "ap": 0}
    summary = right.summary("val")
    assert summary["found"]["precision"] == summary["found"]["recall"] == summary["objects"]["f1_50"] == 1
    assert json.loads(json.dumps(summary)) == summary
    assert summary["recommended"]["confidence"] == 0.8
    assert summary["kinds"] == {
        "right": 2, "doubled": 0, "wrong class": 0, "badly placed": 0, "background": 0, "missed": 0,
    }  # fmt: skip
    assert right.pictures[0].f1 == 1
    assert wrong.pictures[0].f1 == 0


def test_empty_pictures_count_and_break_nothing() -> None:
    scores = ObjectScores(NAMES, masks=True)
    scores.update(prediction([], [], []), truth([], []))
    assert scores.pictures[0].f1 == 1
    assert scores.summary("val")["ap50"] is None
    scores.update(prediction([[2, 3, 20, 30]], [1], [0.9]), truth([], []))
    scores.update(prediction([[2, 3, 20, 30]], [1], [0.8]), truth([[2, 3, 20, 30]], [1]))
    assert scores.values()["ap50"] == pytest.approx(0.5), "the more confident one is wrong"
    assert scores.summary("val")["voc_ap50"] == pytest.approx(0.5)
    assert scores.summary("val")["false_positives_per_empty_picture"] == 0.5


def test_what_is_on_a_crowd_or_a_difficult_object_counts_for_nothing() -> None:
    boxes = [[2, 3, 20, 30]]
    sample = truth(boxes, [1])
    hidden = truth([[30, 0, 60, 40]], [2]).instances
    assert sample.instances is not None
    assert hidden is not None
    crowd = replace(hidden, crowd=np.array([True]))
    plain, scores = ObjectScores(NAMES, masks=True), ObjectScores(NAMES, masks=True)
    found = prediction([*boxes, [32, 3, 40, 10], [45, 20, 55, 30]], [1, 2, 2], [0.6, 0.9, 0.8])
    for one, ignored in ((plain, None), (scores, crowd)):
        one.update(found, replace(sample, instances=replace(sample.instances, ignored=ignored)))
        one.update(prediction(boxes, [2], [0.7]), truth([[2, 3, 20, 30]], [2]))
        nothing = truth([], [])
        assert nothing.instances is not None
        one.update(
            prediction([[32, 3, 40, 10]], [2], [0.9]),
            replace(nothing, instances=replace(nothing.instances, ignored=ignored)),
        )
    assert scores.values() == pytest.approx({"mask_ap50": 1, "mask_ap": 1, "ap50": 1, "ap": 1})
    assert plain.values()["ap50"] < 0.7
    summary = scores.summary("val")
    assert summary["voc_ap50"] == 1
    assert summary["found"]["precision"] == summary["objects"]["f1_50"] == scores.pictures[0].f1 == 1
    assert summary["kinds"] | {"right": 2, "ignored": 3, "background": 0} == summary["kinds"]
    assert summary["false_positives_per_empty_picture"] is None
    assert plain.summary("val")["false_positives_per_empty_picture"] == 1


def test_parts_merge_to_one_pass() -> None:
    boxes = [[2, 3, 20, 30], [30, 5, 50, 25]]
    whole, first, second = (ObjectScores(NAMES, masks=True) for _ in range(3))
    for number in range(3):
        pair = (
            prediction(boxes[: number % 2 + 1], [1, 2][: number % 2 + 1], [0.9, 0.3][: number % 2 + 1]),
            truth(boxes, [1, 1 + number % 2]),
        )
        whole.update(*pair)
        (first if number < 1 else second).update(*pair)
    first.merge(second)
    assert first.summary("val") == whole.summary("val")


def test_hidden_objects_are_not_in_the_label_map() -> None:
    boxes = [[2, 3, 20, 30], [4, 5, 10, 10]]
    found = prediction(boxes, [1, 1], [0.9, 0.8])
    assert np.unique(found.label_map()).tolist() == [0, 1]
    scores = ObjectScores(NAMES, masks=True)
    scores.update(found, truth(boxes[:1], [1]))
    assert scores.summary("val")["objects"]["predicted_objects"] == 1


class Dots(MaskRCNN):
    """Detects the connected bright pixels of a picture, each region one object that fills its mask."""

    def forward(self, images: Tensor) -> list[Detections]:
        bright = (images[0, 0] > 0.5).numpy().astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(bright)
        boxes = stats[1:, [0, 1, 0, 1]] + np.pad(stats[1:, 2:4], ((0, 0), (2, 0)))
        scores = torch.linspace(0.9, 0.6, max(count - 1, 0))
        boxes = torch.from_numpy(boxes.astype(np.float32))
        return [Detections(boxes, torch.ones(count - 1).long(), scores, torch.ones(count - 1, 28, 28))]


def test_tiles_find_what_one_pass_finds() -> None:
    """Discs up to the overlap in size, many of them on seams: the same boxes and the same label map, numbers apart."""
    draw = np.random.default_rng(0)
    image = np.zeros((400, 500, 3), np.uint8)
    taken = np.zeros(image.shape[:2], bool)
    for _ in range(200):
        centre, radius = draw.integers(0, (500, 400)), int(draw.integers(1, 30))
        disc = cv2.circle(np.zeros(image.shape[:2], np.uint8), centre.tolist(), radius + 2, 1, -1) > 0
        if not (disc & taken).any():
            taken |= disc
            cv2.circle(image, centre.tolist(), radius, (255, 255, 255), -1)
    network = Dots(num_classes=3, **SYSTEMS["mask_rcnn"].tiny)
    spec = ModelSpec("mask_rcnn", {}, NAMES, PictureFormat(), (0.0,) * 3, (255.0,) * 3)
    tiled, whole = (
        Predictor(ObjectInference(network, spec, ObjectOptions(tile=tile, overlap=64)))(image) for tile in (192, 512)
    )
    assert len(whole) > 30
    assert sorted(tiled.boxes.tolist()) == sorted(whole.boxes.tolist())
    assert ((tiled.label_map() > 0) == (whole.label_map() > 0)).all()
    assert len(np.unique(tiled.label_map())) == len(whole) + 1


def test_yolo_sees_the_whole_picture_and_answers_in_its_pixels(data: Path, tmp_path: Path) -> None:
    small = {
        "model.encoder": "mobilenet_v2", "model.weights": "none", "model.size": 64, "model.cells": 2,
        "model.hidden": 16, "train.batch_size": 4, "train.validations": 1,
    }  # fmt: skip
    run = api.train("yolo_v1", data=data, epochs=1, out=tmp_path / "run", overrides=small)
    assert run.planned.crop == (64, 64)
    assert {"ap50", "voc_ap50"} <= set(run.metrics)
    predict = api.load(run.path, threshold=1e-6)
    predict.inference.model.limits = DetectionLimits(score=0.0)  # what a network says after one epoch
    found = predict(np.full((40, 120, 3), 90, np.uint8))
    assert len(found)
    assert (found.boxes[:, [0, 2]] <= 120).all()
    assert (found.boxes[:, [1, 3]] <= 40).all()
    assert found.boxes[:, 2].max() > 64, "in pixels of the picture, not of what the network saw"
    with pytest.raises(UserError, match="--tile: 'yolo_v1' brings each picture to 64 x 64 pixels as a whole"):
        api.load(run.path, tile=128)
    with pytest.raises(UserError, match="takes pictures of 64 x 64"):
        api.train("yolo_v1", data=data, epochs=1, overrides={**small, "augment.crop": [32, 32]})


def test_anchors_follow_the_sizes_of_objects() -> None:
    def sizes(share: float, side: int) -> list[int]:
        facts = SimpleNamespace(objects=ObjectFacts((0, 9), 9, (share, 0.3, 0.5)), height=[side] * 3, width=[600] * 3)
        return anchor_sizes(facts)  # type: ignore[arg-type]

    assert sizes(0.1, 800) == [32, 64, 128, 256, 512], "small objects of 60 pixels, of the shorter side"
    assert sizes(0.1, 200) == [16, 32, 64, 128, 256], "of 20 pixels"
    assert sizes(0.05, 256) == [8, 16, 32, 64, 128]
    assert sizes(0.001, 256) == [8, 16, 32, 64, 128], "the finest map has stride 4"


def test_boxes_that_are_mostly_cut_off_do_not_count() -> None:
    """Of three boxes, 10 pixels wide, 10, 3 and 1 are in the left half of the picture."""
    boxes = np.array([[5, 5, 15, 15], [17, 5, 27, 15], [19, 5, 29, 15]], np.float32)
    image = np.zeros((32, 40, 3), np.uint8)
    sample = objects_alone(Sample("x", image, instances=Instances(boxes, np.array([1, 2, 1]))))
    left = ObjectCrops(lambda sample, rng: sample.window(0, 0, 32, 20))(sample, np.random.default_rng(0))  # type: ignore[arg-type]
    assert left.instances is not None
    assert left.instances.boxes.tolist() == [[5, 5, 15, 15], [17, 5, 20, 15]]
    assert left.instances.classes.tolist() == [1, 2]


def test_a_network_of_boxes_has_no_label_map(data: Path, tmp_path: Path) -> None:
    run = api.train("faster_rcnn", data=data, epochs=1, out=tmp_path / "run", overrides=SMALL)
    assert {"ap", "ap50"} <= set(run.metrics)
    assert "mask_ap" not in run.metrics
    picture = next(data.rglob("*.png"))
    with pytest.raises(UserError, match="boxes without masks"):
        api.predict(run.path, [picture], out=tmp_path / "out", instances="masks")
