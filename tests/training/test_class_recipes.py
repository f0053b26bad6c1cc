"""The recipes of classifiers that come with the package: each one trains."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pixelwise import api
from pixelwise.catalog import create_model, system
from pixelwise.errors import UserError
from pixelwise.training.recipes import load_recipe, recipe_names

NAMES = [name for name in recipe_names() if system(load_recipe(name).model.name).task.name == "classify"]
SMALLER: dict[str, dict[str, Any]] = {
    "cut": {"model.options": {"width": 4}, "model.size": 32},
    "few_labels_classes": {"seeds": [0], "model.name": "vgg11_bn", "model.width": 4},
    "finetune": {"model.name": "vgg11_bn", "model.width": 4},
    "inception_v3": {"model.width": 4},
    "mobilenet_v2": {"augment.crop": [32, 32]},
    "overfitting": {"model.hidden": [8], "variants": {"one": {}}},
    "resnet18": {"augment.crop": [32, 32]},
}
STARTS = {"cut": "vgg16", "finetune": "vgg11_bn"}
"""Whose weights a recipe starts from that freezes them."""


def weights_of(name: str, folder: Path) -> str:
    torch.manual_seed(3)
    network = create_model(name, in_channels=1, num_classes=4, width=4)
    save_file(network.state_dict(), folder / "w.safetensors")
    return str(folder / "w.safetensors")


@pytest.mark.parametrize("name", NAMES)
def test_it_trains(name: str, digits_folder: Path, tmp_path: Path) -> None:
    overrides = {"train.validations": 1, "train.batch_size": 8, **SMALLER.get(name, {})}
    if name in STARTS:
        with pytest.raises(UserError, match=r"keep their random weights; give \w+ weights"):
            api.train(name, data=digits_folder, epochs=0.6, out=tmp_path / "run", overrides=overrides)
        overrides["model.weights"] = weights_of(STARTS[name], tmp_path)
    run = api.train(name, data=digits_folder, epochs=0.6, out=tmp_path / "run", overrides=overrides)
    folder = run.variant("one") if run.variants_file.exists() else run
    steps = [entry for entry in folder.log() if entry["kind"] == "train"]
    assert all(math.isfinite(entry["loss"]) for entry in steps)
    with_heads = bool(load_recipe(name).model.options.get("auxiliary"))
    assert all(("auxiliary" in entry) == with_heads for entry in steps)
    assert run.finished


def test_every_family_has_one() -> None:
    families = {"mlp", "lenet", "alexnet", "vgg", "googlenet", "inception", "resnet", "densenet", "mobilenet"}
    assert all(sum(name.startswith(family) for name in NAMES) == 1 for family in families)


def test_finetuning_moves_the_last_layer_first(digits_folder: Path, tmp_path: Path) -> None:
    weights = weights_of("vgg11_bn", tmp_path)
    overrides = {**SMALLER["finetune"], "model.weights": weights, "train.ema_decay": None}
    overrides |= {"train.validations": 1, "train.batch_size": 8}
    run = api.train("finetune", data=digits_folder, epochs=1, out=tmp_path / "run", overrides=overrides)
    files = (weights, run.stage(1).best, run.best)
    given, first, last = ({k: v for k, v in load_file(file).items() if "classifier.6" not in k} for file in files)
    assert all(torch.equal(given[name], first[name]) for name in given)
    assert not any(torch.equal(first[name], last[name]) for name in given if name.endswith("weight"))
