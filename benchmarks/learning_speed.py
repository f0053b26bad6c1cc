"""How much a network learns in minutes: variants against the default, on three data sets.

    python benchmarks/learning_speed.py {scenes,camvid,nuclei} [--rows ...] [--seeds 0 1 2]
    python benchmarks/learning_speed.py scenes --show

Every row is one training run on one thread. Its minutes are processor time, not wall-clock time, so a row does the same
work whatever else the machine does. Two tables may be filled at the same time, each pinned to one core
(`taskset -c 0`). One thread needs about twice the minutes that two threads need. The result of a row is appended to
`benchmarks/results/learning_speed-TABLE.jsonl`, and finished rows are not run again. CamVid, the nuclei and the weights
of MobileNetV2 are read from $PIXELWISE_SHARED (default ../shared).
"""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn

from pixelwise import hardware
from pixelwise.cli.process import prepare_for_networks
from pixelwise.data.loader import TrainLoader, ordering
from pixelwise.data.sample import Sample
from pixelwise.data.scenes import write_scenes
from pixelwise.methods.supervised import Supervised
from pixelwise.models.classify.mobilenet import InvertedResidual
from pixelwise.models.classify.resnet import BasicBlock
from pixelwise.training import loop, pace, session
from pixelwise.training.opening import Data
from pixelwise.training.progress import Lines
from pixelwise.training.recipes import load_recipe
from rows import SEEDS, Rows, by_row, command, finished, mean, median, table

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))
WEIGHTS = str(SHARED / "weights" / "mobilenet_v2_imagenet.safetensors")

HALF_SIZE = {"model.decoder_channels": [256, 128, 64, 32]}
NARROW = {"model.decoder_channels": [128, 64, 48, 32]}
FULL_SIZE = {"model.decoder_channels": [256, 128, 64, 32, 16]}
MOBILENET = {"model.encoder": "mobilenet_v2"}
RESNET = {"model.encoder": "resnet18"}
UNET_FPN = {"model.name": "unet_fpn", **HALF_SIZE}
SGD = {"optimizer.name": "sgd", "optimizer.lr": 0.05, "optimizer.weight_decay": 1e-4}
EQUAL = {"loss.class_weights": "none"}
DEFAULT = "default"

Settings = Mapping[str, Any]
"""`section.key` -> value, as for `--set`; a key that begins with `@` names one of `TRIALS`."""


def batches(size: int) -> dict[str, Any]:
    return {"train.batch_size": size}


