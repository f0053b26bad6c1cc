"""Trains and measures the localiser and OverFeat on scenes of digits and on 80 pictures of COCO.

    python benchmarks/localization.py [--rows ROW ...] [--seeds 0 1 2] [--hours 1]
    python benchmarks/localization.py --show

Every row is one training run in a process of its own. Rows run one after the other; run nothing else at the same time.
The result of a row is appended to `benchmarks/results/localization.jsonl`, and finished rows are not run again.
`--show` prints the table of the results so far.

The scenes are made by the script; validation scenes have other handwriting and other photographs than training scenes.
COCO's 80 categories are grouped into three classes (person, animal, thing), since most categories have at most one
picture. Each seed holds out 16 other pictures, so the spread over seeds includes that of the split. The baseline is the
commonest class and the mean box of the training pictures. Data and weights are read from $PIXELWISE_SHARED (default
../shared).
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pixelwise import api, hardware
from pixelwise.data.dataset import Dataset
from pixelwise.data.formats import open_dataset
from pixelwise.data.objects import largest_first
from pixelwise.data.scenes import write_coco_scenes
from pixelwise.errors import UserError
from pixelwise.nn.boxes import iou
from rows import SEEDS, Cell, Rows, by_row, command, finished, mean, median, table

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))
CLASSES = ("person", "animal", "thing")


def one_digit(folder: Path) -> Path:
    write_coco_scenes(folder / "scenes", train=2000, val=200, size=(96, 128), digits=(1, 1))
    return folder / "scenes"


def some_digits(folder: Path) -> Path:
    write_coco_scenes(folder / "scenes", train=800, val=100, size=(192, 256), digits=(2, 4))
    return folder / "scenes"


def coco_mini(folder: Path) -> Path:
    """Links COCO's pictures into a folder, and writes its annotations with three categories."""
    source = SHARED / "data" / "coco-mini"
    if not source.is_dir():
        raise UserError(f"{source}: no such data; set PIXELWISE_SHARED.")
    content = json.loads((source / "instances_train2017.json").read_text())
    coarse = {
        category["id"]: 1
        + CLASSES.index(category["supercategory"] if category["supercategory"] in CLASSES else "thing")
        for category in content["categories"]
    }
    for annotation in content["annotations"]:
        annotation["category_id"] = coarse[annotation["category_id"]]
    content["categories"] = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
    target = folder / "coco"
    target.mkdir()
    (target / "images").symlink_to((source / "train2017").resolve())
    (target / "instances.json").write_text(json.dumps(content))
    return target


@dataclass(frozen=True)
class Row:
    """One row: a run for each seed.

    Attributes:
        recipe: name of a recipe of the package.
        data: writes the data into a folder.
        minutes: of each run, validation included.
        overrides: settings that replace those of the recipe.
        seeds: with which the row is run, unless `--seeds` gives others.
        pretrained: whether the encoder starts from MobileNetV2's ImageNet weights.
    """

    recipe: str
    data: Callable[[Path], Path]
    minutes: float
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    pretrained: bool = False


DIGITS = {"augment.flip": "none"}
ONE_DIGIT = {**DIGITS, "train.batch_size": 32}
FOLDS = (0, 1, 2, 3, 4)
MOBILENET = {"model.encoder": "mobilenet_v2_tf"}
ROWS: dict[str, Row] = {
    "one digit per scene: localizer": Row("localizer", one_digit, 8, ONE_DIGIT),
    "one digit per scene: localizer, a box per class": Row(
        "localizer", one_digit, 8, {**ONE_DIGIT, "model.per_class": True}
    ),
    "two to four digits per scene: overfeat": Row("overfeat", some_digits, 10, DIGITS),
    "coco-mini: localizer, ImageNet weights": Row("localizer", coco_mini, 1.5, MOBILENET, FOLDS, pretrained=True),
    "coco-mini: localizer, random weights": Row("localizer", coco_mini, 1.5, MOBILENET, FOLDS),
    "coco-mini: overfeat": Row("overfeat", coco_mini, 2.5, {}, FOLDS),
}


