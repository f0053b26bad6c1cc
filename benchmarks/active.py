"""Active learning on street scenes: how few labels are enough, and the cost of measuring a pool of 2,000 pictures.

    python benchmarks/active.py {camvid,suggest} [--rows ...]
    python benchmarks/active.py camvid --show

`camvid` plays the loop of `pixelwise simulate` on CamVid at 240 x 180, with two seeds: whole pictures, regions, or
single pixels are bought in rounds, at random or by the default strategy; regions and pixels also in larger rounds. All
networks are the same U-Net, which predicts from every level of a MobileNetV2 with weights learned on ImageNet, and
train for the same time (1.5 minutes each, 72 networks in all). The table gives the share of the pixels that is labelled
when 95 % of the score with all labels, the mean of all networks that had them, is reached. `suggest` measures 2,000
pictures of 240 x 180, the quarters of CamVid's frames, with a network that was trained on 23 labelled frames, and
chooses what to label next: one row per strategy and unit, with the seconds and the peak memory of the whole call. A row
that was stopped continues, and finished rows are not run again. Data and weights are read from $PIXELWISE_SHARED
(default ../shared). Run one command at a time, on an otherwise idle machine.
"""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import cv2
import matplotlib.pyplot as plt

from experiments import COMMON, SHARED, SIZE, small_camvid
from pixelwise import api, hardware
from pixelwise.active.curves import ENOUGH, Mean, labels_to_reach, mean_curves
from pixelwise.active.simulation import FULL, Point
from pixelwise.active.strategies import STRATEGIES
from pixelwise.cli.process import prepare_for_networks
from rows import RESULTS, Result, Rows, by_row, command, finished, median, table

WORK = RESULTS / "models" / "active"
"""What is needed again when a command continues: the data, and the simulations with their finished networks."""
NETWORK: Mapping[str, Any] = {
    **COMMON,
    "model.encoder": "mobilenet_v2",
    "model.weights": str(SHARED / "weights" / "mobilenet_v2_imagenet.safetensors"),
    "train.validations": 2,
}
BOUGHT = ("random", "mixed")
REPETITIONS = 2


@dataclass(frozen=True)
class Purchase:
    """What is bought: so many at the start and as many in each round."""

    unit: str
    budget: int
    rounds: int


PURCHASES = {
    "pictures": Purchase("pictures", 37, 3),  # a tenth of the 367 pictures
    "regions": Purchase("regions", 367, 4),  # one per picture, about 1 % of all pixels
    "pixels": Purchase("pixels", 1835, 2),  # five per picture
    "regions by threes": Purchase("regions", 1101, 2),
    "pixels by twenties": Purchase("pixels", 7340, 2),
}
POOL = 2000
MEASURED = {
    **{f"pictures, {name}": (name, "pictures", 100) for name, each in STRATEGIES.items() if not each.whole},
    **{f"regions, {name}": (name, "regions", 500) for name in ("mixed", "entropy", "k_centre", "bald")},
    **{f"pixels, {name}": (name, "pixels", 5000) for name in ("mixed", "entropy", "bald")},
}
"""Name of a row -> strategy, unit and budget."""


def camvid() -> Path:
    """CamVid at 240 x 180, written the first time."""
    folder = WORK / "data"
    if not folder.is_dir():
        WORK.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=WORK) as place:
            small_camvid(Path(place)).rename(folder)
    return folder


def simulate_row(row: str, seed: int, minutes: float) -> Result:
    """Plays the loop for one purchase, and returns its points."""
    prepare_for_networks()
    purchase = PURCHASES[row]
    points = api.simulate(
        camvid(),
        WORK / row,
        budget=purchase.budget,
        strategies=BOUGHT,
        unit=purchase.unit,
        rounds=purchase.rounds,
        seeds=REPETITIONS,
        recipe="unet_fpn",
        minutes=minutes,
        overrides=NETWORK,
        progress=True,
    )
    full = mean(point["score"] for point in points if point["strategy"] == FULL)
    return {"row": row, "seed": seed, "minutes": minutes, "with_all_labels": full, "points": points, **_here()}


def suggest_row(row: str, seed: int, minutes: float) -> Result:
    """Chooses what to label next in the pool, and returns seconds and memory."""
    prepare_for_networks()
    preparation = multiprocessing.get_context("spawn").Process(target=prepare)  # so that its memory is not counted
    preparation.start()
    preparation.join()
    run, pool = WORK / "run", WORK / "pool"
    strategy, unit, budget = MEASURED[row]
    with tempfile.TemporaryDirectory() as place:
        started = time.monotonic()
        api.suggest(run, pool, Path(place) / "out", budget=budget, unit=unit, strategy=strategy, seed=seed)
        seconds = time.monotonic() - started
    return {"row": row, "seed": seed, "budget": budget, "seconds": seconds, **_here()}


