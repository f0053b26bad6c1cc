"""Models of pictures on MNIST: nats per picture for a VAE, distances of features for a DCGAN.

    python benchmarks/generative.py [--minutes 5] [--rows vae dcgan]

Each model is trained with its recipe for the given minutes on 48,000 digits. 12,000 held-out digits choose the best
weights, and the 10,000 test digits measure the result. Data is read from $PIXELWISE_SHARED (default ../shared).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from pixelwise import api, hardware
from pixelwise.errors import UserError

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))
COLUMNS = {
    "vae": ("negative_elbo", "reconstruction", "kl", "importance_weighted_bound"),
    "autoencoder": ("reconstruction",),
    "dcgan": ("kid", "frechet"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--rows", nargs="+", default=["vae", "dcgan"], choices=list(COLUMNS))
    parser.add_argument("--keep", type=Path, help="folder for the runs (default: they are removed)")
    arguments = parser.parse_args()
    data = SHARED / "data" / "mnist"
    if not data.is_dir():
        raise UserError(f"{data}: no such data; set PIXELWISE_SHARED.")
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for row in arguments.rows:
            out = (arguments.keep or Path(folder)) / row
            run = api.train(row, data=data, minutes=arguments.minutes, out=out, progress=True)
            found = api.evaluate(run.path, split="test")
            steps = max(entry["step"] for entry in run.log())
            scores = ", ".join(f"{key.replace('_', ' ')} {found[key]:.4g}" for key in COLUMNS[row])
            lines.append(f"| {row} | {arguments.minutes:g} | {steps:,} | {scores} |")
    print(f"{hardware.describe()['processor']}, {hardware.describe()['threads']} threads\n")
    print("| recipe | minutes | steps | on the test digits |\n|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
