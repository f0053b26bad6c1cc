"""Compares methods that learn from labelled and unlabelled pictures together with training on labels alone.

    python benchmarks/few_labels.py [--seeds 0 1 2] [--rows ROW ...]

The data is scikit-learn's 8x8 digits: 5 labelled digits per class, chosen by the seed; 1,000 others without their
labels; and the remaining 747 to measure the error. There is one validation, at the end, so it cannot choose anything.
Every row sees the same digits and takes the same number of steps.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from pixelwise import api
from pixelwise.data.pictures import write_png

LABELS, UNLABELLED = 5, 1000
ALONE = "labels alone"
ROWS: dict[str, Mapping[str, Any]] = {
    ALONE: {"method.name": "supervised"},
    "pseudo-labels": {"method.name": "pseudo_labels"},
    "mean teacher": {"method.name": "mean_teacher", "train.ema_decay": "auto"},
    "FixMatch": {"method.name": "fixmatch", "train.ema_decay": "auto"},
    "K + 1 classes": {"method.name": "k_plus_one"},
    "VAT": {"method.name": "vat"},
}
"""Row -> its changes to the recipe `vat`."""


def write_split(out: Path, seed: int) -> None:
    """Writes `labelled/train/CLASS`, `labelled/val/CLASS`, and `more`, which has no folders by class."""
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    order = np.random.default_rng(seed).permutation(len(images))
    taken = np.concatenate([order[digits.target[order] == class_id][:LABELS] for class_id in range(10)])
    rest = np.array([place for place in order.tolist() if place not in set(taken.tolist())])
    for split, places in (("train", taken), ("val", rest[UNLABELLED:])):
        for place in places.tolist():
            write_png(out / "labelled" / split / str(digits.target[place]) / f"{place:04d}.png", images[place])
    for place in rest[:UNLABELLED].tolist():
        write_png(out / "more" / f"{place:04d}.png", images[place])


def train_row(row: str, seed: int, folder: Path, epochs: float) -> tuple[float, float]:
    """Trains a row; returns the error on the held-out digits in percent, and the seconds of training."""
    started = time.monotonic()
    overrides = {"train.seed": seed, "model.size": [8, 8], **ROWS[row]}
    run = api.train(
        "vat",
        data=folder / "labelled",
        unlabelled=None if row == ALONE else folder / "more",
        epochs=epochs,
        out=folder / row.replace(" ", "-"),
        overrides=overrides,
    )
    return 100 * (1 - run.metrics["accuracy"]), time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--epochs", type=float, default=1000)
    arguments = parser.parse_args()
    errors: dict[str, list[float]] = {row: [] for row in arguments.rows}
    seconds: dict[str, list[float]] = {row: [] for row in arguments.rows}
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            write_split(Path(folder), seed)
            for row in arguments.rows:
                error, elapsed = train_row(row, seed, Path(folder), arguments.epochs)
                errors[row].append(error)
                seconds[row].append(elapsed)
                print(f"seed {seed}, {row}: {error:.1f} % wrong, {elapsed:.0f} s", flush=True)
    print("\n| | error in % by seed | mean | seconds |\n|---|---|---|---|")
    for row in arguments.rows:
        each = ", ".join(f"{error:.1f}" for error in errors[row])
        print(f"| {row} | {each} | {statistics.mean(errors[row]):.1f} | {statistics.median(seconds[row]):.0f} |")


if __name__ == "__main__":
    main()