TABLES: dict[str, tuple[str, float, Settings, dict[str, Settings]]] = {
    # name: (recipe, minutes, settings of all rows, rows)
    "scenes": (
        "scenes-unet",
        3.4,
        {"model.weights": "none", "train.stop_at": None, "train.validations": 5, **batches(4)},
        {
            DEFAULT: {},
            "batches of 16": batches(16),
            "MobileNetV2": MOBILENET,
            "narrower decoder": NARROW,
            "U-Net, MobileNetV2, logits at full size (the demo before)": {
                "model.name": "unet", **MOBILENET, **FULL_SIZE,
            },
            "U-Net": {"model.name": "unet"},
            "U-Net, deep supervision": {"model.name": "unet", "model.deep_supervision": True},
            "hourglass, two stacks": {"model": {"name": "hourglass", "width": 16}},
            "hourglass, one stack": {"model": {"name": "hourglass", "width": 16, "stacks": 1}},
            "learning rate 0.002": {"optimizer.lr": 0.002},
            "learning rate 0.006": {"optimizer.lr": 0.006},
            "SGD with momentum": SGD,
            "equal class weights": EQUAL,
            "average over 100 steps": {"train.ema_decay": 0.99},
            "half the resolution for 0.4 of the time": {"@half_resolution": 0.4},
            "last layer starts at the class frequencies": {"@class_frequencies": None},
            "residual branches start at zero": {"@zero_branches": None},
            "stronger augmentation": {
                "augment.scale": [0.85, 1.2], "augment.rotate": 8.0, "augment.elastic": 4.0,
            },
        },
    ),
    "camvid": (
        "camvid-unet",
        6.0,
        {"model.weights": WEIGHTS, "train.validations": 4, "train.fixed_norms": False, **UNET_FPN, **batches(4)},
        {
            DEFAULT: {},
            "batches of 8": batches(8),
            "U-Net, logits at full size, batches of 8 (the recipe before)": {
                "model.name": "unet", **FULL_SIZE, **batches(8),
            },
            "narrower decoder": NARROW,
            "U-Net, logits at half size": {"model.name": "unet"},
            "U-Net, logits at half size, deep supervision": {"model.name": "unet", "model.deep_supervision": True},
            "half the resolution for 0.4 of the time": {"@half_resolution": 0.4},
            "last layer starts at the class frequencies": {"@class_frequencies": None},
            "frozen encoder for 0.2 of the time": {"@frozen_encoder": 0.2},
            "encoder's batch norms as pretrained": {"train.fixed_norms": True},
            "encoder as fast as the rest": {"optimizer.encoder_lr_factor": 1.0},
            "SGD with momentum": SGD,
            "equal class weights": EQUAL,
            "learning rate 0.004": {"optimizer.lr": 0.004},
            "random weights": {"model.weights": "none", "optimizer.lr": 0.003},
            "random weights, half the resolution for 0.6 of the time": {
                "model.weights": "none", "optimizer.lr": 0.003, "@half_resolution": 0.6,
            },
            "random weights, ResNet-18": {"model.weights": "none", "optimizer.lr": 0.003, **RESNET},
        },
    ),
    "nuclei": (
        "nuclei-unet",
        5.0,
        {"model.weights": WEIGHTS, "train.validations": 4, "train.fixed_norms": False, **UNET_FPN, **batches(8)},
        {
            DEFAULT: {},
            "batches of 4": batches(4),
            "U-Net, logits at full size, batches of 8 (the recipe before)": {
                "model.name": "unet", **FULL_SIZE, **batches(8),
            },
            "narrower decoder": NARROW,
            "U-Net, logits at half size": {"model.name": "unet"},
            "U-Net, logits at half size, deep supervision": {"model.name": "unet", "model.deep_supervision": True},
            "half the resolution for 0.4 of the time": {"@half_resolution": 0.4},
            "last layer starts at the class frequencies": {"@class_frequencies": None},
            "frozen encoder for 0.2 of the time": {"@frozen_encoder": 0.2},
            "encoder's batch norms as pretrained": {"train.fixed_norms": True},
            "encoder as fast as the rest": {"optimizer.encoder_lr_factor": 1.0},
            "SGD with momentum": SGD,
            "equal class weights": EQUAL,
            "random weights": {"model.weights": "none", "optimizer.lr": 0.003},
        },
    ),
}  # fmt: skip


@contextmanager
def half_resolution(share: float) -> Iterator[None]:
    """For the first share of the run, crops show the same at half their size (progressive resizing)."""
    state = {"progress": 0.0}
    factors: dict[int, float] = {}
    plain = Supervised.step

    def step(self: Supervised, drawn: Any, progress: float) -> Any:
        state["progress"] = progress
        return plain(self, drawn, progress)

    def crop(self: TrainLoader, position: int) -> Sample:
        index, epoch = ordering(len(self.records), self._seed, position)
        factor = factors.setdefault(position // self.batch_size, 0.5 if state["progress"] < share else 1.0)
        rng = np.random.default_rng((self._seed[0], epoch, index, *self._seed[1:]))
        augment: Any = self.transform
        sides = tuple(max(round(side * factor / 32) * 32, 32) for side in augment.crop)
        scale = tuple(factor * each for each in augment.scale)
        smaller = augment.model_copy(update={"crop": sides, "scale": scale}) if factor < 1 else augment
        return smaller(self.cache.load(self.records[index]), rng)

    with mock.patch.object(Supervised, "step", step), mock.patch.object(TrainLoader, "crop", crop):
        yield


@contextmanager
def frozen_encoder(share: float) -> Iterator[None]:
    """For the first share of the run, the encoder's weights are frozen."""
    plain = Supervised.step

    def step(self: Supervised, drawn: Any, progress: float) -> Any:
        encoder: Any = self.network.encoder
        encoder.requires_grad_(progress >= share)
        return plain(self, drawn, progress)

    with mock.patch.object(Supervised, "step", step):
        yield


@contextmanager
def class_frequencies(_: None) -> Iterator[None]:
    """The last layers start with small weights and the logarithms of the classes' shares as biases."""

    def changed(network: nn.Module, data: Data) -> None:
        shares = torch.tensor([max(count, 1) for count in data.facts.class_pixels], dtype=torch.float32)
        heads = [
            module
            for module in network.modules()
            if isinstance(module, nn.Conv2d) and module.out_channels == len(shares) and module.bias is not None
        ]
        with torch.no_grad():
            for head in heads:
                head.weight.normal_(0, 0.01)
                head.bias.zero_()  # type: ignore[union-attr]
            heads[-1].bias.copy_((shares / shares.sum()).log())  # type: ignore[union-attr]

    with _changed_network(changed):
        yield


@contextmanager
def zero_branches(_: None) -> Iterator[None]:
    """The last batch norm of each residual branch starts at zero (Goyal et al. 2017, section 5.1)."""

    def changed(network: nn.Module, data: Data) -> None:
        for module in network.modules():
            if isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)
            elif isinstance(module, InvertedResidual) and module.residual:
                nn.init.zeros_(module.conv[-1].weight)  # type: ignore[arg-type]

    with _changed_network(changed):
        yield


