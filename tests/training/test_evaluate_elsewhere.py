"""A trained network measured on other data: the order of the classes, and how the folder is written, change nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelwise import api
from pixelwise.data.pictures import read_ids, write_png
from pixelwise.data.scenes import CLASS_NAMES, write_coco_scenes
from pixelwise.errors import UserError

UNET = {"model.encoder": None, "model.width": 4, "augment.crop": [32, 48], "train.validations": 1}


@pytest.fixture(scope="module")
def segmenter(scenes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "unet"
    api.train("unet", data=scenes_folder, epochs=1, out=out, overrides=UNET)
    return out


def scores(summary: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in summary.items() if key != "notes"}


def reordered_masks(source: Path, target: Path, names: tuple[str, ...]) -> Path:
    """The scenes with their classes listed otherwise."""
    shutil.copytree(source, target)
    table = np.array([names.index(name) for name in CLASS_NAMES], np.uint8)
    for file in (target / "masks").rglob("*.png"):
        write_png(file, table[read_ids(file)])
    (target / "classes.txt").write_text("".join(f"{name}\n" for name in names))
    return target


def test_masks_in_another_order_are_measured_the_same(segmenter: Path, scenes_folder: Path, tmp_path: Path) -> None:
    other = reordered_masks(scenes_folder, tmp_path / "other", tuple(reversed(CLASS_NAMES)))
    summary = api.evaluate(segmenter, data=other)
    assert scores(summary) == api.evaluate(segmenter)
    assert any("read with the network's ids: 10 9, 9 8" in note for note in summary["notes"])


def test_classes_by_name_in_folders_and_in_coco(digits_folder: Path, tmp_path: Path) -> None:
    settings = {"train.batch_size": 8, "train.validations": 1}
    api.train("lenet5", data=digits_folder, epochs=2, out=tmp_path / "lenet", overrides=settings)
    shutil.copytree(digits_folder, tmp_path / "fewer")
    shutil.rmtree(tmp_path / "fewer" / "digit1")
    few = api.evaluate(tmp_path / "lenet", data=tmp_path / "fewer", split="all")
    all_of_them = api.evaluate(tmp_path / "lenet", split="all")
    for name in ("digit0", "digit2"):
        assert few["recall"][name] == all_of_them["recall"][name]
    assert few["recall"]["digit1"] is None

    write_coco_scenes(tmp_path / "coco", train=4, val=3, size=(64, 96), digits=(1, 2))
    settings = {"model.width": 4, "model.regression": True, "train.batch_size": 4, "train.validations": 1}
    api.train("overfeat_small", data=tmp_path / "coco", epochs=1, out=tmp_path / "overfeat", overrides=settings)
    shutil.copytree(tmp_path / "coco", tmp_path / "other")
    for file in (tmp_path / "other" / "annotations").iterdir():
        content = json.loads(file.read_text())
        for each in content["categories"]:
            each["id"] = 20 - each["id"]
        for each in content["annotations"]:
            each["category_id"] = 20 - each["category_id"]
        file.write_text(json.dumps(content))
    summary = api.evaluate(tmp_path / "overfeat", data=tmp_path / "other")
    assert scores(summary) == api.evaluate(tmp_path / "overfeat")


def test_the_layout_of_the_run_is_that_of_other_data_too(tmp_path: Path) -> None:
    """What the layout of the run calls classes may be read as objects elsewhere."""
    for name in ("own", "other"):
        for k in range(4):
            mask = np.zeros((40, 60), np.uint16)
            mask[8:30, 10 + k : 40], mask[32:38, 40:50] = 1, 2
            picture = (np.random.default_rng(k).random((40, 60, 3)) * 99 + 50 * mask[..., None]).astype(np.uint8)
            write_png(tmp_path / name / "images" / f"{k}.png", picture)
            write_png(tmp_path / name / "masks" / f"{k}.png", mask)
    run = tmp_path / "run"
    api.train("unet", data=tmp_path / "own", layout="folder", epochs=1, out=run, overrides=UNET)
    assert scores(api.evaluate(run, data=tmp_path / "other")) == api.evaluate(run)
    with pytest.raises(UserError, match="the network's are class 0, class 1, class 2"):
        api.evaluate(run, data=tmp_path / "other", layout="labelmap")
    with pytest.raises(UserError, match=r"read as 'folder', the layout of the run's data; --layout sets"):
        api.evaluate(run, data=run)
    with pytest.raises(UserError, match="did you mean 'folder'"):
        api.evaluate(run, data=tmp_path / "other", layout="foldr")


def test_one_picture_is_enough_to_measure(segmenter: Path, scenes_folder: Path, tmp_path: Path) -> None:
    picture = sorted((scenes_folder / "images").rglob("*.png"))[0]
    mask = scenes_folder / "masks" / picture.relative_to(scenes_folder / "images")
    for file, folder in ((picture, "images"), (mask, "masks")):
        (tmp_path / folder).mkdir()
        shutil.copy(file, tmp_path / folder / "one.png")
    shutil.copy(scenes_folder / "classes.txt", tmp_path / "classes.txt")
    assert 0 <= api.evaluate(segmenter, data=tmp_path)["mean_iou"] <= 1
