"""Makes the figures at the top of the pages on choosing, few labels, losses, metrics and refinement.

python docs/make_topic_images.py [choosing few_labels losses metrics refinement]
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import torch
from figures import IMAGES, save
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pixelwise import losses
from pixelwise.data.draw import OKABE_ITO, contact_sheet, overlay, palette
from pixelwise.data.pictures import write_png
from pixelwise.data.scenes import CLASS_NAMES, scene
from pixelwise.metrics import ConfusionMatrix
from pixelwise.report.figures import ACCENT, INK, STYLE
from pixelwise.tasks.segment.refinement import REFINEMENTS

ROOT = Path(__file__).parents[1]
GREY = "#9a9a9a"
LABELS = {"unet_fpn": ("right", -3), "fpn": ("left", 1), "deeplab_v3plus": ("left", -8), "ternausnet": ("right", -3)}
"""Names that would lie on each other: the side of the point that the text begins or ends at, and its height."""


def choosing() -> None:
    """Mean IoU of each network after four minutes from random weights, against the speed of its predictions."""
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for line in (ROOT / "benchmarks" / "results" / "systems.jsonl").read_text().splitlines():
        result = json.loads(line)
        if "," not in result["row"]:
            found[result["row"]].append(result)
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(7.6, 4.4), layout="constrained")
        axes = drawing.add_subplot()
        for name, results in found.items():
            speed = np.median([each["prediction_pictures_per_second"] for each in results])
            score = np.mean([each["mean_iou"] for each in results])
            axes.plot(speed, score, "o", color=ACCENT if score > 0.5 else GREY, markersize=6)
            side, lift = LABELS.get(name, ("left", 3))
            shift = (6 if side == "left" else -6, lift)
            axes.annotate(name, (speed, score), xytext=shift, textcoords="offset points", fontsize=8, ha=side)
        axes.set(xlabel="pictures predicted per second (two cores)", ylabel="mean IoU", xlim=(15, 90))
        save(drawing, "choosing.png")


def few_labels() -> None:
    """The errors of the table on the page: each seed a dot, the mean a line."""
    page = (ROOT / "docs" / "few_labels.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| ([\d., ]+) \| ([\d.]+) \| \d+ \|$", page, re.MULTILINE)
    rows.sort(key=lambda row: -float(row[2]))
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(7.6, 3.6), layout="constrained")
        axes = drawing.add_subplot()
        for place, (name, errors, mean) in enumerate(rows):
            colour = INK if name.startswith("labels alone") else ACCENT
            values = [float(error) for error in errors.split(",")]
            axes.plot(values, [place] * len(values), "o", color=colour, alpha=0.45, markersize=6, linewidth=0)
            axes.plot([float(mean)] * 2, [place - 0.3, place + 0.3], color=colour, linewidth=2.4)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.set(xlabel="error in % on digits with 50 labels", xlim=(0, None), ylim=(len(rows) - 0.5, -0.5))
        save(drawing, "few_labels.png")


def loss_of(name: str, probability: torch.Tensor) -> np.ndarray:
    """The loss of a picture of one pixel per probability of its true class, of two classes."""
    logits = torch.stack([torch.zeros_like(probability), torch.logit(probability)])
    values = [
        float(getattr(losses, name)(each[None, :, None, None], torch.ones(1, 1, 1, dtype=torch.long)))
        for each in logits.T
    ]
    return np.array(values)


def loss_curves() -> None:
    """Losses against the probability of the true class: what a confident error costs."""
    probability = torch.linspace(0.005, 0.995, 199)
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(7.6, 3.4), layout="constrained")
        axes = drawing.add_subplot()
        for name, colour in zip(("cross_entropy", "focal", "dice", "jaccard"), OKABE_ITO, strict=False):
            label = "jaccard, lovasz_softmax" if name == "jaccard" else name  # for one pixel they are equal
            axes.plot(probability, loss_of(name, probability), label=label, color=np.array(colour) / 255, linewidth=2)
        assert np.allclose(loss_of("jaccard", probability), loss_of("lovasz_softmax", probability), atol=1e-5)
        axes.set(xlabel="probability of the true class", ylabel="loss of one pixel", ylim=(0, 3), xlim=(0, 1))
        axes.legend()
        save(drawing, "losses.png")


def draw_overlap(axes: Axes, truth: np.ndarray, predicted: np.ndarray) -> None:
    """Truth and prediction with the scores that the package computes for them."""
    confusion = ConfusionMatrix(2)
    confusion.update(predicted, truth)
    colours = np.full((*truth.shape, 3), 255, np.uint8)
    colours[(truth == 1) & (predicted == 0)] = OKABE_ITO[1]
    colours[(truth == 0) & (predicted == 1)] = OKABE_ITO[0]
    colours[(truth == 1) & (predicted == 1)] = OKABE_ITO[2]
    axes.imshow(colours)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    first = ", ".join(f"{name} {float(getattr(confusion, name)()[1]):.2f}" for name in ("iou", "dice"))
    second = ", ".join(f"{name} {float(getattr(confusion, name)()[1]):.2f}" for name in ("precision", "recall"))
    axes.set_title(f"{first}\n{second}", fontsize=8.5)


def metrics() -> None:
    """Four predictions of one object, and their scores."""
    rows, columns = np.mgrid[:40, :60]
    truth = ((rows - 20) ** 2 + (columns - 30) ** 2 < 14**2).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    predictions = (
        np.roll(truth, 9, 1),
        cv2.erode(truth, kernel),
        cv2.dilate(truth, kernel),
        truth & (columns < 32).astype(np.uint8),
    )
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(8.4, 2.6), layout="constrained")
        for axes, predicted in zip(drawing.subplots(1, 4), predictions, strict=True):
            draw_overlap(axes, truth, predicted)
        words = ("true and predicted", "true, not predicted", "predicted, not true")
        colours = (OKABE_ITO[2], OKABE_ITO[1], OKABE_ITO[0])
        patches = [Rectangle((0, 0), 1, 1, color=np.array(each) / 255) for each in colours]
        drawing.legend(patches, words, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
        save(drawing, "metrics.png")


def refinement() -> None:
    """A mask at an eighth of the resolution, as of a network of stride 8, and the same after each refinement."""
    sample = scene((1, 7))
    assert sample.mask is not None
    classes = len(CLASS_NAMES)
    coarse = torch.nn.functional.one_hot(torch.from_numpy(sample.mask).long(), classes).permute(2, 0, 1).float()[None]
    small = torch.nn.functional.avg_pool2d(coarse, 8)
    probabilities = torch.nn.functional.interpolate(small, scale_factor=8, mode="bilinear")[0]
    colours = palette(classes, 0)
    drawn = [overlay(sample.image, probabilities.argmax(0).byte().numpy(), colours)]
    for name in ("crf", "superpixels"):
        refine = REFINEMENTS[name]
        assert refine is not None
        drawn.append(overlay(sample.image, refine(sample.image, probabilities).argmax(0).byte().numpy(), colours))
    write_png(IMAGES / "refinement.png", contact_sheet([each[:160, 96:] for each in drawn], 3))


FIGURES: dict[str, Callable[[], None]] = {
    "choosing": choosing,
    "few_labels": few_labels,
    "losses": loss_curves,
    "metrics": metrics,
    "refinement": refinement,
}

if __name__ == "__main__":
    for wanted in sys.argv[1:] or FIGURES:
        FIGURES[wanted]()
