"""The report of a network that labels pixels: one HTML file that needs nothing else."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib import colormaps

from pixelwise.atomic import write_text
from pixelwise.data.draw import background_class, palette, to_rgb
from pixelwise.data.sample import VOID
from pixelwise.metrics import ConfusionMatrix
from pixelwise.report import figures
from pixelwise.report.rendering import PageContent, averaged_line, jpeg, png, render, sortable, svg

LONG_SIDE = 640  # pixels of the pictures on the page
ERROR_COLOUR = (229, 36, 94)
SCORES = {
    "mean_iou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "mean_dice": "mean Dice",
}
SHOWN = frozenset({*SCORES, "pixels", "expected_calibration_error"})  # of the metrics, in a place of their own


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One picture with its prediction.

    Attributes:
        name: of the picture.
        image: (H, W, C), any depth.
        prediction: (H, W) class ids.
        truth: (H, W) class ids, 255 = void; None where it is not known.
        mean_iou: of this picture alone; NaN without truth.
        confidence: (H, W) probability of the predicted class, 0..1, where it is kept.
    """

    name: str
    image: np.ndarray
    prediction: np.ndarray
    truth: np.ndarray | None = None
    mean_iou: float = math.nan
    confidence: np.ndarray | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ReportContent(PageContent):
    """The report of a network that labels pixels.

    Attributes:
        metrics: as `metrics.json` holds them: `ConfusionMatrix.summary`, for objects `InstanceScore.summary` under
            `objects`, and any other numbers, which are listed.
        examples: in any order; the page sorts them into best, middle and worst.
        yardsticks: name -> mean IoU of what was not learned on these pictures, or not learned at all.
    """

    examples: Sequence[Example] = ()
    yardsticks: Mapping[str, float | None] = field(default_factory=dict)


def write_report(path: Path, content: ReportContent) -> None:
    """Writes the page: complete under its final name, or not at all.

    Raises:
        OSError: as the system gives it.
    """
    names = content.confusion.class_names
    colours = palette(len(names), background_class(names))
    page = render(
        "report.html.j2",
        content,
        shown=SHOWN,
        scores={label: content.metrics.get(name) for name, label in SCORES.items()},
        objects=content.metrics.get("objects") or {},
        yardsticks=_yardsticks(content),
        classes=_classes(content.confusion, colours),
        legend=[(name, colours[class_id]) for class_id, name in enumerate(names)],
        has_void=any(e.truth is not None and (e.truth == VOID).any() for e in content.examples),
        groups=_groups(content.examples, colours),
        averaged=averaged_line(content.log, "mean_iou", "mean IoU"),
        confusion=svg(figures.confusion_figure(content.confusion), "confusion matrix"),
    )
    write_text(path, page)


def _yardsticks(content: ReportContent) -> list[tuple[str, float | None, bool]]:
    """(name, mean IoU, whether it is this run), best first; empty where there is nothing to compare with."""
    if not content.yardsticks:
        return []
    rows = [(name, score, False) for name, score in content.yardsticks.items()]
    rows.append(("this run", content.metrics.get("mean_iou"), True))
    return sorted(rows, key=lambda row: -sortable(row[1]))


def _classes(confusion: ConfusionMatrix, colours: np.ndarray) -> list[dict[str, Any]]:
    """The rows of the table of classes, best IoU first, undefined last."""
    total = max(confusion.pixels, 1)
    columns = zip(
        confusion.class_names,
        colours,
        confusion.iou().tolist(),
        confusion.dice().tolist(),
        confusion.precision().tolist(),
        confusion.recall().tolist(),
        (confusion.true_pixels / total).tolist(),
        strict=False,
    )
    keys = ("name", "colour", "iou", "dice", "precision", "recall", "share")
    rows = [dict(zip(keys, values, strict=True)) for values in columns]
    return sorted(rows, key=lambda row: -sortable(row["iou"]))


def _groups(examples: Sequence[Example], colours: np.ndarray) -> list[tuple[str, list[dict[str, Any]]]]:
    """Examples by how well they went, each with its panels as data addresses."""
    known = sorted((e for e in examples if not math.isnan(e.mean_iou)), key=lambda e: -e.mean_iou)
    unknown = [e for e in examples if math.isnan(e.mean_iou)]
    if len(known) < 3:
        named = [("Examples", known)]
    else:
        ends = [round(len(known) * part / 3) for part in range(4)]
        thirds = [known[low:high] for low, high in itertools.pairwise(ends)]
        named = list(zip(("Best", "Middle", "Worst"), thirds, strict=True))
    named.append(("Without truth", unknown))
    return [(name, [_panels(example, colours) for example in some]) for name, some in named if some]


def _panels(example: Example, colours: np.ndarray) -> dict[str, Any]:
    height, width = example.prediction.shape
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = cv2.resize(to_rgb(example.image), size, interpolation=cv2.INTER_AREA)
    prediction = cv2.resize(example.prediction.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    panels = [("Picture", jpeg(picture))]
    wrong = None
    if example.truth is not None:
        truth = cv2.resize(example.truth.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        panels.append(("Truth", png(truth, colours)))
        counted = example.truth != VOID
        wrong = float((example.truth != example.prediction)[counted].mean()) if counted.any() else None
    panels.append(("Prediction", png(prediction, colours)))
    if example.truth is not None:
        panels.append(("Errors", jpeg(_errors(picture, truth, prediction))))
    if example.confidence is not None:
        shown = cv2.resize(example.confidence.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        tinted = colormaps["viridis"](np.clip(shown, 0, 1), bytes=True)[:, :, :3]
        panels.append(("Confidence (bright = sure)", jpeg(np.ascontiguousarray(tinted))))
    return {"name": example.name, "mean_iou": example.mean_iou, "wrong": wrong, "panels": panels, "size": size}


def _errors(picture: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """The picture, grey and pale, with wrong pixels in one loud colour and void dark."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    pale = np.repeat((150 + grey * 0.4)[:, :, None], 3, axis=2).astype(np.uint8)
    pale[truth == VOID] = 90
    pale[(truth != prediction) & (truth != VOID)] = ERROR_COLOUR
    return pale
