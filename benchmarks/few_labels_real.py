"""Few labels on larger data: MNIST with 100 labels, CamVid with a sixteenth and an eighth of its labels.

    python benchmarks/few_labels_real.py {mnist,camvid-16,camvid-8} [--rows ...] [--seeds ...]
    python benchmarks/few_labels_real.py camvid-16 --show

Every row of a network has 8 minutes. There is one validation, at its end, so it cannot choose anything: the scores are
those of the last weights. `mnist` has ten labels per class and 47,900 further digits without labels; the error is that
on the 10,000 test digits. The first three rows are scikit-learn's on the same pixels, with 20,000 of the unlabelled
digits, self-training with 5,000. `camvid-16` has labels for 23 of 367 frames, `camvid-8` for 46: a row of frames of
each video, from a place that the seed chooses. All networks are a U-Net over MobileNetV2 with weights learned on
ImageNet; the score is the mean IoU on the 101 validation frames. The result of a row is appended to
`benchmarks/results/few_labels-TABLE.jsonl`, and finished rows are not run again. Data is read from $PIXELWISE_SHARED
(default ../shared). Run one command at a time, on an otherwise idle machine.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise import api, hardware
from pixelwise.cli.process import prepare_for_networks
from pixelwise.data.dataset import UNLABELLED
from pixelwise.data.formats import open_dataset
from pixelwise.data.labelled_list import names_digest
from pixelwise.data.splits import even_sample
from pixelwise.tasks.classify.references import REFERENCES
from rows import Cell, Rows, by_row, by_seed, command, finished, mean, median, table

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))
METHODS: dict[str, Mapping[str, Any]] = {
    "labels alone": {},
    "pseudo-labels": {"method.name": "pseudo_labels"},
    "mean teacher": {"method.name": "mean_teacher"},
    "FixMatch": {"method.name": "fixmatch"},
    "VAT": {"method.name": "vat"},
}
DENSE = {row: METHODS[row] for row in ("labels alone", "mean teacher", "FixMatch", "VAT")}
PERCEPTRON = {
    "model.name": "mlp",
    "model.hidden": [500, 250],
    "model.dropout": 0.3,
    "optimizer.lr": 0.003,
    "optimizer.betas": [0.5, 0.999],
    "optimizer.weight_decay": 0.0,
    "train.batch_size": 100,
}
"""The network and optimiser of the recipe `k_plus_one`: features of LeNet-5 end in tanh, and saturate as those of a
discriminator."""
DIGITS = {
    **METHODS,
    "labels alone, perceptron": PERCEPTRON,
    "K + 1 classes, perceptron": {**PERCEPTRON, "method.name": "k_plus_one", "method.noise": 1.0},
}
STILL = {"augment.flip": "none", "augment.scale": [1.0, 1.0], "augment.rotate": 0.0}


@dataclass(frozen=True)
class Table:
    """One comparison.

    Attributes:
        labelled: number of training pictures with labels.
        methods: row -> the settings of its method.
        references: rows of `pixelwise.tasks.classify.references`.
        split: the pictures to measure on.
    """

    recipe: str
    data: str
    labelled: int
    split: str
    settings: Mapping[str, Any]
    methods: Mapping[str, Mapping[str, Any]]
    references: tuple[str, ...]
    seeds: tuple[int, ...]
    columns: Mapping[str, Cell]

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows: classical references, and networks trained by a method."""
        return (*self.references, *self.methods)


COST = {"steps": median("steps", ".0f"), "seconds per step": median("per_step", ".3f")}
ERROR = {"error (%)": mean("error", ".2f"), **COST}
SEEDS = (0, 1, 2)
IOU = {"mean IoU": mean("mean_iou", ".3f")}
BY_SEED = {"by seed": by_seed("mean_iou", ".3f", SEEDS)}
CAMVID = {
    "model.encoder": "mobilenet_v2",
    "model.weights": str(SHARED / "weights" / "mobilenet_v2_imagenet.safetensors"),
}
TABLES = {
    "mnist": Table("lenet5", "mnist", 100, "test", STILL, DIGITS, tuple(REFERENCES), (0,), ERROR),
    "camvid-16": Table("unet", "camvid", 23, "val", CAMVID, DENSE, (), SEEDS, {**IOU, **BY_SEED, **COST}),
    "camvid-8": Table("unet", "camvid", 46, "val", CAMVID, DENSE, (), SEEDS[:1], {**IOU, **COST}),
}


