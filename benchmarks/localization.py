"""The localiser and OverFeat trained and measured: scenes of digits, and 80 pictures of COCO.

    python benchmarks/localization.py [--rows ROW ...] [--seeds 0 1 2] [--hours 1]
    python benchmarks/localization.py --show

Every row is a training of its own in its own process, one after the other; run nothing beside it. What a row gave is
appended to `benchmarks/results/localization.jsonl`, and rows that are there are not run again. `--show` prints the
table of what is there.

Scenes are made on the spot, handwriting and photographs of validation being others than those of training. COCO's 80
categories become three classes (person, animal, thing), since most have no picture or one; with another seed other 16
pictures are held out, so that the spread over seeds is that of the split, too. `without looking` is the commonest class
and the mean box of the training pictures. Data and weights are looked for under $PIXELWISE_SHARED (default ../shared).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise import api, hardware
from pixelwise.data.dataset import Dataset
from pixelwise.data.formats import open_dataset
from pixelwise.data.objects import aimed
from pixelwise.data.scenes import write_coco_scenes
from pixelwise.errors import UserError, unknown

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))
RESULTS = Path(__file__).parent / "results"
CLASSES = ("person", "animal", "thing")


def one_digit(folder: Path) -> Path:
    write_coco_scenes(folder / "scenes", train=1000, val=200, size=(192, 256), digits=(1, 1))
    return folder / "scenes"


def some_digits(folder: Path) -> Path:
    write_coco_scenes(folder / "scenes", train=800, val=100, size=(192, 256), digits=(2, 4))
    return folder / "scenes"


def coco_mini(folder: Path) -> Path:
    """COCO's pictures by a link, and its annotations with three categories."""
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
    """One training.

    Attributes:
        recipe: that comes with the package.
        data: makes the pictures in a folder.
        minutes: of the training, validation included.
        overrides: of the recipe.
        seeds: that it is run with, unless `--seeds` says otherwise.
        pretrained: MobileNetV2's weights of ImageNet are the encoder's.
    """

    recipe: str
    data: Callable[[Path], Path]
    minutes: float
    overrides: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    pretrained: bool = False


DIGITS = {"augment.flip": "none"}
FOLDS = (0, 1, 2, 3, 4)
MOBILENET = {"model.encoder": "mobilenet_v2_tf"}
ROWS: dict[str, Row] = {
    "one digit a scene: localizer": Row("localizer", one_digit, 8, DIGITS),
    "one digit a scene: localizer, a box for each class": Row(
        "localizer", one_digit, 8, {**DIGITS, "model.per_class": True}
    ),
    "two to four digits a scene: overfeat": Row("overfeat", some_digits, 12, DIGITS),
    "coco-mini: localizer, ImageNet's weights": Row("localizer", coco_mini, 2, MOBILENET, FOLDS, pretrained=True),
    "coco-mini: localizer, random weights": Row("localizer", coco_mini, 2, MOBILENET, FOLDS),
    "coco-mini: overfeat": Row("overfeat", coco_mini, 3, {}, FOLDS),
}


def train_row(name: str, seed: int, minutes: float) -> dict[str, Any]:
    """One training in this process, and what the table tells of it."""
    row = ROWS[name]
    overrides = {**row.overrides, "data.split_seed": seed}
    if row.pretrained:
        weights = SHARED / "weights" / "mobilenet_v2_imagenet.safetensors"
        if not weights.exists():
            raise UserError(f"{weights}: not there; set PIXELWISE_SHARED.")
        overrides["model.weights"] = str(weights)
    with tempfile.TemporaryDirectory() as place:
        data = row.data(Path(place))
        out = Path(place) / "run"
        run = api.train(row.recipe, data=data, minutes=minutes, out=out, seed=seed, overrides=overrides, progress=True)
        recipe = run.recipe
        dataset = open_dataset(data, val_fraction=recipe.data.val_fraction, seed=recipe.data.split_seed)
        started = time.perf_counter()
        metrics = api.evaluate(run.path)
        seconds = time.perf_counter() - started
        views = [part.log()[-1]["step"] * (part.recipe.train.batch_size or 0) for part in (run.stage(1), run)]
        kept = ("accuracy", "box_iou", "localised", "pictures", "pictures_with_object", "objects")
        return {
            "row": name,
            "seed": seed,
            "minutes": minutes,
            **{key: metrics[key] for key in kept if key in metrics},
            **without_looking(dataset),
            "views": views,
            "evaluation_pictures_per_second": metrics["pictures"] / seconds,
            "machine": hardware.describe(),
            "date": time.strftime("%Y-%m-%d"),
        }


