"""Runs that are killed at random moments and resumed, against runs that are not: is the result the same to the byte?

    python benchmarks/resume.py [--rows ...] [--kills 4] [--seed 0]

Each recipe is trained for some epochs by the command line, once without interruption and once with `SIGKILL` at random
moments, each time followed by `pixelwise train --resume`. The weights (`best.safetensors`) and the scores
(`metrics.json`) of both are compared. GANs learn the embedded digits at 32 x 32 pixels, CycleGAN embedded pairs of
128 x 128. A run of each takes about a minute on two cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pixelwise import hardware
from pixelwise.data.digits import write_digits
from pixelwise.data.pair_scenes import write_pair_scenes

COMPARED = ("best.safetensors", "metrics.json")
PIXELWISE = (sys.executable, "-m", "pixelwise", "train")
PAUSE = 0.05
"""Seconds between two looks at whether a process still runs."""


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


def killed(command: list[str], out: Path, moments: list[float]) -> list[int]:
    """Kills a run at the given numbers of seconds after each start and ends it -> the last logged step of each life."""
    steps = []
    for moment in moments:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        while process.poll() is None and not (out / "log.jsonl").exists():
            time.sleep(PAUSE)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            steps.append(last_step(out))
        command = [*PIXELWISE, "--resume", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return steps


def last_step(run: Path) -> int:
    """The last step in a run's log; a line that was being written when the process was killed does not count."""
    lines = (run / "log.jsonl").read_text().split("\n")[:-1]
    return json.loads(lines[-1])["step"] if lines else 0


def compared(name: str, folder: Path, kills: int, rng: np.random.Generator) -> str:
    """Trains a recipe with and without interruptions -> a row of the table."""
    row, data = ROWS[name], folder / "data"
    row.write(data)
    started = time.perf_counter()
    subprocess.run(commanded(name, row, data, folder / "whole"), check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    moments = (seconds / kills * rng.uniform(0.3, 1.3, kills)).tolist()
    steps = killed(commanded(name, row, data, folder / "killed"), folder / "killed", moments)
    same = [(folder / "whole" / file).read_bytes() == (folder / "killed" / file).read_bytes() for file in COMPARED]
    words = "the same bytes" if all(same) else "DIFFERENT"
    return f"| {name} | {last_step(folder / 'whole')} | {seconds:.0f} | {', '.join(map(str, steps))} | {words} |"


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    print(f"{hardware.describe()['processor']}, {hardware.describe()['threads']} threads\n")
    print("| recipe | steps | seconds | killed after step | result |\n|---|---|---|---|---|")
    for name in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            print(compared(name, Path(folder), arguments.kills, rng), flush=True)


if __name__ == "__main__":
    main()
