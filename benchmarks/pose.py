"""Joints of people on LSP's extension, from random weights and from an encoder's: PCK@0.2 by joint and by stack.

    python benchmarks/pose.py [--rows ...]
    python benchmarks/pose.py --show

The first 800 pictures are for training, the last 200 for measuring. The result of a row is appended to
`benchmarks/results/pose.jsonl`, and finished rows are not run again. The data is read from $PIXELWISE_SHARED (default
../shared). Run the script on an otherwise idle machine.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from pixelwise import api, hardware
from pixelwise.cli.process import prepare_for_networks
from rows import Rows, by_row, command, finished, mean, median, table

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))
MINUTES = 20
HELD_OUT = 200
PRETRAINED = {
    "model.encoder": "mobilenet_v2_tf",
    "model.weights": str(SHARED / "weights" / "mobilenet_v2_imagenet.safetensors"),
}
ROWS: dict[str, dict[str, Any]] = {
    "1 stack": {"model.stacks": 1, "model.encoder": None},
    "2 stacks": {"model.stacks": 2, "model.encoder": None},
    "1 stack over MobileNetV2": {"model.stacks": 1, **PRETRAINED},
    "2 stacks over MobileNetV2": {"model.stacks": 2, **PRETRAINED},
}


def split_data(folder: Path) -> Path:
    """Links the data into a folder, and writes the lists of its split."""
    source = SHARED / "data" / "lsp"
    folder.mkdir()
    for each in ("images", "joints.mat"):
        (folder / each).symlink_to((source / each).resolve())
    names = sorted(file.stem for file in (source / "images").iterdir())
    (folder / "train.txt").write_text("\n".join(names[:-HELD_OUT]) + "\n")
    (folder / "val.txt").write_text("\n".join(names[-HELD_OUT:]) + "\n")
    return folder


def train_row(row: str, seed: int, minutes: float) -> dict[str, Any]:
    """Trains one row in this process; returns its scores on the held-out pictures, without and with the flip test."""
    prepare_for_networks()
    with tempfile.TemporaryDirectory() as place:
        data = split_data(Path(place) / "lsp")
        overrides = {**ROWS[row], "train.seed": seed}
        run = api.train("hourglass_pose", data=data, minutes=minutes, out=Path(place) / "run", overrides=overrides)
        metrics, planned = run.metrics, run.planned
        return {
            "row": row,
            "seed": seed,
            "minutes": minutes,
            **{key: metrics[key] for key in ("pck", "pck_weighted", "pckh", "joints", "stacks", "pck_by_threshold")},
            "pck_flips": api.evaluate(run.path, flips="horizontal")["pck"],
            "crop": list(planned.crop),
            "batch_size": planned.train.batch_size,
            "lr": planned.optimizer.lr,
            "crops": run.log()[-1]["step"] * planned.train.batch_size,
            "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
            "machine": hardware.describe(),
            "date": time.strftime("%Y-%m-%d"),
        }


def show(name: str, file: Path) -> None:
    """Prints the results so far as a table in Markdown, and PCK@0.2 by joint and by stack."""
    rows = by_row(finished(file), ROWS)
    if not rows:
        print("no results yet")
        return
    columns = {
        "PCK@0.2": mean("pck", ".3f"),
        "with flips": mean("pck_flips", ".3f"),
        "PCKh@0.5": mean("pckh", ".3f"),
        "crops": median("crops", ".0f"),
        "memory (GB)": median("memory_gb", ".2f"),
    }
    print(table(rows, columns))
    for row, results in rows.items():
        stacks = ", ".join(f"stack {each['stack']} {each['pck']:.3f}" for each in results[0]["stacks"])
        joints = ", ".join(
            f"{joint.replace('_', ' ')} {found['pck']:.2f}" for joint, found in results[0]["joints"].items()
        )
        print(f"\n{row}: {stacks}; {joints}")


if __name__ == "__main__":
    rows = Rows("pose", list(ROWS), train_row, minutes=lambda row: MINUTES, seeds=lambda row: (0,), score="pck")
    command(__doc__, {"pose": rows}, show)
