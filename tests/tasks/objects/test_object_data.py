"""From annotation files to scores: odd ids, pictures without objects, crowds and difficult objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelwise import api
from pixelwise.data.draw import palette
from pixelwise.data.formats import open_dataset
from pixelwise.data.formats.convert import convert
from pixelwise.data.regions import Patch
from pixelwise.data.sample import Instances, Sample
from pixelwise.data.scenes import write_coco_scenes
from pixelwise.errors import UserError
from pixelwise.tasks.objects.inference import ObjectPrediction
from pixelwise.tasks.objects.report import draw_objects
from pixelwise.tasks.objects.scores import ObjectScores
from pixelwise.training.moved import check_places

TINY = {
    "faster_rcnn": {"model.encoder": "mobilenet_v2", "model.width": 16, "model.hidden": 32, "model.proposals": 50},
    "yolo_v1": {"model.encoder": "mobilenet_v2", "model.size": 64, "model.hidden": 32},
}
TINY["mask_rcnn"] = TINY["faster_rcnn"]


def changed(root: Path, change: Callable[[list[dict[str, Any]]], None]) -> Path:
    """Scenes as COCO's files, the annotations of each file changed."""
    write_coco_scenes(root, train=6, val=4, size=(64, 96), digits=(1, 3))
    for file in root.rglob("*.json"):
        content = json.loads(file.read_text())
        change(content["annotations"])
        file.write_text(json.dumps(content))
    return root


def perfect(sample: Sample, names: tuple[str, ...]) -> ObjectPrediction:
    """The true objects of a sample as predictions."""
    objects = sample.instances
    assert objects is not None
    assert objects.ids is not None
    pieces = tuple(Patch(0, 0, objects.ids == number + 1) for number in range(len(objects)))
    return ObjectPrediction(
        objects.boxes, objects.classes, np.linspace(0.9, 0.8, len(objects)), names, sample.image, pieces
    )


def from_zero(annotations: list[dict[str, Any]]) -> None:
    for number, annotation in enumerate(annotations):
        annotation["id"] = number


def with_gaps(annotations: list[dict[str, Any]]) -> None:
    for number, annotation in enumerate(annotations):
        annotation["id"] = 7 * number**2


def doubled(annotations: list[dict[str, Any]]) -> None:
    for number, annotation in enumerate(annotations):
        annotation["id"] = number // 3


def without(annotations: list[dict[str, Any]]) -> None:
    for annotation in annotations:
        del annotation["id"]


def test_ids_of_annotations_do_not_change_the_score(tmp_path: Path) -> None:
    expected = 0
    for change in (lambda _: None, from_zero, with_gaps, doubled, without):
        root = changed(tmp_path / getattr(change, "__name__", "plain").strip("<>"), change)
        dataset = open_dataset(root)
        scores = ObjectScores(dataset.class_names, masks=True)
        for record in dataset.split("val"):
            sample = dataset.load(record)
            scores.update(perfect(sample, dataset.class_names), sample)
        expected = expected or scores.coco.objects
        assert scores.coco.objects == expected > 0
        assert list(scores.values().values()) == pytest.approx([1.0] * 4)
        assert scores.summary("val")["voc_ap50"] == 1


def sparse(annotations: list[dict[str, Any]]) -> None:
    """Of the pictures of a file: one with objects as they are, one with none, one with crowds, one with difficult
    objects, and so on."""
    pictures = sorted({annotation["image_id"] for annotation in annotations})
    kinds = {picture: number % 4 for number, picture in enumerate(pictures)}
    for annotation in annotations:
        kind = kinds[annotation["image_id"]]
        annotation.update({2: {"iscrowd": 1}, 3: {"iscrowd": 1, "difficult": 1}}.get(kind, {}))
    annotations[:] = [one for one in annotations if kinds[one["image_id"]] != 1]


@pytest.mark.parametrize(
    ("model", "layout"),
    [("mask_rcnn", "coco"), ("faster_rcnn", "voc_xml"), ("yolo_v1", "yolo"), ("yolo_v1", "voc_xml")],
)
def test_pictures_without_objects_to_find_are_trained_on_and_measured(tmp_path: Path, model: str, layout: str) -> None:
    data = changed(tmp_path / "coco", sparse)
    if layout != "coco":
        convert(data, layout, tmp_path / layout)
    dataset = open_dataset(tmp_path / layout)
    assert len(dataset.split("train")) == 6
    counted = [len(dataset.load(record).instances or ()) for record in dataset.split("val")]
    assert 0 in counted
    overrides = {**TINY[model], "model.weights": "none", "train.batch_size": 2, "train.validations": 1}
    run = api.train(model, data=tmp_path / layout, epochs=1, out=tmp_path / "run", overrides=overrides)
    assert run.metrics["pictures"] == 4
    assert run.metrics["found"]["objects"] == sum(counted)
    assert run.metrics["ap50"] is not None
    assert run.report.is_file()


def test_true_objects_are_drawn_whether_or_not_their_outline_is_known() -> None:
    image = np.full((40, 60, 3), 100, np.uint8)
    ids = np.zeros((40, 60), np.int32)
    ids[2:10, 2:10] = 1
    boxes = np.array([[2, 2, 10, 10], [30, 5, 50, 25]], np.float32)
    crowd = Instances(np.array([[5, 28, 25, 38]], np.float32), np.ones(1, np.int64), crowd=np.array([True]))
    colours = palette(3, 0)
    for known in (ids, None):
        drawn = draw_objects(image, Instances(boxes, np.array([1, 2]), known, ignored=crowd), ("", "a", "b"), colours)
        for left, top, right, bottom in [*boxes.astype(int), *crowd.boxes.astype(int)]:
            assert (drawn[bottom - 1, left + 1 : right - 1] != 100).any(), (left, top)


def test_a_run_from_a_data_yaml_is_measured_and_resumed_without_being_told_of_it_again(tmp_path: Path) -> None:
    convert(changed(tmp_path / "coco", sparse), "yolo", tmp_path / "yolo")
    data = tmp_path / "yolo/data.yaml"
    overrides = {**TINY["yolo_v1"], "model.weights": "none", "train.batch_size": 2, "train.validations": 1}
    run = api.train("yolo_v1", data=data, epochs=1, out=tmp_path / "run", overrides=overrides)
    assert api.evaluate(run.path)["found"] == run.metrics["found"]
    check_places(run)
    data.rename(data.with_suffix(".old"))
    with pytest.raises(UserError, match="no longer there"):
        check_places(run)