@contextmanager
def _changed_network(change: Callable[[nn.Module, Data], None]) -> Iterator[None]:
    plain = session.new_network

    def network(recipe: Any, data: Data, **options: Any) -> nn.Module:
        made = plain(recipe, data, **options)
        change(made, data)
        return made

    with mock.patch.object(session, "new_network", network):
        yield


TRIALS: dict[str, Callable[[Any], Any]] = {
    "frozen_encoder": frozen_encoder,
    "half_resolution": half_resolution,
    "class_frequencies": class_frequencies,
    "zero_branches": zero_branches,
}
"""Variants that are not options of a recipe."""


def train_row(name: str, row: str, seed: int, minutes: float) -> dict[str, Any]:
    """Trains one row in this process, on one thread and by processor time."""
    prepare_for_networks()
    torch.set_num_threads(1)
    recipe, _, common, rows = TABLES[name]
    settings = {**common, **rows[row], "train.minutes": minutes, "train.seed": seed}
    if "model" in settings:
        settings = {key: value for key, value in settings.items() if not key.startswith("model.")}
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        data = SHARED / "data" / name
        if name == "scenes":
            data = Path(place) / "scenes"
            write_scenes(data)
        for module in (loop, pace, session):
            stack.enter_context(mock.patch.object(module, "time", SimpleNamespace(monotonic=time.process_time)))
        for key, value in list(settings.items()):
            if key.startswith("@"):
                stack.enter_context(TRIALS[key.removeprefix("@")](value))
                del settings[key]
        started = session.start(
            load_recipe(recipe, {"data.path": str(data), **settings}), name=name, out=str(Path(place) / "run")
        )
        position = session.execute(started, Lines())
        log = started.run.log()
        curve = [entry for entry in log if entry["kind"] == "validation"]
        return {
            "row": row,
            "seed": seed,
            "minutes": minutes,
            "mean_iou": position.best_score,
            "half_way": max(entry["mean_iou"] for entry in curve[: max(len(curve) // 2, 1)]),
            "crops": position.step * started.recipe.train.batch_size,
            "steps": position.step,
            "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
            "machine": hardware.describe(),
            "date": time.strftime("%Y-%m-%d"),
        }


def show(name: str, file: Path) -> None:
    """Prints the results so far as a table in Markdown; differences are to the default with the same seeds."""
    rows = by_row(finished(file), TABLES[name][3])
    if not rows:
        print("no results yet")
        return
    base = {result["seed"]: result["mean_iou"] for result in rows.get(DEFAULT, [])}

    def difference(results: list[dict[str, Any]]) -> str:
        paired = [result["mean_iou"] - base[result["seed"]] for result in results if result["seed"] in base]
        return f"{statistics.mean(paired):+.4f}" if paired else ""

    columns = {
        "mean IoU": mean("mean_iou", ".4f"),
        "against the default": difference,
        "half-way": mean("half_way", ".4f"),
        "crops": median("crops", ".0f"),
        "steps": median("steps", ".0f"),
        "memory (GB)": median("memory_gb", ".2f"),
        **SEEDS,
    }
    print(table(rows, columns))


def rows_of(name: str) -> Rows:
    _, minutes, _, rows = TABLES[name]
    return Rows(
        f"learning_speed-{name}",
        list(rows),
        partial(train_row, name),
        minutes=lambda row: minutes,
        seeds=lambda row: (0,),
        score="mean_iou",
    )


if __name__ == "__main__":
    command(__doc__, {name: rows_of(name) for name in TABLES}, show)
