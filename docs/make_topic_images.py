"""Makes the figures at the top of the pages on choosing, classifying, data, few labels, losses, metrics and refinement.

python docs/make_topic_images.py [choosing classify few_labels labels losses metrics refinement]
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
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

import pixelwise
from pixelwise import losses
from pixelwise.data.digits import write_digits
from pixelwise.data.distances import distance_map
from pixelwise.data.draw import OKABE_ITO, contact_sheet, overlay, palette
from pixelwise.data.pictures import write_png
from pixelwise.data.scenes import CLASS_NAMES, scene
from pixelwise.metrics import ConfusionMatrix
from pixelwise.report.boxes import draw_boxes
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


def classify() -> None:
    """Held-out digits and the three most probable classes of each: three that are right, three errors, surest first."""
    with tempfile.TemporaryDirectory() as place:
        write_digits(Path(place) / "digits")
        run = pixelwise.train("lenet5", data=Path(place) / "digits", epochs=20, out=Path(place) / "run")
        network, dataset = pixelwise.load(run.path), pixelwise.open_dataset(Path(place) / "digits")
        found = []
        for record in dataset.split("val"):
            sample = dataset.load(record)
            found.append((sample.image, dataset.class_names[sample.class_id], network(sample.image).top(3)))
    found.sort(key=lambda each: -each[2][0][1])
    wrong = [each for each in found if each[2][0][0] != each[1]]
    right = [each for each in found if each[2][0][0] == each[1]]
    chosen = [each[at * (len(each) - 1) // 2] for each in (right, wrong) for at in range(3)]
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(8.4, 2.7), layout="constrained")
        pictures, bars = drawing.subplots(2, len(chosen), height_ratios=(1.9, 1))
        for upper, lower, (image, true, best) in zip(pictures, bars, chosen, strict=True):
            upper.imshow(image, cmap="gray")
            upper.set_axis_off()
            upper.set_title(f"true: {true}", fontsize=9)
            colours = [ACCENT if name == true else GREY for name, _ in best]
            lower.barh(range(len(best)), [probability for _, probability in best], color=colours)
            lower.set_yticks(range(len(best)), [name for name, _ in best])
            lower.set(xlim=(0, 1), ylim=(len(best) - 0.5, -0.5), xticks=(0, 1))
            lower.grid(visible=False)
        save(drawing, "classify.png")


def labels() -> None:
    """One scene, and the kinds of labels that its pixels and objects can have."""
    sample = scene((1, 3), digits=(5, 5))
    assert sample.mask is not None
    assert sample.instances is not None
    assert sample.instances.ids is not None
    ids, objects, colours = sample.instances.ids, sample.instances, palette(len(CLASS_NAMES), 0)
    outlined, clicked = sample.image.copy(), sample.image.copy()
    for number, class_id in enumerate(objects.classes, 1):
        colour, alone = colours[class_id].tolist(), (ids == number).astype(np.uint8)
        contours, _ = cv2.findContours(alone, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(outlined, contours, -1, colour, 2)
        row, column = divmod(int(distance_map(alone).argmax()), ids.shape[1])
        cv2.circle(clicked, (column, row), 5, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(clicked, (column, row), 4, colour, -1, cv2.LINE_AA)
    names = [CLASS_NAMES[each] for each in objects.classes]
    panels = {
        "the picture": sample.image,
        "a class per pixel": overlay(sample.image, sample.mask, colours, alpha=0.9),
        "an outline per object": outlined,
        "a box per object": draw_boxes(sample.image, objects.boxes, objects.classes, names, colours=colours),
        "a number per pixel": distance_map(ids),
        "a class at a few points": clicked,
    }
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(8.4, 4.5), layout="constrained")
        for axes, (title, panel) in zip(drawing.subplots(2, 3).flat, panels.items(), strict=True):
            axes.imshow(panel, cmap="magma")
            axes.set_axis_off()
            axes.set_title(title, fontsize=10)
        save(drawing, "labels.png")


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
    "classify": classify,
    "few_labels": few_labels,
    "labels": labels,
    "losses": loss_curves,
    "metrics": metrics,
    "refinement": refinement,
}

if __name__ == "__main__":
    for wanted in sys.argv[1:] or FIGURES:
        FIGURES[wanted]()
