"""Networks that find every object, on real data, with equal minutes of training.

    python benchmarks/objects.py {nuclei,steel} [--rows ...]
    python benchmarks/objects.py nuclei --show

`nuclei` outlines cell nuclei with Mask R-CNN and with a U-Net and a watershed of its mask; its split is stratified by
kind of picture. `steel` finds defects of six kinds as boxes. The result of a row is appended to
`benchmarks/results/objects-TABLE.jsonl`, and finished rows are not run again. Data and the weights of MobileNetV2 are
read from $PIXELWISE_SHARED (default ../shared). Run one command at a time, on an otherwise idle machine.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from pixelwise import api, hardware
from pixelwise.cli.process import prepare_for_networks
from pixelwise.training.run import Run
from rows import Rows, by_row, command, finished, mean, median, table

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))
WEIGHTS = {"model.weights": str(SHARED / "weights" / "mobilenet_v2_imagenet.safetensors")}

TABLES: dict[str, tuple[str, float, dict[str, tuple[str, dict[str, Any]]]]] = {
    # name: (data, minutes, row -> recipe and settings)
    "nuclei": (
        "nuclei",
        15,
        {
            "Mask R-CNN": ("nuclei-mask_rcnn", WEIGHTS),
            "Mask R-CNN, padded": ("nuclei-mask_rcnn", {**WEIGHTS, "model.name": "mask_rcnn_padded"}),
            "U-Net, best of components and watershed": ("nuclei-unet", WEIGHTS),
        },
    ),
    "steel": ("neu-det", 12, {"Faster R-CNN": ("faster_rcnn", WEIGHTS), "YOLO v1": ("yolo_v1", WEIGHTS)}),
}


def train_row(name: str, row: str, seed: int, minutes: float) -> dict[str, Any]:
    """Trains one row in this process and returns its scores on the validation pictures."""
    prepare_for_networks()
    data, _, rows = TABLES[name]
    recipe, settings = rows[row]
    with tempfile.TemporaryDirectory() as place:
        run = api.train(
            recipe,
            data=SHARED / "data" / data,
            minutes=minutes,
            out=Path(place) / "run",
            overrides={**settings, "train.seed": seed},
        )
        return {"row": row, "seed": seed, "minutes": minutes, **_scores(run), "date": time.strftime("%Y-%m-%d")}


def _scores(run: Run) -> dict[str, Any]:
    metrics = run.metrics
    objects = metrics.get("objects") or {}
    rates = [entry["pictures_per_second"] for entry in run.log() if entry["kind"] == "train"]
    return {
        **{name: metrics.get(name) for name in ("mask_ap50", "mask_ap", "ap50", "ap", "voc_ap50")},
        **{name: objects.get(name) for name in ("f1_50", "dsb_score", "aggregated_jaccard")},
        "classes": metrics.get("classes"),
        "views": run.log()[-1]["step"] * run.planned.train.batch_size,
        "views_per_second": sorted(rates)[len(rates) // 2] if rates else None,
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "machine": hardware.describe(),
    }


def show(name: str, file: Path) -> None:
    """Prints the results so far as a table in Markdown, and the AP50 of each class."""
    rows = by_row(finished(file), TABLES[name][2])
    if not rows:
        print("no results yet")
        return
    columns = {
        "mask AP50": mean("mask_ap50", ".3f"),
        "mask AP": mean("mask_ap", ".3f"),
        "AP50": mean("ap50", ".3f"),
        "AP": mean("ap", ".3f"),
        "VOC AP50": mean("voc_ap50", ".3f"),
        "F1 at 0.5": mean("f1_50", ".3f"),
        "DSB 2018": mean("dsb_score", ".3f"),
        "crops": median("views", ".0f"),
        "memory (GB)": median("memory_gb", ".2f"),
    }
    print(table(rows, columns))
    for row, results in rows.items():
        classes = results[0]["classes"] or {}
        if len(classes) > 1:
            print(f"\n{row}: AP50 " + ", ".join(f"{key} {value['ap50']:.3f}" for key, value in classes.items()))


def rows_of(name: str) -> Rows:
    _, minutes, rows = TABLES[name]
    return Rows(
        f"objects-{name}",
        list(rows),
        partial(train_row, name),
        minutes=lambda row: minutes,
        seeds=lambda row: (0,),
        score="views",
    )


if __name__ == "__main__":
    command(__doc__, {name: rows_of(name) for name in TABLES}, show)
