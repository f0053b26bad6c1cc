"""R-CNN and Fast R-CNN from a folder to files; proposals that move with the picture they were found in."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from pixelwise import api
from pixelwise.catalog import SYSTEMS
from pixelwise.data.augment import Augmentation
from pixelwise.data.pictures import write_png
from pixelwise.data.sample import Instances, Sample
from pixelwise.data.scenes import scene, write_coco_scenes
from pixelwise.data.targets import ObjectTargets
from pixelwise.tasks.objects.proposed import with_proposals
from pixelwise.tasks.objects.task import objects_alone


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("proposed") / "coco"
    write_coco_scenes(folder, train=6, val=4, size=(56, 64), digits=(1, 2))
    return folder


@pytest.mark.parametrize("name", ["fast_rcnn", "rcnn"])
def test_a_run_has_scores_and_predicts_any_picture(name: str, data: Path, tmp_path: Path) -> None:
    tiny = {f"model.{key}": value for key, value in SYSTEMS[name].tiny.items()}
    settings = {**tiny, "model.weights": "none", "train.batch_size": 2, "train.validations": 1}
    run = api.train(name, data=data, epochs=1, out=tmp_path / "run", overrides=settings)
    assert {"ap", "ap50", "voc_ap50"} <= set(run.metrics)
    assert api.evaluate(run.path)["ap50"] == run.metrics["ap50"]
    for file, shape in (("flat", (30, 200, 3)), ("small", (3, 2, 3))):
        write_png(tmp_path / "new" / f"{file}.png", np.full(shape, 90, np.uint8))
    write_png(tmp_path / "new" / "scene.png", scene(1, (90, 150)).image)
    api.predict(run.path, [tmp_path / "new"], out=tmp_path / "out", threshold=0.001, tile=64, overlap=16)
    for row in csv.DictReader((tmp_path / "out" / "boxes.csv").open()):
        assert 0 <= float(row["x0"]) < float(row["x1"]) <= 200


def test_proposals_move_with_the_picture() -> None:
    sample = with_proposals(objects_alone(scene(2, (60, 80), digits=(2, 3))))
    assert sample.instances is not None
    assert sample.proposals is not None
    # Proposals that are the objects' own boxes end where those end, through any crop.
    own = sample.instances.boxes.astype(np.float32)
    boxes = Instances(own, sample.instances.classes)
    pinned = Sample(sample.name, sample.image, instances=boxes, proposals=own)
    for seed in range(5):
        crop = Augmentation(crop=(48, 48), scale=(0.6, 1.6), flip="both")(pinned, np.random.default_rng(seed))
        assert crop.instances is not None
        assert crop.proposals == pytest.approx(crop.instances.boxes, abs=1e-3)
    window = pinned.window(10, 5, 30, 40)
    assert window.instances is not None
    assert window.proposals == pytest.approx(window.instances.boxes)


def test_targets_carry_proposals_and_say_where_there_are_fewer() -> None:
    none = Instances(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    image = np.zeros((8, 8, 3), np.uint8)
    boxes = np.array([[0, 0, 4, 4], [1, 1, 8, 8]], np.float32)
    samples = [
        Sample("a", image, instances=none, proposals=boxes),
        Sample("b", image, instances=none, proposals=boxes[:1]),
    ]
    proposals = ObjectTargets.collate(samples).proposals
    assert proposals is not None
    assert proposals.shape == (2, 2, 4)
    assert torch.isnan(proposals[1, 1]).all()
    assert ObjectTargets.collate([Sample("c", image, instances=none)]).proposals is None