def train_row(name: str, row: str, seed: int, minutes: float) -> dict[str, Any]:
    """Trains one row in this process and returns its scores."""
    prepare_for_networks()
    chosen = TABLES[name]
    result: dict[str, Any] = {"row": row, "seed": seed, "minutes": minutes}
    if row in REFERENCES:
        result |= fit_reference(row, seed, chosen)
    else:
        overrides = {
            **chosen.settings,
            **chosen.methods[row],
            "data.labelled": chosen.labelled,
            "data.split_seed": seed,
            "train.seed": seed,
            "train.validations": 1,
        }
        with tempfile.TemporaryDirectory() as place:
            run = api.train(
                chosen.recipe, data=SHARED / "data" / chosen.data, minutes=minutes, out=Path(place) / "run",
                overrides=overrides,
            )  # fmt: skip
            found = run.metrics if chosen.split == "val" else api.evaluate(run.path, split=chosen.split)
            last = run.log()[-1]
            lines = (run.path / "labelled.txt").read_text().splitlines()
        scores = {"mean_iou": found["mean_iou"]} if "mean_iou" in found else {"error": 100 * (1 - found["accuracy"])}
        result |= {
            **scores,
            "steps": last["step"],
            "per_step": last["seconds"] / last["step"],
            "digest": lines[0][-12:],
        }
    return {
        **result,
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "machine": hardware.describe(),
        "date": time.strftime("%Y-%m-%d"),
    }


def fit_reference(row: str, seed: int, chosen: Table) -> dict[str, Any]:
    """Fits a classical reference to the pixels, with the same labels as the networks have."""
    dataset = open_dataset(SHARED / "data" / chosen.data, labelled=chosen.labelled, seed=seed)
    pixels, classes = {}, {}
    for split in ("train", UNLABELLED, chosen.split):
        records = dataset.split(split)
        pixels[split] = np.stack([dataset.read(record).ravel() for record in records]).astype(np.float32)
        classes[split] = np.array([-1 if record.class_id is None else record.class_id for record in records])
    reference = REFERENCES[row]
    more = np.stack(even_sample(pixels[UNLABELLED], reference.most))
    fitted = reference.fit(pixels["train"], classes["train"], more, seed)
    wrong = fitted.predict(pixels[chosen.split]) != classes[chosen.split]
    names = [record.name for record in dataset.split("train")]
    return {"error": 100 * float(wrong.mean()), "digest": names_digest(names)}


def show(name: str, file: Path) -> None:
    """Prints the results so far as a table in Markdown."""
    rows = by_row(finished(file), TABLES[name].rows)
    print(table(rows, TABLES[name].columns) if rows else "no results yet")
    for seed in TABLES[name].seeds:
        digests = {each["digest"] for results in rows.values() for each in results if each["seed"] == seed}
        print(f"\nseed {seed}: labelled pictures with the digest {', '.join(sorted(digests)) or 'unknown'}")


def main() -> None:
    """Runs the command line."""
    tables = {
        name: Rows(
            f"few_labels-{name}",
            each.rows,
            lambda row, seed, minutes, name=name: train_row(name, row, seed, minutes),  # type: ignore[misc]
            lambda row: 8.0,
            lambda row, seeds=each.seeds: seeds,  # type: ignore[misc]
            "error" if name == "mnist" else "mean_iou",
        )
        for name, each in TABLES.items()
    }
    command(__doc__, tables, show)


if __name__ == "__main__":
    main()
