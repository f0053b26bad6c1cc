"""Networks that find every object, with equal minutes of training.

    python benchmarks/objects.py {nuclei,steel,scenes,coco} [--rows ...]
    python benchmarks/objects.py nuclei --show

`nuclei` outlines cell nuclei with Mask R-CNN, with both ways of giving regions one size, and with a U-Net and a
watershed of its mask; its split is stratified by kind of picture. `steel` finds defects of six kinds as boxes. `scenes`
finds digits in embedded scenes; after the last row, it times all networks on the same pictures, in turn in one process.
`coco` shows that learning works, by scores on 16 training pictures without augmentation, beside those on held-out
ones, for which so few pictures do not suffice. The result of a row is appended to
`benchmarks/results/objects-TABLE.jsonl`, and finished rows are not run again. Data and the weights of MobileNetV2 are
read from $PIXELWISE_SHARED (default ../shared). Run one command at a time, on an otherwise idle machine.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise import api, hardware
from pixelwise.cli.process import prepare_for_networks
from pixelwise.data.formats import open_dataset
from pixelwise.data.scenes import write_coco_scenes
from pixelwise.inference.predictor import Predictor
from pixelwise.training.run import Run
from rows import RESULTS, Cell, Rows, by_row, command, finished, mean, median, table

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))
WEIGHTS = {"model.weights": str(SHARED / "weights" / "mobilenet_v2_imagenet.safetensors")}
MODELS = RESULTS / "models"
"""Networks that are timed side by side once all rows are there."""
TIMED = 12
"""Pictures that they are timed on."""
MAX_CLASSES = 20
"""Of a data set whose classes are listed one by one."""
FITTING = {
    "data.labelled": 16, "train.validations": 1,
    "augment.scale": [1.0, 1.0], "augment.rotate": 0.0, "augment.flip": "none",
    "augment.brightness": 0.0, "augment.contrast": 0.0, "augment.saturation": 0.0,
}  # fmt: skip
"""Settings of `coco`, which measures whether the pictures themselves are learned: no augmentation but the choice of the
crop, few training pictures (with all of them, a network sees each only twenty times in these minutes), and the last
weights instead of those that are best on held-out pictures."""
SCENES = {"train": 240, "val": 60, "size": (192, 256), "digits": (8, 14)}


@dataclass(frozen=True)
class Row:
    """One training run.

    Attributes:
        data: folder below `SHARED / "data"`; None for embedded scenes.
    """

    recipe: str
    data: str | None
    settings: Mapping[str, Any] = field(default_factory=lambda: dict(WEIGHTS))

    def folder(self, place: Path) -> Path:
        """Where the data is; scenes are written into a folder below the place that is given."""
        if self.data is not None:
            return SHARED / "data" / self.data
        write_coco_scenes(place / "scenes", **SCENES)  # type: ignore[arg-type]
        return place / "scenes"


@dataclass(frozen=True)
class Comparison:
    """One table.

    Attributes:
        minutes: of each training run.
        columns: of the table.
        fitted: whether the training pictures are scored as well.
        timed: whether the networks are kept, and timed side by side.
    """

    minutes: float
    rows: Mapping[str, Row]
    columns: Mapping[str, Cell]
    fitted: bool = False
    timed: bool = False


BOXES = {"AP50": mean("ap50", ".3f"), "AP": mean("ap", ".3f")}
COST = {"crops": median("crops", ".0f"), "memory (GB)": median("memory_gb", ".2f")}
TABLES: dict[str, Comparison] = {
    "nuclei": Comparison(
        15,
        {
            "Mask R-CNN": Row("nuclei-mask_rcnn", "nuclei"),
            "Mask R-CNN, padded": Row("nuclei-mask_rcnn", "nuclei", {**WEIGHTS, "model.name": "mask_rcnn_padded"}),
            "U-Net, best of components and watershed": Row("nuclei-unet", "nuclei"),
        },
        {
            "mask AP50": mean("mask_ap50", ".3f"),
            "mask AP": mean("mask_ap", ".3f"),
            **BOXES,
            "F1 at 0.5": mean("f1_50", ".3f"),
            "DSB 2018": mean("dsb_score", ".3f"),
            **COST,
        },
    ),
    "steel": Comparison(
        12,
        {"Faster R-CNN": Row("faster_rcnn", "neu-det"), "YOLO v1": Row("yolo_v1", "neu-det")},
        {**BOXES, "VOC AP50": mean("voc_ap50", ".3f"), **COST},
    ),
    "scenes": Comparison(
        6,
        {
            "R-CNN": Row("rcnn", None),
            "Fast R-CNN": Row("fast_rcnn", None),
            "Faster R-CNN": Row("faster_rcnn", None),
            "YOLO v1": Row("yolo_v1", None),
            "Mask R-CNN": Row("mask_rcnn", None),
        },
        {**BOXES, **COST},
        timed=True,
    ),
    "coco": Comparison(
        12,
        {
            "Mask R-CNN, coco-mini": Row("mask_rcnn", "coco-mini", {**WEIGHTS, **FITTING}),
            "Faster R-CNN, coco128": Row("faster_rcnn", "coco128", {**WEIGHTS, **FITTING}),
        },
        {
            "AP50, training pictures": mean("fitted_ap50", ".3f"),
            "AP50, held out": mean("ap50", ".3f"),
            "AP, training pictures": mean("fitted_ap", ".3f"),
            "AP, held out": mean("ap", ".3f"),
            **COST,
        },
        fitted=True,
    ),
}


def train_row(name: str, row: str, seed: int, minutes: float) -> dict[str, Any]:
    """Trains one row in this process and returns its scores."""
    prepare_for_networks()
    comparison = TABLES[name]
    asked = comparison.rows[row]
    with tempfile.TemporaryDirectory() as place:
        run = api.train(
            asked.recipe,
            data=asked.folder(Path(place)),
            minutes=minutes,
            out=Path(place) / "run",
            overrides={**asked.settings, "train.seed": seed},
        )
        result = {"row": row, "seed": seed, "minutes": minutes, **_scores(run), "date": time.strftime("%Y-%m-%d")}
        if comparison.fitted:
            fitted = api.evaluate(run.path, split="train")
            result |= {f"fitted_{key}": fitted[key] for key in ("ap50", "ap")}
        if comparison.timed:
            MODELS.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run.best, kept(name, row))
        return result


def kept(name: str, row: str) -> Path:
    """Where the network of a row is kept to be timed."""
    return MODELS / f"{name}-{row.replace(' ', '_')}.safetensors"


def _scores(run: Run) -> dict[str, Any]:
    metrics = run.metrics
    objects = metrics.get("objects") or {}
    rates = [entry["pictures_per_second"] for entry in run.log() if entry["kind"] == "train"]
    return {
        **{name: metrics.get(name) for name in ("mask_ap50", "mask_ap", "ap50", "ap", "voc_ap50")},
        **{name: objects.get(name) for name in ("f1_50", "dsb_score", "aggregated_jaccard")},
        "classes": metrics.get("classes"),
        "crops": run.log()[-1]["step"] * run.planned.train.batch_size,
        "crops_per_second": sorted(rates)[len(rates) // 2] if rates else None,
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "machine": hardware.describe(),
    }


def seconds_per_picture(name: str) -> dict[str, float]:
    """Median seconds of a prediction by each network that is kept, picture by picture in turn in this process."""
    prepare_for_networks()
    predictors: dict[str, Predictor[Any]] = {
        row: api.load(kept(name, row)) for row in TABLES[name].rows if kept(name, row).exists()
    }
    if not predictors:
        return {}
    with tempfile.TemporaryDirectory() as place:
        dataset = open_dataset(next(iter(TABLES[name].rows.values())).folder(Path(place)))
        pictures = [dataset.load(record).image for record in dataset.split("val")[:TIMED]]
    times: dict[str, list[float]] = {row: [] for row in predictors}
    for picture in [pictures[0], *pictures]:  # the first round is not counted
        for row, predict in predictors.items():
            times[row].append(_seconds(partial(predict, picture)))
    return {row: statistics.median(values[1:]) for row, values in times.items()}


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def show(name: str, file: Path) -> None:
    """Prints the results so far as a table in Markdown, and the AP50 of each class."""
    comparison = TABLES[name]
    rows = by_row(finished(file), comparison.rows)
    if not rows:
        print("no results yet")
        return
    columns = dict(comparison.columns)
    if comparison.timed:
        seconds = seconds_per_picture(name)
        columns["seconds per picture"] = lambda results: f"{seconds.get(results[0]['row'], np.nan):.4f}"
    print(table(rows, columns))
    for row, results in rows.items():
        classes = results[0]["classes"] or {}
        if 1 < len(classes) <= MAX_CLASSES:
            print(f"\n{row}: AP50 " + ", ".join(f"{key} {value['ap50']:.3f}" for key, value in classes.items()))


def rows_of(name: str) -> Rows:
    comparison = TABLES[name]
    return Rows(
        f"objects-{name}",
        list(comparison.rows),
        partial(train_row, name),
        minutes=lambda row: comparison.minutes,
        seeds=lambda row: (0,),
        score="crops",
    )


if __name__ == "__main__":
    command(__doc__, {name: rows_of(name) for name in TABLES}, show)