def train_row(name: str, seed: int, minutes: float) -> dict[str, Any]:
    """Trains one row in this process and returns what the table shows about it."""
    row = ROWS[name]
    overrides = {"model.weights": "none", **row.overrides, "data.split_seed": seed}
    if row.pretrained:
        weights = SHARED / "weights" / "mobilenet_v2_imagenet.safetensors"
        if not weights.exists():
            raise UserError(f"{weights}: no such file; set PIXELWISE_SHARED.")
        overrides["model.weights"] = str(weights)
    with tempfile.TemporaryDirectory() as place:
        data = row.data(Path(place))
        out = Path(place) / "run"
        run = api.train(row.recipe, data=data, minutes=minutes, out=out, seed=seed, overrides=overrides, progress=True)
        recipe = run.planned
        dataset = open_dataset(data, val_fraction=recipe.data.val_fraction, seed=recipe.data.split_seed)
        started = time.perf_counter()
        metrics = api.evaluate(run.path)
        seconds = time.perf_counter() - started
        crops = [part.log()[-1]["step"] * part.planned.train.batch_size for part in (run.stage(1), run)]
        kept = ("accuracy", "box_iou", "localised", "pictures", "pictures_with_object")
        return {
            "row": name,
            "seed": seed,
            "minutes": minutes,
            **{key: metrics[key] for key in kept},
            **{key: metrics.get("objects", {}).get(key) for key in ("precision", "recall")},
            **without_looking(dataset),
            "crops": crops,
            "evaluation_pictures_per_second": metrics["pictures"] / seconds,
            "machine": hardware.describe(),
            "date": time.strftime("%Y-%m-%d"),
        }


def without_looking(dataset: Dataset) -> dict[str, float]:
    """Baselines for the largest objects: accuracy of the commonest class, and IoU of the mean box.

    The mean box is the mean of boxes whose coordinates are divided by the width and height of their picture.
    """
    found = {}
    for split in ("train", "val"):
        rows = []
        for sample in map(dataset.load, dataset.split(split)):
            if sample.instances is not None and len(sample.instances):
                height, width = sample.image.shape[:2]
                target = largest_first(sample)
                assert target.instances is not None
                rows.append((target.class_id, target.instances.boxes[0] / (width, height, width, height)))
        found[split] = rows
    common = statistics.mode(class_id for class_id, _ in found["train"])
    box = np.mean([box for _, box in found["train"]], axis=0)
    return {
        "commonest_class": statistics.mean(class_id == common for class_id, _ in found["val"]),
        "mean_box": statistics.mean(
            float(iou(torch.from_numpy(box), torch.from_numpy(true))) for _, true in found["val"]
        ),
    }


COLUMNS: dict[str, Cell] = {
    "accuracy": mean("accuracy", ".3f"),
    "baseline: commonest class": mean("commonest_class", ".3f"),
    "mean IoU of boxes": mean("box_iou", ".3f"),
    "baseline: mean box": mean("mean_box", ".3f"),
    "right class and IoU >= 0.5": mean("localised", ".3f"),
    "all objects: precision": mean("precision", ".3f"),
    "all objects: recall": mean("recall", ".3f"),
    "minutes": median("minutes", "g"),
    "validation pictures": median("pictures", "g"),
    "pictures/s, searched": median("evaluation_pictures_per_second", ".1f"),
    **SEEDS,
}


def show(name: str, file: Path) -> None:
    print(table(by_row(finished(file), ROWS), COLUMNS))


if __name__ == "__main__":
    rows = Rows(
        "localization",
        list(ROWS),
        train_row,
        minutes=lambda row: ROWS[row].minutes,
        seeds=lambda row: ROWS[row].seeds,
        score="box_iou",
    )
    command(__doc__, {"localization": rows}, show)