def without_looking(dataset: Dataset) -> dict[str, float]:
    """Accuracy of the commonest class, and IoU of the mean box as shares of the picture, of the largest objects."""
    found = {}
    for split in ("train", "val"):
        rows = []
        for sample in map(dataset.load, dataset.split(split)):
            if sample.instances is not None and len(sample.instances):
                height, width = sample.image.shape[:2]
                target = aimed(sample)
                assert target.instances is not None
                rows.append((target.class_id, target.instances.boxes[0] / (width, height, width, height)))
        found[split] = rows
    common = statistics.mode(class_id for class_id, _ in found["train"])
    box = np.mean([box for _, box in found["train"]], axis=0)
    return {
        "commonest_class": statistics.mean(class_id == common for class_id, _ in found["val"]),
        "mean_box": statistics.mean(_iou(box, true) for _, true in found["val"]),
    }


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    sides = np.maximum(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), 0)
    areas = [float(np.prod(box[2:] - box[:2])) for box in (first, second)]
    both = float(np.prod(sides))
    return both / (sum(areas) - both)


def finished(file: Path) -> list[dict[str, Any]]:
    """The results that are there."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def fill(file: Path, rows: list[str], seeds: tuple[int, ...] | None, minutes: float | None, hours: float) -> None:
    """Runs what is not there yet, one row after the other, until the hours are used up."""
    deadline = time.monotonic() + 3600 * hours
    file.parent.mkdir(parents=True, exist_ok=True)
    for name in rows:
        planned = minutes or ROWS[name].minutes
        for seed in seeds or ROWS[name].seeds:
            if any((done["row"], done["seed"]) == (name, seed) for done in finished(file)):
                continue
            if time.monotonic() + 60 * planned > deadline:
                print(f"no time left for {name}, seed {seed}")
                return
            command = [sys.executable, __file__, "--child", name, str(seed), "--minutes", str(planned)]
            started = time.monotonic()
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
            with file.open("a") as results:
                results.write(done + "\n")
            print(f"{name}, seed {seed}: {time.monotonic() - started:.0f} s", flush=True)


def _mean(results: list[dict[str, Any]], read: Callable[[dict[str, Any]], float | None]) -> str:
    """The mean over seeds, and how far the seeds are from it where there are several."""
    values = [value for value in map(read, results) if value is not None]
    if not values:
        return ""
    text = f"{statistics.mean(values):.3f}"
    return f"{text} ± {statistics.stdev(values):.3f}" if len(values) > 1 else text


COLUMNS: dict[str, Callable[[dict[str, Any]], float | None]] = {
    "accuracy": lambda result: result["accuracy"],
    "without looking: commonest class": lambda result: result["commonest_class"],
    "mean IoU of boxes": lambda result: result["box_iou"],
    "without looking: mean box": lambda result: result["mean_box"],
    "right class and IoU >= 0.5": lambda result: result["localised"],
    "all objects: precision": lambda result: result.get("objects", {}).get("precision"),
    "all objects: recall": lambda result: result.get("objects", {}).get("recall"),
}


def show(file: Path) -> str:
    """What is there as a table in Markdown."""
    results = finished(file)
    more = ("minutes", "pictures in validation", "pictures/s, searched", "seeds")
    lines = ["| | " + " | ".join((*COLUMNS, *more)) + " |", "|---" * (1 + len(COLUMNS) + len(more)) + "|"]
    for row in ROWS:
        found = [result for result in results if result["row"] == row]
        if found:
            cells = [_mean(found, read) for read in COLUMNS.values()]
            speed = statistics.median(result["evaluation_pictures_per_second"] for result in found)
            cells += [f"{found[0]['minutes']:g}", str(found[0]["pictures"]), f"{speed:.1f}", str(len(found))]
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", help="default all")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--minutes", type=float, help="of each training; default the row's own")
    parser.add_argument("--hours", type=float, default=1e9, help="stop before a row that would end later")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--show", action="store_true", help="print what is there and run nothing")
    parser.add_argument("--child", nargs=2, metavar=("ROW", "SEED"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, seed = arguments.child
        print(json.dumps(train_row(name, int(seed), arguments.minutes or ROWS[name].minutes)))
        return
    file = arguments.results / "localization.jsonl"
    rows = arguments.rows or list(ROWS)
    for row in rows:
        if row not in ROWS:
            raise unknown("row", row, ROWS)
    if not arguments.show:
        fill(file, rows, tuple(arguments.seeds) if arguments.seeds else None, arguments.minutes, arguments.hours)
    print(show(file))


if __name__ == "__main__":
    main()
