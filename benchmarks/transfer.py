"""How much pretrained weights gain: scores over the number of labelled pictures.

    python benchmarks/transfer.py upside_down [--rows "frozen, 64"] [--seeds 0 1 2] [--hours 1]
    python benchmarks/transfer.py camvid
    python benchmarks/transfer.py camvid --show

`upside_down` classifies photographs of people: is the head below the hips or not? The photographs are from Leeds Sports
Pose Extended, cut around the person, and the classes come from the joints. The last 200 pictures are for measuring,
with equally many of each class. `camvid` is CamVid at 240 x 180; 23 pictures are 1/16 of its labels. The network is
MobileNetV2, alone or as the encoder of a U-Net. It is trained from random weights, with a frozen ImageNet trunk, and
fine-tuned as a whole. Each seed draws other pictures; a smaller set is part of the larger ones. Every row is one
training run in a process of its own; run nothing else at the same time. Finished rows are kept in
`benchmarks/results/`. Data and weights are read from $PIXELWISE_SHARED (default ../shared).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import matplotlib.pyplot as plt
import numpy as np
from scipy.io import loadmat

from experiments import COMMON, SHARED, small_camvid
from pixelwise import api, hardware
from pixelwise.errors import UserError
from rows import SEEDS, Result, Rows, by_row, command, finished, mean, median, table

WEIGHTS = str(SHARED / "weights" / "mobilenet_v2_imagenet.safetensors")
START: dict[str, dict[str, Any]] = {
    "random": {"model.weights": "none"},
    "frozen": {"model.weights": WEIGHTS},
    "fine-tuned": {"model.weights": WEIGHTS},
}
"""Name of a start -> settings of its recipe."""
VAL = 200
"""The last so many pictures of LSP are for measuring; the rest is for training."""
SIDE = 128


@dataclass(frozen=True)
class Curve:
    """One task.

    Attributes:
        counts: numbers of labelled training pictures; per class, if pictures have classes.
        score: the number of `metrics.json` that is the score.
        settings: of every run.
        frozen: the parts of the network that are frozen in the row `frozen`.
        write: writes the task's data into a folder and returns the folder.
    """

    about: str
    counts: tuple[int, ...]
    minutes: float
    score: str
    model: str
    settings: dict[str, Any]
    frozen: Any
    write: Callable[[Path, int, int], Path]

    @property
    def rows(self) -> list[str]:
        return [f"{start}, {count}" for count in self.counts for start in START]


def write_upside_down(folder: Path, count: int, seed: int) -> Path:
    """Writes `count` training pictures of each class, and the validation pictures, in folders by class."""
    source = SHARED / "data" / "lsp"
    if not source.is_dir():
        raise UserError(f"{source}: no such data; set PIXELWISE_SHARED.")
    joints = loadmat(str(source / "joints.mat"))["joints"]  # (14, 3, pictures): x, y, visible
    files = sorted((source / "images").iterdir())
    hips, head = (joints[2, 1] + joints[3, 1]) / 2, joints[13, 1]
    random = np.random.default_rng(seed)
    for part, numbers in (("train", np.arange(len(files) - VAL)), ("val", np.arange(len(files) - VAL, len(files)))):
        kinds = {
            "upright": numbers[head[numbers] < hips[numbers]],
            "upside_down": numbers[head[numbers] > hips[numbers]],
        }
        fewest = min(map(len, kinds.values()))
        for kind, members in kinds.items():
            # The start of a permutation, so a smaller set is part of the larger ones. Validation pictures never change.
            chosen = random.permutation(members)[:count] if part == "train" else members[:fewest]
            (folder / part / kind).mkdir(parents=True)
            for number in chosen:
                picture = cv2.imread(str(files[number]))
                write_person(folder / part / kind / f"{files[number].stem}.png", picture, joints[:, :2, number])
    return folder


def write_person(path: Path, picture: np.ndarray, points: np.ndarray) -> None:
    """Writes the square around (14, 2) joints, a quarter larger; beyond the picture it is mirrored."""
    low, high = points.min(0), points.max(0)
    half = 0.625 * float((high - low).max())
    left, top = np.floor((low + high) / 2 - half).astype(int)
    side = int(np.ceil(2 * half))
    beyond = max(-left, -top, left + side - picture.shape[1], top + side - picture.shape[0], 0)
    framed = cv2.copyMakeBorder(picture, beyond, beyond, beyond, beyond, cv2.BORDER_REFLECT_101)
    square = framed[beyond + top :, beyond + left :][:side, :side]
    cv2.imwrite(str(path), cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def write_camvid(folder: Path, count: int, seed: int) -> Path:
    """Writes CamVid with `count` of its training pictures."""
    data = small_camvid(folder)
    lines = (data / "train.txt").read_text().splitlines()
    chosen = np.random.default_rng(seed).permutation(len(lines))[:count]
    (data / "train.txt").write_text("\n".join(lines[number] for number in sorted(chosen)) + "\n")
    return data


CURVES = {
    "upside_down": Curve(
        "people upside down or not, MobileNetV2",
        (16, 64, 200),
        0.6,
        "accuracy",
        "mobilenet_v2",
        {"model.tf_padding": True, "train.batch_size": 32, "train.validations": 4},
        "trunk",
        write_upside_down,
    ),
    "camvid": Curve(
        "CamVid, a U-Net over MobileNetV2",
        (6, 23, 92),
        1.2,
        "mean_iou",
        "unet",
        {**COMMON, "model.encoder": "mobilenet_v2_tf"},
        ["encoder"],
        write_camvid,
    ),
}


def train_row(curve: Curve, row: str, seed: int, minutes: float) -> Result:
    """Trains one row and returns its result."""
    start, count = row.split(", ")
    settings = {**curve.settings, **START[start]}
    if start == "frozen":
        settings["optimizer.freeze"] = curve.frozen
    with tempfile.TemporaryDirectory() as place:
        data = curve.write(Path(place) / "data", int(count), seed)
        run = api.train(
            curve.model,
            data=data,
            minutes=minutes,
            out=Path(place) / "run",
            seed=seed,
            overrides=settings,
            progress=True,
        )
        log = run.log()
        return {
            "row": row,
            "seed": seed,
            "minutes": minutes,
            curve.score: run.metrics[curve.score],
            "crops": log[-1]["step"] * run.planned.train.batch_size,
            "machine": hardware.describe(),
            "date": time.strftime("%Y-%m-%d"),
        }


def draw(results: list[Result], curve: Curve, path: Path) -> None:
    """Draws one line per start, the mean over the seeds, and every seed as a dot."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for start in START:
        found = [[r[curve.score] for r in results if r["row"] == f"{start}, {count}"] for count in curve.counts]
        there = [(count, values) for count, values in zip(curve.counts, found, strict=True) if values]
        (line,) = axes.plot([c for c, _ in there], [float(np.mean(v)) for _, v in there], label=start)
        for count, values in there:
            axes.plot([count] * len(values), values, ".", color=line.get_color(), alpha=0.6)
    axes.set_xscale("log")
    axes.set_xticks(curve.counts, [str(count) for count in curve.counts])
    axes.minorticks_off()
    axes.set_xlabel("labelled pictures" + (" of each class" if curve.score == "accuracy" else ""))
    axes.set_ylabel(curve.score.replace("_", " ").replace("iou", "IoU"))
    axes.set_title(curve.about, loc="left", fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def show(name: str, file: Path) -> None:
    curve, results = CURVES[name], finished(file)
    columns = {curve.score.replace("_", " "): mean(curve.score, ".4f"), "crops": median("crops", ".0f"), **SEEDS}
    print(table(by_row(results, curve.rows), columns))
    draw(results, curve, file.with_suffix(".png"))


def rows_of(name: str) -> Rows:
    curve = CURVES[name]
    return Rows(
        f"transfer_{name}",
        curve.rows,
        partial(train_row, curve),
        minutes=lambda row: curve.minutes,
        seeds=lambda row: (0, 1, 2),
        score=curve.score,
    )


if __name__ == "__main__":
    command(__doc__, {name: rows_of(name) for name in CURVES}, show)
