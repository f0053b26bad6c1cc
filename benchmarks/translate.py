"""Translation between aerial pictures and maps, learned from pairs and without them.

    python benchmarks/translate.py [--rows ...]
    python benchmarks/translate.py --show

pix2pix is trained in both directions on the pairs, CycleGAN on the same pictures in two orders, so that pairs do not
meet. The hidden pairs give the exact error of each direction. The classes of map colours are compared, too: each pixel
has the class of the nearest of `COLOURS`. Crops have 256 x 256 pixels, and scores are those of whole pictures of
600 x 600 pixels. A row per direction is printed, beside the errors of two methods that need no network. The result of a
run is appended to `benchmarks/results/translate.jsonl`, and finished runs are not repeated; they stay in
`benchmarks/results/models/translate`. Data is read from $PIXELWISE_SHARED (default ../shared). Run one command at a
time, on an otherwise idle machine.
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixelwise import api, hardware
from pixelwise.cli.process import prepare_for_networks
from pixelwise.training.run import Run
from rows import RESULTS, Cell, Rows, by_row, command, finished, mean, median, table

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))
KEPT = RESULTS / "models" / "translate"
COLOURS = {
    "ground": (238, 231, 222),
    "road": (255, 255, 255),
    "main road": (254, 228, 105),
    "water": (179, 209, 254),
    "park": (204, 222, 174),
}
"""The most frequent colour of each class in the training maps. Buildings and settlements differ from other ground by a
few grey levels only, and count as ground."""
TO_MAP, TO_AERIAL = "aerial -> map", "map -> aerial"
PIX2PIX, CYCLEGAN = "pix2pix", "CycleGAN"
RUNS: Mapping[str, tuple[str, float, Mapping[str, Any]]] = {
    f"{PIX2PIX}, {TO_MAP}": ("pix2pix", 15, {}),
    f"{PIX2PIX}, {TO_AERIAL}": ("pix2pix", 15, {"model.direction": "b-to-a"}),
    CYCLEGAN: ("cyclegan", 40, {}),
}
"""Row -> recipe, minutes and settings."""
KEYS = (
    "l1", "psnr", "own_to_others", "label_accuracy", "label_miou",
    "cycle_l1", "unchanged_l1", "constant_l1", "diversity",
)  # fmt: skip
COLUMNS: Mapping[str, Cell] = {
    "L1": mean("l1", ".2f"),
    "PSNR (dB)": mean("psnr", ".2f"),
    "own to others": mean("own_to_others", ".2f"),
    "label accuracy": mean("label_accuracy", ".3f"),
    "label mIoU": mean("label_miou", ".3f"),
    "there and back": mean("cycle_l1", ".2f"),
    "L1 unchanged": mean("unchanged_l1", ".2f"),
    "L1 of one colour": mean("constant_l1", ".2f"),
    "diversity": mean("diversity", ".2f"),
    "steps": median("steps", ".0f"),
    "steps per second": median("steps_per_second", ".2f"),
    "memory (GB)": median("memory_gb", ".2f"),
}


def with_colours(place: Path) -> Path:
    """A folder with the pairs and a table of the maps' colours."""
    place.mkdir()
    for split in ("train", "val"):
        (place / split).symlink_to((SHARED / "data" / "maps" / split).resolve())
    lines = (f"{name} {' '.join(map(str, colour))}\n" for name, colour in COLOURS.items())
    (place / "colors.txt").write_text("".join(lines))
    return place


def train_row(row: str, seed: int, minutes: float) -> dict[str, Any]:
    """Trains one row in this process and returns its scores, of both directions if the network has both."""
    prepare_for_networks()
    recipe, _, settings = RUNS[row]
    out = KEPT / f"{row.replace(', ', '-').replace(' -> ', '-to-')}-{seed}"
    shutil.rmtree(out, ignore_errors=True)  # of a row that was stopped
    with tempfile.TemporaryDirectory() as place:
        run = api.train(
            recipe,
            data=with_colours(Path(place) / "maps"),
            minutes=minutes,
            out=out,
            overrides={**settings, "train.seed": seed},
        )
        found = {"row": row, "seed": seed, "minutes": minutes, **_scores(run.metrics), **_cost(run)}
        if row == CYCLEGAN:
            found["back"] = _scores(api.evaluate(run.path, direction="b-to-a"))
        return {**found, "machine": hardware.describe(), "date": time.strftime("%Y-%m-%d")}


def _scores(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {key: summary.get(key) for key in KEYS}


def _cost(run: Run) -> dict[str, Any]:
    log = run.log()
    rates = sorted(entry["pictures_per_second"] for entry in log if entry["kind"] == "train")
    return {
        "steps": log[-1]["step"],
        "steps_per_second": rates[len(rates) // 2] / run.planned.train.batch_size if rates else None,
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def show(name: str, file: Path) -> None:
    """Prints the results so far as a table in Markdown, with a row per direction."""
    rows = by_row(finished(file), RUNS)
    if not rows:
        print("no results yet")
        return
    shown = {}
    for row, results in rows.items():
        if row == CYCLEGAN:
            shown[f"{row}, {TO_MAP}"] = results
            shown[f"{row}, {TO_AERIAL}"] = [{**result, **result["back"]} for result in results]
        else:
            shown[row] = results
    print(table(shown, COLUMNS))


ROWS = Rows(
    "translate",
    list(RUNS),
    train_row,
    minutes=lambda row: RUNS[row][1],
    seeds=lambda row: (0,),
    score="l1",
)

if __name__ == "__main__":
    command(__doc__, {"translate": ROWS}, show)
