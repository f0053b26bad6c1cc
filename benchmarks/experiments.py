"""Tables of runs on CamVid at 240 x 180: systems, PSPNet's ablation, losses, upsampling, averaging of weights.

    python benchmarks/experiments.py systems [--rows unet fcn8s] [--seeds 0 1 2] [--hours 1]
    python benchmarks/experiments.py systems --show

Every row is one training run in a process of its own. Rows run one after the other; run nothing else at the same time.
The result of a row is appended to `benchmarks/results/TABLE.jsonl`, and finished rows are not run again, so a table can
be filled bit by bit. `--show` prints the table of the results so far. Data is read from $PIXELWISE_SHARED/data
(default ../shared).
"""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from pixelwise import api, hardware
from pixelwise.data.formats import open_dataset
from pixelwise.errors import UserError
from rows import SEEDS, Cell, Result, Rows, by_row, command, finished, mean, median, table

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))
SIZE = (240, 180)


@dataclass(frozen=True)
class Table:
    """Runs that differ in one respect.

    Attributes:
        minutes: of each run, validation included.
        rows: name -> the row's settings, added to those of `common`.
        seeds: with which each row is run, unless `--seeds` gives others.
    """

    about: str
    minutes: float
    rows: Mapping[str, Mapping[str, Any]]
    common: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)


COMMON: dict[str, Any] = {
    "augment.crop": [160, 224],
    "augment.scale": [0.75, 1.4],
    "augment.rotate": 0.0,
    "train.batch_size": 8,
    "train.validations": 4,
}
WIDTH = {"model.width": 16}
RESNET = {"model.encoder": "resnet18"}
UNET_FPN = {"model.name": "unet_fpn", **RESNET}
UNET = {"model.name": "unet", "model.encoder": None, **WIDTH}

SYSTEMS: dict[str, dict[str, Any]] = {
    "patch": {"model.name": "patch", "model.width": 24, "model.hidden": 100},
    "fcn32s": {"model.name": "fcn32s", **WIDTH},
    "fcn16s": {"model.name": "fcn16s", **WIDTH},
    "fcn8s": {"model.name": "fcn8s", **WIDTH},
    "unet_original": {"model.name": "unet_original", **WIDTH},
    "unet": UNET,
    "unet, resnet18": {"model.name": "unet", **RESNET, "model.decoder_channels": [256, 128, 64, 32, 16]},
    "unet, resnet18, logits at half size": {"model.name": "unet", **RESNET},
    "unet, resnet18, logits at a quarter": {"model.name": "unet", **RESNET, "model.decoder_channels": [256, 128, 128]},
    "segnet": {"model.name": "segnet", **WIDTH},
    "deconvnet": {"model.name": "deconvnet", **WIDTH},
    "deconvnet, one stage": {"model.name": "deconvnet", **WIDTH, "stages": []},
    "ternausnet": {"model.name": "ternausnet", **WIDTH},
    "dilated": {"model.name": "dilated", **WIDTH},
    "deeplab_v1": {"model.name": "deeplab_v1", **WIDTH},
    "linknet": {"model.name": "linknet", **RESNET},
    "pspnet": {"model.name": "pspnet", **RESNET},
    "deeplab_v3": {"model.name": "deeplab_v3", **RESNET},
    "deeplab_v3plus": {"model.name": "deeplab_v3plus", **RESNET},
    "fpn": {"model.name": "fpn", **RESNET},
    "unet_fpn": {"model.name": "unet_fpn", **RESNET},
    "hourglass": {"model.name": "hourglass", **WIDTH},
}

PSPNET: dict[str, dict[str, Any]] = {
    "baseline": {"model.bins": []},
    "B1 + MAX": {"model.bins": [1], "model.pooling": "max", "model.reduction": False},
    "B1 + AVE": {"model.bins": [1], "model.reduction": False},
    "B1236 + MAX": {"model.pooling": "max", "model.reduction": False},
    "B1236 + AVE": {"model.reduction": False},
    "B1236 + MAX + DR": {"model.pooling": "max"},
    "B1236 + AVE + DR": {},
}

