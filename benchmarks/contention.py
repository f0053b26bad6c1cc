"""Training beside programs that keep cores busy: with all threads, and with as many as are fastest.

    python benchmarks/contention.py [--rows ...]
    python benchmarks/contention.py --show

Each row trains a U-Net on embedded scenes for a minute, while no, one or two other processes count without a pause. The
number of threads follows the load, as in every run with a budget of minutes (`training/threads.py`), or stays. The
result of a row is appended to `benchmarks/results/contention.jsonl`, and finished rows are not run again. Run it on an
otherwise idle machine.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pixelwise import api, hardware
from pixelwise.cli.process import prepare_for_networks
from pixelwise.data.scenes import write_scenes
from pixelwise.training import threads
from rows import Rows, by_row, command, finished, mean, table

ROWS = {
    f"{others} other program{'' if others == 1 else 's'}, {'following' if follows else 'all threads'}": (
        others,
        follows,
    )
    for others in range(3)
    for follows in (False, True)
}
"""Name of a row -> the number of other programs, and whether the number of threads follows the load."""


def train_row(row: str, seed: int, minutes: float) -> dict[str, Any]:
    """Trains beside the other programs and returns the score and the number of crops."""
    prepare_for_networks()
    others, follows = ROWS[row]
    if not follows:
        threads.LOST = math.inf
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        write_scenes(Path(place) / "scenes")
        for _ in range(others):
            other = subprocess.Popen([sys.executable, "-c", "while True: sum(range(1000))"])
            stack.callback(other.wait)
            stack.callback(other.kill)
        started = time.monotonic()
        run = api.train(
            "unet",
            data=Path(place) / "scenes",
            minutes=minutes,
            out=Path(place) / "run",
            overrides={"train.seed": seed, "model.weights": "none"},
        )
        return {
            "row": row,
            "seed": seed,
            "minutes": minutes,
            "crops": run.log()[-1]["step"] * run.planned.train.batch_size,
            "mean_iou": run.metrics["mean_iou"],
            "seconds": time.monotonic() - started,
            "machine": hardware.describe(),
            "date": time.strftime("%Y-%m-%d"),
        }


def show(name: str, file: Path) -> None:
    """Prints the results so far as a table in Markdown."""
    columns = {"crops": mean("crops", ".0f"), "mean IoU": mean("mean_iou", ".3f"), "seconds": mean("seconds", ".0f")}
    print(table(by_row(finished(file), ROWS), columns))


if __name__ == "__main__":
    rows = Rows("contention", list(ROWS), train_row, minutes=lambda row: 1.0, seeds=lambda row: (0,), score="crops")
    command(__doc__, {rows.file: rows}, show)
