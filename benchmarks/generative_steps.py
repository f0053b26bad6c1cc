"""Training steps of generative networks against the plain way, and where a step spends its time.

    python benchmarks/generative_steps.py [--repeats 9] [--rows ...] [--profile]

The plain way is the same step eager, in float32 and NCHW, on memory as glibc manages it by default. Ours is the step of
`pixelwise train` on the same batches. Both are timed alternately in one process, and medians are compared. The networks
are those of the recipes, with random weights: digits at 28 x 28 and 32 x 32 pixels, pairs of scenes at 128 x 128.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelwise import hardware
from pixelwise.cli.process import prepare_for_networks
from pixelwise.data.digits import write_digits
from pixelwise.data.pair_scenes import write_pair_scenes
from pixelwise.methods.base import Forward
from pixelwise.training.loaders import train_loaders
from pixelwise.training.recipes import load_recipe
from pixelwise.training.session import Session, start
from speed import in_turn, the_plain_way

ROWS: dict[str, dict[str, Any]] = {
    "vae": {"model.size": [28, 28]},
    "pixelcnn": {"model.size": [28, 28]},
    "gated_pixelcnn": {"model.size": [28, 28]},
    "pixelrnn_row": {"model.size": [28, 28]},
    "dcgan": {"model.size": 32},
    "wgan_gp": {"model.size": 32},
    "progressive_gan": {"model.size": 32},
    "pix2pix": {},
    "cyclegan": {},
}
"""Recipe -> settings."""
PAIRS = frozenset({"pix2pix", "cyclegan"})
"""Recipes that learn from pairs of pictures."""
PROFILED = ("dcgan", "wgan_gp", "cyclegan")
BATCHES = 3
PROGRESS = 0.9
"""How far the run is; a growing network has all its layers by then."""


class PlainForward(Forward):
    """Pictures in NCHW."""

    def normalised(self, images: Tensor) -> Tensor:
        return ((images.float() - self.mean) / self.std).contiguous()


def session_of(row: str, data: Path, settings: Mapping[str, Any]) -> Session:
    """A run that was started but not trained."""
    with tempfile.TemporaryDirectory() as place:
        fixed = {"data.path": str(data), "train.epochs": 1.0, **ROWS[row], **settings}
        return start(load_recipe(row, fixed), name=row, out=str(Path(place) / "run"))


def actions(row: str, data: Path) -> dict[str, Callable[[], object]]:
    """The step the plain way and ours, each on the same few batches in turn."""
    ours = session_of(row, data, {})
    plain = session_of(row, data, {"train.precision": "float32"})
    plain.method.network.to(memory_format=torch.contiguous_format)
    forward = plain.method.forward
    plain.method.forward = PlainForward(**{each.name: getattr(forward, each.name) for each in fields(forward)})
    loaders = train_loaders(ours.recipe, ours.data.dataset, ours.data.cache, ours.data.task, ours.method)
    streams = {}
    for name, loader in loaders.items():
        with closing(loader.batches()) as batches:
            streams[name] = list(itertools.islice(batches, BATCHES))
    turns = {name: itertools.cycle(range(BATCHES)) for name in ("plain", "ours")}

    def step(name: str, session: Session) -> Callable[[], object]:
        def run() -> object:
            number = next(turns[name])
            return session.method.step({key: batches[number] for key, batches in streams.items()}, PROGRESS)

        return run

    return {"plain": the_plain_way(step("plain", plain)), "ours": step("ours", ours)}


def profile(name: str, step: Callable[[], object]) -> None:
    """Prints the eight operations that take most of a step."""
    step()
    with torch.profiler.profile() as profiler:
        step()
    events = profiler.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    print(f"\n{name}: share of a training step by operation")
    for event in sorted(events, key=lambda event: -event.self_cpu_time_total)[:8]:
        print(f"  {100 * event.self_cpu_time_total / total:4.1f} %  {event.key}, {event.count} times")


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--profile", action="store_true", help="also print where the time of a GAN's step goes")
    arguments = parser.parse_args()
    prepare_for_networks()
    facts = hardware.describe()
    print(f"{time.strftime('%Y-%m-%d')}, {facts['processor']}, {facts['threads']} threads, torch {facts['torch']}\n")
    print("| recipe | plain (ms) | ours (ms) | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        write_digits(Path(place) / "digits", train=40, val=4)
        write_pair_scenes(Path(place) / "pairs", train=8, val=2)
        found = {row: actions(row, Path(place) / ("pairs" if row in PAIRS else "digits")) for row in arguments.rows}
        for row, both in found.items():
            seconds = in_turn(both, arguments.repeats)
            plain, ours = seconds["plain"], seconds["ours"]
            print(f"| {row} | {1e3 * plain:.1f} | {1e3 * ours:.1f} | {plain / ours:.2f} |", flush=True)
    if arguments.profile:
        for row in (each for each in PROFILED if each in found):
            profile(row, found[row]["ours"])


if __name__ == "__main__":
    main()
