"""Runs that are killed at random steps and resumed, against runs that are not: is the result the same to the byte?

    python benchmarks/resume.py [--rows ...] [--kills 4] [--seed 0]

Each recipe is trained for some epochs by the command line, once without interruption and once with `SIGKILL` soon after
random steps, each time followed by `pixelwise train --resume`. The weights (`best.safetensors`) and the scores
(`metrics.json`) of both are compared. GANs learn the embedded digits at 32 x 32 pixels, CycleGAN embedded pairs of
128 x 128. Everything takes about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pixelwise import hardware
from pixelwise.data.digits import write_digits
from pixelwise.data.pair_scenes import write_pair_scenes

COMPARED = ("best.safetensors", "metrics.json")
PIXELWISE = (sys.executable, "-m", "pixelwise", "train")
PAUSE = 0.05
"""Seconds between two looks at the log."""


@dataclass(frozen=True, slots=True)
class Row:
    """A recipe, the data that it learns, and the length of its run."""

    write: Callable[[Path], object]
    epochs: int
    settings: Mapping[str, object] = field(default_factory=dict)


def digits(folder: Path) -> None:
    write_digits(folder, train=140, val=20)


def pairs(folder: Path) -> None:
    write_pair_scenes(folder, train=40, val=8)


ROWS: Mapping[str, Row] = {
    "dcgan": Row(digits, 40, {"model.size": 32}),
    "progressive_gan": Row(digits, 8, {"model.size": 32}),
    "cyclegan": Row(pairs, 8),
}


def commanded(name: str, row: Row, data: Path, out: Path) -> list[str]:
    """The command that begins a run."""
    settings = {"train.validations": 6, **row.settings}
    changes = [part for key, value in settings.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    return [*PIXELWISE, name, "--data", str(data), "--epochs", str(row.epochs), "--out", str(out), *changes]


def killed(command: list[str], out: Path, targets: Sequence[int], delays: Sequence[float]) -> list[int]:
    """Kills a run soon after each of some steps, and then lets it end -> the last logged step before each kill.

    Args:
        command: begins the run.
        targets: rising steps.
        delays: seconds between the log's line of such a step, or of a later one, and the kill.
    """
    steps = []
    for target, delay in zip(targets, delays, strict=True):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        while process.poll() is None and last_step(out) < target:
            time.sleep(PAUSE)
        time.sleep(delay)
        process.kill()
        if process.wait() == -signal.SIGKILL:
            steps.append(last_step(out))
        command = [*PIXELWISE, "--resume", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return steps


def last_step(run: Path) -> int:
    """The last step in a run's log, 0 if there is none; a line that is only half written does not count."""
    file = run / "log.jsonl"
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return json.loads(lines[-1])["step"] if lines else 0


def compared(name: str, folder: Path, kills: int, rng: np.random.Generator) -> tuple[str, bool]:
    """Trains a recipe with and without interruptions -> a row of the table, and whether the bytes are the same."""
    row, data = ROWS[name], folder / "data"
    row.write(data)
    whole, stopped = folder / "whole", folder / "stopped"
    subprocess.run(commanded(name, row, data, whole), check=True, stdout=subprocess.DEVNULL)
    total = last_step(whole)
    targets = np.sort(rng.choice(total, kills, replace=False)).tolist()
    delays = rng.uniform(0, 1, kills).tolist()
    steps = killed(commanded(name, row, data, stopped), stopped, targets, delays)
    same = all((whole / file).read_bytes() == (stopped / file).read_bytes() for file in COMPARED)
    return f"| {name} | {total} | {', '.join(map(str, steps))} | {'the same bytes' if same else 'DIFFERENT'} |", same


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0, help="of the random steps")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    print(f"{hardware.describe()['processor']}, {hardware.describe()['threads']} threads\n")
    print("| recipe | steps | killed after step | result |\n|---|---|---|---|")
    results = []
    for name in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            line, same = compared(name, Path(folder), arguments.kills, rng)
        print(line, flush=True)
        results.append(same)
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