CROSS_ENTROPY = {"cross_entropy": 1.0}
LOSSES: dict[str, dict[str, Any]] = {
    "cross entropy": {"loss.terms": CROSS_ENTROPY},
    "cross entropy, label smoothing 0.1": {"loss.terms": CROSS_ENTROPY, "loss.label_smoothing": 0.1},
    "cross entropy, class weights (root of median frequency)": {
        "loss.terms": CROSS_ENTROPY,
        "loss.class_weights": "sqrt_median_frequency",
    },
    "cross entropy, class weights (median frequency)": {
        "loss.terms": CROSS_ENTROPY,
        "loss.class_weights": "median_frequency",
    },
    "focal": {"loss.terms": {"focal": 1.0}},
    "cross entropy + Dice": {"loss.terms": {"cross_entropy": 1.0, "dice": 1.0}},
    "cross entropy + Jaccard": {"loss.terms": {"cross_entropy": 1.0, "jaccard": 1.0}},
    "cross entropy - ln(Dice)": {"loss.terms": {"bce_log_dice": 1.0}},
    "cross entropy, then Lovász": {
        "loss.terms": CROSS_ENTROPY,
        "stages": [
            {"share": 0.7},
            {"share": 0.3, "set": {"loss.terms": {"lovasz_softmax": 1.0}, "optimizer.lr": 5e-4}},
        ],
    },
}

UPSAMPLING: dict[str, dict[str, Any]] = {
    kind: {"model.upsampling": kind}
    for kind in (
        "nearest", "bilinear", "nails", "unpool", "transposed", "transposed_overlapping", "pixel_shuffle",
    )
}  # fmt: skip

AVERAGING: dict[str, dict[str, Any]] = {
    "none": {"train.ema_decay": None},
    "EMA 0.99": {"train.ema_decay": 0.99},
    "EMA 0.999": {"train.ema_decay": 0.999},
    "SWA from 75 %, learning rate ending at 0.2": {"train.swa_start": 0.75, "schedule.final": 0.2},
}

PLAIN = {"loss.class_weights": "none"}
TABLES: dict[str, Table] = {
    "systems": Table("every dense system, from random weights, small", 4, SYSTEMS),
    "pspnet": Table(
        "the seven settings of PSPNet's ablation, ResNet-18, output stride 8",
        3,
        PSPNET,
        {"model.name": "pspnet", **RESNET},
        (0, 1, 2),
    ),
    "losses": Table("one network, U-Net + FPN on ResNet-18", 3, LOSSES, {**UNET_FPN, **PLAIN}),
    "upsampling": Table("one network, U-Net of width 16", 3, UPSAMPLING, UNET),
    "averaging": Table("one network, U-Net + FPN on ResNet-18", 3, AVERAGING, UNET_FPN),
}


def small_camvid(folder: Path) -> Path:
    """Writes CamVid at half its size, in its own layout: pictures averaged, labels by nearest neighbour."""
    source = SHARED / "data" / "camvid"
    if not source.is_dir():
        raise UserError(f"{source}: no such data; set PIXELWISE_SHARED.")
    target = folder / "camvid"
    for part in ("train", "trainannot", "val", "valannot"):
        flag = cv2.INTER_NEAREST if part.endswith("annot") else cv2.INTER_AREA
        (target / part).mkdir(parents=True)
        for file in sorted((source / part).iterdir()):
            picture = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
            # As PNG, so that pictures are not compressed by JPEG a second time.
            small = cv2.resize(picture, SIZE, interpolation=flag)
            cv2.imwrite(str(target / part / file.with_suffix(".png").name), small)
    for name in ("train.txt", "val.txt"):
        lines = (source / name).read_text().splitlines()
        listed = (" ".join(str(Path(part).with_suffix(".png")) for part in line.split()) for line in lines)
        (target / name).write_text("\n".join(listed) + "\n")
    return target