def _here() -> Result:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"memory_gb": peak, "machine": hardware.describe(), "date": time.strftime("%Y-%m-%d")}


def prepare() -> None:
    """Trains a network on 23 labelled frames, and writes 2,000 pictures without labels, unless both are there.

    The pictures are the quarters of the frames, and the frames at half their size and mirrored.
    """
    run, folder = WORK / "run", WORK / "pool"
    if not (run / "metrics.json").exists():
        shutil.rmtree(run, ignore_errors=True)
        api.train("unet_fpn", data=camvid(), minutes=0.5, out=run, overrides={**NETWORK, "data.labelled": 23})
    if folder.is_dir():
        return
    width, height = SIZE
    with tempfile.TemporaryDirectory(dir=WORK) as place:
        pictures = []
        for part in ("train", "val"):
            for file in sorted((SHARED / "data" / "camvid" / part).iterdir()):
                frame = cv2.imread(str(file))
                corners = [(y, x) for y in (0, height) for x in (0, width)]
                pictures += [frame[y : y + height, x : x + width] for y, x in corners]
                pictures.append(cv2.resize(frame[:, ::-1], SIZE, interpolation=cv2.INTER_AREA))
        for number, picture in enumerate(pictures[:POOL]):
            cv2.imwrite(f"{place}/{number:04d}.png", picture)
        shutil.copytree(place, folder)


def show(name: str, file: Path) -> None:
    """Prints the results so far as tables in Markdown, and draws the curves of the simulations."""
    results = finished(file)
    if name == "suggest":
        columns = {"seconds": median("seconds", ".0f"), "peak memory (GB)": median("memory_gb", ".2f")}
        print(table(by_row(results, MEASURED), columns))
        return
    points = [Point(**point) for result in results for point in result["points"]]
    full = mean(point.score for point in points if point.strategy == FULL)
    print("| | share of the pixels for 95 % | bought for 95 % | score at the end |\n" + "|---" * 4 + "|")
    units = list(dict.fromkeys(purchase.unit for purchase in PURCHASES.values()))
    figure, axes = plt.subplots(1, len(units), figsize=(9, 3.2), sharey=True, layout="constrained")
    panels = dict(zip(units, axes, strict=True))
    for unit, panel in panels.items():
        panel.set_title(unit, loc="left", fontsize="medium")
        panel.set_xlabel("share of the pixels labelled, %")
        panel.axhline(full, color="black", linewidth=0.8)
        panel.axhline(ENOUGH * full, color="black", linewidth=0.8, linestyle=":")
    for row, of_row in by_row(results, PURCHASES).items():
        curves = mean_curves([Point(**point) for result in of_row for point in result["points"]])
        _show_row(row, curves, full, panels[PURCHASES[row].unit])
    print(f"\nwith all labels: {full:.3f}")
    axes[0].set_ylabel("mean IoU")
    axes[-1].legend(frameon=False, fontsize="small")
    figure.savefig(file.with_suffix(".png"), dpi=120)


def _show_row(row: str, curves: dict[str, list[Mean]], full: float, panel: Any) -> None:
    del curves[FULL]
    larger = row != PURCHASES[row].unit
    for strategy, curve in curves.items():
        labels, shares, scores, *_ = zip(*curve, strict=True)
        share, bought = (labels_to_reach(each, scores, ENOUGH * full) for each in (shares, labels))
        reached = ["not reached", ""] if share is None or bought is None else [f"{share:.3%}", f"{bought:.0f}"]
        last = f"{scores[-1]:.3f} ± {curve[-1].deviation:.3f} at {shares[-1]:.3%}"
        print(f"| {row}, {strategy} | {reached[0]} | {reached[1]} | {last} |")
        panel.plot(
            [100 * each for each in shares],
            scores,
            marker="o",
            label=f"{strategy}, larger rounds" if larger else strategy,
            color=f"C{BOUGHT.index(strategy)}",
            linestyle="--" if larger else "-",
        )


TABLES = {
    "camvid": Rows(
        "active-camvid", list(PURCHASES), simulate_row, lambda row: 1.5, lambda row: (0,), "with_all_labels"
    ),
    "suggest": Rows("active-suggest", list(MEASURED), suggest_row, lambda row: 1.0, lambda row: (0,), "seconds"),
}

if __name__ == "__main__":
    command(__doc__, TABLES, show)
