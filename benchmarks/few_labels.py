"""Compares methods that learn from labelled and unlabelled pictures together with training on labels alone.

    python benchmarks/few_labels.py [--seeds 0 1 2] [--rows ROW ...]

The data is scikit-learn's 8x8 digits: 5 labelled digits per class, chosen by the seed; 1,000 others without their
labels; and the remaining 747 to measure the error. There is one validation, at the end, so it cannot choose anything.
Every network sees the same digits and takes the same number of steps. The classical references see the same pixels.
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
from pixelwise.tasks.classify.references import REFERENCES

LABELS, UNLABELLED = 5, 1000
ALONE = "labels alone"
DROPOUT = {"model.batch_norm": False, "model.dropout": 0.3, "train.ema_decay": "auto"}
"""The discriminator of the paper has no batch norm."""
ROWS: dict[str, Mapping[str, Any]] = {
    ALONE: {"method.name": "supervised"},
    "pseudo-labels": {"method.name": "pseudo_labels"},
    "mean teacher": {"method.name": "mean_teacher", "train.ema_decay": "auto", "method.noise": 0.5},
    "FixMatch": {"method.name": "fixmatch", "train.ema_decay": "auto"},
    "K + 1 classes": {"method.name": "k_plus_one"},
    "K + 1 classes, dropout and noise": {
        "method.name": "k_plus_one",
        "method.noise": 0.3,
        "optimizer.lr": 0.003,
        "optimizer.betas": [0.5, 0.999],
        **DROPOUT,
    },
    f"{ALONE}, dropout": {"method.name": "supervised", **DROPOUT},
    "VAT": {"method.name": "vat"},
}
"""Row -> its changes to the recipe `vat`."""


def split_digits(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The indices of the labelled digits, of those without their labels, and of those to measure."""
    target = load_digits().target
    order = np.random.default_rng(seed).permutation(len(target))
    labelled = np.concatenate([order[target[order] == class_id][:LABELS] for class_id in range(10)])
    rest = order[~np.isin(order, labelled)]
    return labelled, rest[:UNLABELLED], rest[UNLABELLED:]


def write_split(out: Path, seed: int) -> None:
    """Writes `labelled/train/CLASS`, `labelled/val/CLASS`, and `more`, which has no folders by class."""
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    labelled, more, held_out = split_digits(seed)
    for split, chosen in (("train", labelled), ("val", held_out)):
        for index in chosen.tolist():
            write_png(out / "labelled" / split / str(digits.target[index]) / f"{index:04d}.png", images[index])
    for index in more.tolist():
        write_png(out / "more" / f"{index:04d}.png", images[index])


def train_row(row: str, seed: int, folder: Path, epochs: float) -> tuple[float, float]:
    """Trains a row; returns the error on the held-out digits in percent, and the seconds of training."""
    started = time.monotonic()
    overrides = {"train.seed": seed, "model.size": [8, 8], **ROWS[row]}
    run = api.train(
        "vat",
        data=folder / "labelled",
        unlabelled=None if row.startswith(ALONE) else folder / "more",
        epochs=epochs,
        out=folder / row.replace(" ", "-"),
        overrides=overrides,
    )
    return 100 * (1 - run.metrics["accuracy"]), time.monotonic() - started


def fit_reference(row: str, seed: int) -> tuple[float, float]:
    """Fits a classical reference; returns what `train_row` does."""
    digits = load_digits()
    labelled, more, held_out = split_digits(seed)
    started = time.monotonic()
    fitted = REFERENCES[row].fit(digits.data[labelled], digits.target[labelled], digits.data[more], seed)
    wrong = fitted.predict(digits.data[held_out]) != digits.target[held_out]
    return 100 * float(wrong.mean()), time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*REFERENCES, *ROWS]
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", default=names, choices=names)
    parser.add_argument("--epochs", type=float, default=1000)
    arguments = parser.parse_args()
    errors: dict[str, list[float]] = {row: [] for row in arguments.rows}
    seconds: dict[str, list[float]] = {row: [] for row in arguments.rows}
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            write_split(Path(folder), seed)
            for row in arguments.rows:
                if row in REFERENCES:
                    error, elapsed = fit_reference(row, seed)
                else:
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