def train_row(table: str, row: str, seed: int, minutes: float) -> dict[str, Any]:
    """Trains one row in this process and returns everything that the tables show about it."""
    settings = {**COMMON, **TABLES[table].common, **TABLES[table].rows[row]}
    stages = settings.pop("stages", None)
    with tempfile.TemporaryDirectory() as place:
        data = small_camvid(Path(place))
        recipe: str | Path = settings["model.name"]
        if stages is not None:
            recipe = _staged(Path(place), settings, stages)
            settings = {}
        run = api.train(
            recipe,
            data=data,
            minutes=minutes,
            out=Path(place) / "run",
            seed=seed,
            overrides={"model.weights": "none", **settings},
            progress=True,
        )
        metrics, log = run.metrics, run.log()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        rates = [entry["pictures_per_second"] for entry in log if entry["kind"] == "train"]
        predictor = api.load(run.path)
        pictures = [sample.image for sample in map(open_dataset(data).load, open_dataset(data).split("val"))]
        predictor(pictures[0])
        start = time.perf_counter()
        for picture in pictures:
            _ = predictor(picture).mask
        seconds = time.perf_counter() - start
        last = [entry for entry in log if entry["kind"] == "validation"][-1]
        return {
            "row": row,
            "seed": seed,
            "minutes": minutes,
            "mean_iou": metrics["mean_iou"],
            "pixel_accuracy": metrics["pixel_accuracy"],
            "boundary_f": metrics.get("boundary_f"),
            "iou": metrics["iou"],
            "raw_mean_iou": last.get("raw_mean_iou"),
            "averaged_mean_iou": last["mean_iou"],
            "crops": last["step"] * run.planned.train.batch_size,
            "training_pictures_per_second": statistics.median(rates),
            "prediction_pictures_per_second": len(pictures) / seconds,
            "memory_gb": memory,
            **_network(run.planned.model.name, run.planned.model.options),
            "machine": hardware.describe(),
            "date": time.strftime("%Y-%m-%d"),
        }


def _staged(folder: Path, settings: Mapping[str, Any], stages: Any) -> Path:
    """Writes a recipe file with stages, from settings as `section.key`."""
    import yaml

    values: dict[str, Any] = {"stages": stages}
    for key, value in settings.items():
        section, name = key.split(".")
        values.setdefault(section, {})[name] = value
    path = folder / "staged.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def _network(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    from pixelwise.catalog import create_model
    from pixelwise.models.facts import network_facts

    with torch.device("meta"):
        facts = network_facts(create_model(name, **{**options, "num_classes": 11, "in_channels": 3, "weights": None}))
    return {"parameters": facts.parameters, "operations": facts.operations, "receptive_field": facts.receptive_field}


def _rarest(results: list[Result]) -> str:
    return format(statistics.mean(result["iou"]["SignSymbol"] for result in results), ".4f")


SCORES: dict[str, Cell] = {"mean IoU": mean("mean_iou", ".4f"), "pixel accuracy": mean("pixel_accuracy", ".4f")}
COLUMNS: dict[str, dict[str, Cell]] = {
    "systems": {
        **SCORES,
        "boundary F": mean("boundary_f", ".4f"),
        "parameters (million)": median("parameters", ".2f", 1e-6),
        "GFLOP per megapixel": median("operations", ".0f", 1e-3),
        "receptive field": lambda results: str(results[0]["receptive_field"] or "all"),
        "training pictures/s": median("training_pictures_per_second", ".1f"),
        "prediction pictures/s": median("prediction_pictures_per_second", ".1f"),
        "peak memory (GB)": median("memory_gb", ".2f"),
        "crops": median("crops", ".0f"),
        **SEEDS,
    },
    "pspnet": {**SCORES, "crops": median("crops", ".0f"), **SEEDS},
    "losses": {**SCORES, "IoU of SignSymbol, the rarest": _rarest, **SEEDS},
    "upsampling": {
        **SCORES,
        "boundary F": mean("boundary_f", ".4f"),
        "training pictures/s": median("training_pictures_per_second", ".1f"),
        **SEEDS,
    },
    "averaging": {
        "mean IoU, averaged": mean("averaged_mean_iou", ".4f"),
        "mean IoU, raw weights": mean("raw_mean_iou", ".4f"),
        **SEEDS,
    },
}


def show(name: str, file: Path) -> None:
    """Prints the results so far as a table in Markdown; the best row comes first, except in PSPNet's ablation."""
    rows = by_row(finished(file), TABLES[name].rows)
    if name != "pspnet":
        rows = dict(sorted(rows.items(), key=lambda item: -statistics.mean(r["mean_iou"] for r in item[1])))
    print(table(rows, COLUMNS[name]))


def rows_of(name: str) -> Rows:
    chosen = TABLES[name]
    return Rows(
        name,
        list(chosen.rows),
        partial(train_row, name),
        minutes=lambda row: chosen.minutes,
        seeds=lambda row: chosen.seeds,
        score="mean_iou",
    )


if __name__ == "__main__":
    command(__doc__, {name: rows_of(name) for name in TABLES}, show)
