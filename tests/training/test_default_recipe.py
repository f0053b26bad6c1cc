"""What is trained where no network is named: the labels decide."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixelwise import api
from pixelwise.catalog import DEFAULT_RECIPES
from pixelwise.data.codings import KNOWLEDGE
from pixelwise.data.scenes import write_coco_scenes
from pixelwise.errors import UserError
from pixelwise.recipe.sections import DataSection
from pixelwise.training.opening import default_recipe
from pixelwise.training.recipes import recipe_names


def usual(folder: Path) -> str:
    return default_recipe(DataSection(path=str(folder)))


def test_every_default_is_a_recipe_for_something_that_data_knows() -> None:
    assert set(DEFAULT_RECIPES) <= set(KNOWLEDGE)
    assert set(DEFAULT_RECIPES.values()) <= set(recipe_names())


def test_the_labels_decide(scenes_folder: Path, digits_folder: Path, tmp_path: Path) -> None:
    assert usual(scenes_folder) == "unet_fpn"
    assert usual(digits_folder) == "resnet18"
    write_coco_scenes(tmp_path / "coco", train=4, val=2, size=(64, 96), digits=(1, 2))
    assert usual(tmp_path / "coco") == "unet_fpn"  # outlines say what every pixel is
    for file in (tmp_path / "coco" / "annotations").iterdir():
        content = json.loads(file.read_text())
        for annotation in content["annotations"]:
            del annotation["segmentation"]
        file.write_text(json.dumps(content))
    assert usual(tmp_path / "coco") == "faster_rcnn"


def test_a_folder_is_enough(scenes_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = {"model.encoder": "vgg11", "model.decoder_channels": [8, 8, 8, 8], "augment.crop": [32, 32]}
    run = api.train(data=scenes_folder, epochs=0.1, overrides={**overrides, "train.batch_size": 2})
    assert run.path.name == f"unet_fpn-{scenes_folder.name}"
    assert run.planned.model.name == "unet_fpn"


def test_without_a_folder_nothing_is_chosen(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no data"):
        default_recipe(DataSection())
    with pytest.raises(UserError, match="no such folder"):
        usual(tmp_path / "none")
