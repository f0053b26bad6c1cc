"""Models of pictures on MNIST, with equal minutes: nats per picture, distances of features, pictures of another kind.

    python benchmarks/generative.py {likelihood,gans} [--rows ...]
    python benchmarks/generative.py likelihood --show

48,000 digits are for training, 12,000 choose the best weights, and the 10,000 test digits give the numbers.
`likelihood` trains the networks that give pictures a probability, or a bound on it, for 10 minutes, with dynamic
binarisation, and the best of those with an exact probability for 40 minutes. It also measures how well they separate
the test digits from the same digits rotated by 90 degrees and from scikit-learn's digits, enlarged to 28 x 28. `gans`
trains GANs for 8 minutes at 32 x 32 and compares as many generated as test digits by the features of a classifier; the
samples of each row are kept as a picture. The result of a row is appended to
`benchmarks/results/generative-TABLE.jsonl`, and finished rows are not run again; its run stays in
`benchmarks/results/models/generative`. Data is read from $PIXELWISE_SHARED (default ../shared). Run one command at a
time, on an otherwise idle machine.
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from sklearn.datasets import load_digits

from pixelwise import api, hardware
from pixelwise.catalog import load_model, task_of
from pixelwise.cli.process import prepare_for_networks
from pixelwise.data.formats import open_dataset
from pixelwise.data.pictures import write_png
from rows import RESULTS, Cell, Rows, by_row, command, finished, mean, median, table

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))
MNIST = SHARED / "data" / "mnist"
SHEETS = RESULTS / "generative"
"""Pictures that the networks of each row made."""
RUNS = RESULTS / "models" / "generative"
"""The runs, for the figures of the pages."""
TESTED = 10_000
"""Pictures for which the importance-weighted bound is computed: all test digits."""
OTHERS = 1797
"""Pictures of each other kind: all of scikit-learn's digits."""


@dataclass(frozen=True)
class Row:
    """One training run."""

    recipe: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    minutes: float | None = None


LIKELIHOOD = {
    "PixelRNN, Row LSTM": Row("pixelrnn_row"),
    "PixelRNN, Diagonal BiLSTM": Row("pixelrnn_diagonal"),
    "PixelCNN": Row("pixelcnn"),
    "gated PixelCNN": Row("gated_pixelcnn"),
    "VAE": Row("vae"),
    "PixelRNN, Row LSTM, 40 minutes": Row("pixelrnn_row", minutes=40),
}
GANS = {
    "DCGAN": Row("dcgan"),
    "DCGAN, spectral norm": Row("dcgan", {"method.lipschitz": "spectral_norm"}),
    "DCGAN, unrolled 5": Row("dcgan", {"method.unrolled_steps": 5}),
    "WGAN-GP": Row("wgan_gp"),
    "Progressive GAN": Row("progressive_gan"),
}


def error(name: str) -> Cell:
    """A column with a score and its standard error."""

    def cell(results: list[dict[str, Any]]) -> str:
        return ", ".join(f"{each[name]:.4f} ± {each[f'{name}_error']:.4f}" for each in results)

    return cell


COLUMNS: dict[str, dict[str, Cell]] = {
    "likelihood": {
        "nats": mean("nats", ".2f"),
        "bits per dimension": mean("bits_per_dim", ".4f"),
        "IW-100": mean("importance_weighted_bound", ".2f"),
        "steps": median("steps", ".0f"),
        "AUC rotated": mean("rotated_auc", ".3f"),
        "corrected": mean("rotated_auc_corrected", ".3f"),
        "reconstruction": mean("rotated_auc_reconstruction", ".3f"),
        "AUC scikit-learn": mean("digits_auc", ".3f"),
        "corrected ": mean("digits_auc_corrected", ".3f"),
        "reconstruction ": mean("digits_auc_reconstruction", ".3f"),
    },
    "gans": {
        "KID": error("kid"),
        "FID": error("fid"),
        "diversity": mean("diversity", ".2f"),
        "seconds per step": median("seconds_per_step", ".3f"),
        "steps": median("steps", ".0f"),
        "memory (GB)": median("memory_gb", ".2f"),
    },
}
TABLES = {"likelihood": LIKELIHOOD, "gans": GANS}


def write_others(folder: Path) -> dict[str, Path]:
    """Writes pictures of other kinds at 28 x 28, by name: rotated test digits, and scikit-learn's digits."""
    dataset = open_dataset(MNIST)
    records = dataset.split("test")[:OTHERS]
    for number, record in enumerate(records):
        turned = np.ascontiguousarray(np.rot90(dataset.read(record)[:, :, 0]))
        write_png(folder / "rotated" / f"{number:04d}.png", turned)
    for number, image in enumerate(load_digits().images):
        larger = cv2.resize((image * (255 / 16)).astype(np.uint8), (20, 20), interpolation=cv2.INTER_CUBIC)
        write_png(folder / "digits" / f"{number:04d}.png", np.pad(larger, 4))
    return {"rotated": folder / "rotated", "digits": folder / "digits"}


def train_row(name: str, row: str, seed: int, minutes: float) -> dict[str, Any]:
    """Trains one row in this process and returns its scores on the test digits."""
    prepare_for_networks()
    chosen = TABLES[name][row]
    title = f"{name}-{row.replace(' ', '_').replace(',', '')}-{seed}"
    out = RUNS / title
    shutil.rmtree(out, ignore_errors=True)  # of a row that was stopped
    run = api.train(
        chosen.recipe, data=MNIST, minutes=minutes, out=out, overrides={**chosen.settings, "train.seed": seed}
    )
    found = api.evaluate(run.path, split="test", bound_pictures=TESTED)
    if name == "likelihood":
        with tempfile.TemporaryDirectory() as place:
            for kind, folder in write_others(Path(place)).items():
                compared = api.evaluate(run.path, split="test", against=folder)
                found |= {f"{kind}_{key}": value for key, value in compared.items() if key.startswith("auc")}
    network, spec = load_model(run.best)
    write_png(SHEETS / f"{title}.png", task_of(spec).snapshots(network.eval())["samples"])
    last = run.log()[-1]
    return {
        "row": row,
        "seed": seed,
        "minutes": minutes,
        **{key: value for key, value in found.items() if isinstance(value, int | float)},
        "steps": last["step"],
        "seconds_per_step": last["seconds"] / last["step"],
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "machine": hardware.describe(),
        "date": time.strftime("%Y-%m-%d"),
    }


def show(name: str, file: Path) -> None:
    """Prints the results so far as a table in Markdown."""
    rows = by_row(finished(file), TABLES[name])
    print(table(rows, COLUMNS[name]) if rows else "no results yet")


def main() -> None:
    """Runs the command line."""
    tables = {
        name: Rows(
            f"generative-{name}",
            tuple(rows),
            lambda row, seed, minutes, name=name: train_row(name, row, seed, minutes),  # type: ignore[misc]
            lambda row, rows=rows, usual=minutes: rows[row].minutes or usual,  # type: ignore[misc]
            lambda row: (0,),
            score,
        )
        for name, rows, minutes, score in (("likelihood", LIKELIHOOD, 10.0, "nats"), ("gans", GANS, 8.0, "kid"))
    }
    command(__doc__, tables, show)


if __name__ == "__main__":
    main()
