"""Facts about data, planned recipes, and what methods are made from, without data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.pictures import PictureFormat
from pixelwise.methods.base import Criterion, Forward, Setup
from pixelwise.recipe.recipe import PlannedRecipe
from pixelwise.training.recipes import build_planned

FACTS = Fingerprint(
    pictures={"train": 300, "val": 60},
    unlabelled=0,
    height=(360, 360, 360),
    width=(480, 480, 480),
    form=PictureFormat(),
    mean=(100.0, 110.0, 120.0),
    std=(50.0, 51.0, 52.0),
    class_names=("a", "b", "c"),
    class_pixels=(900, 90, 10),
    class_pictures=(300, 200, 20),
    present_pixels=(1000, 700, 80),
    void_fraction=0.0,
    digest="0",
)
"""Of street scenes with three classes, one of them rare."""


def planned_recipe(model: str, task: str, *, channels: int = 3, **sections: dict[str, Any]) -> PlannedRecipe:
    """A complete recipe: SGD at a constant rate without decay or averaging, unless `sections` say otherwise."""
    values: dict[str, dict[str, Any]] = {
        "model": {"name": model},
        "method": {"name": "supervised"},
        "data": {},
        "augment": {"crop": [4, 6]},
        "normalize": {"mean": [128.0] * channels, "std": [64.0] * channels},
        "loss": {"terms": {"cross_entropy": 1.0}, "class_weights": "none"},
        "optimizer": {
            "name": "sgd",
            "lr": 0.1,
            "encoder_lr_factor": 1.0,
            "momentum": 0.0,
            "weight_decay": 0.0,
            "clip_norm": None,
        },
        "schedule": {"name": "constant", "warmup": 0.0},
        "train": {"epochs": 1.0, "batch_size": 2, "ema_decay": None},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    return build_planned({"task": task, **values}, "the test")


def forward_pass(mean: Sequence[float], std: Sequence[float], dtype: torch.dtype = torch.float32) -> Forward:
    """The forward pass on the CPU."""
    channels = [torch.tensor(values)[:, None, None] for values in (mean, std)]
    return Forward(channels[0], channels[1], torch.device("cpu"), dtype)


def setup(network: nn.Module, recipe: PlannedRecipe, criterion: Criterion | None, **options: Any) -> Setup:
    """What a supervised method is made from."""
    forward = options.pop("forward", None) or forward_pass(recipe.normalize.mean, recipe.normalize.std)
    return Setup(network, recipe, None, forward, criterion, **options)
