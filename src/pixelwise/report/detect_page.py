"""The report of a network that gives boxes: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pixelwise.atomic import write_text
from pixelwise.data.draw import background_class, palette, to_rgb
from pixelwise.inference.overfeat import Localised
from pixelwise.report import figures
from pixelwise.report.boxes import draw_boxes, overfeat_figure
from pixelwise.report.classes_page import MOST_CLASSES, class_rows, confused
from pixelwise.report.rendering import PageContent, averaged_line, jpeg, render, svg

LONG_SIDE = 480  # pixels of the pictures on the page
SCORES = {
    "localised": "right class, IoU of 0.5 or more",
    "box_iou": "mean IoU of boxes",
    "accuracy": "accuracy of the class",
}
OF_ALL = {"precision": "precision, all objects", "recall": "recall, all objects"}


@dataclass(frozen=True, slots=True, eq=False)
class BoxExample:
    """One picture with its objects and what was found.

    Attributes:
        name: of the picture.
        image: (H, W, C), any depth.
        truth, found: boxes (N, 4) xyxy in pixels, class ids (N,), and a text for each box.
        overlap: IoU of the largest object's box with the one found for it.
    """

    name: str
    image: np.ndarray
    truth: tuple[np.ndarray, np.ndarray, Sequence[str]]
    found: tuple[np.ndarray, np.ndarray, Sequence[str]]
    overlap: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BoxReportContent(PageContent):
    """The report of a network that gives boxes.

    Attributes:
        metrics: as `inference.evaluate_boxes` gives them, and any other numbers, which are listed.
        examples: title of a group -> its pictures, in the order in which they are shown.
        steps: one picture, and how OverFeat came to its boxes; None where there are no steps.
    """

    examples: Mapping[str, Sequence[BoxExample]] = field(default_factory=dict)
    steps: tuple[np.ndarray, Localised] | None = None


def write_box_report(path: Path, content: BoxReportContent) -> None:
    """Writes the page: complete under its final name, or not at all.

    Raises:
        OSError: as the system gives it.
    """
    names = content.confusion.class_names
    background = background_class(names)
    colours = palette(len(names), background)
    objects = content.metrics.get("objects") or {}
    steps = None
    if content.steps is not None:
        drawn = overfeat_figure(*content.steps, names, background=0)
        steps = svg(drawn, "scores without and with offsets, all boxes, merged boxes")
    page = render(
        "detect.html.j2",
        content,
        shown={*SCORES, "pictures", "expected_calibration_error"},
        scores={
            **{label: objects[name] for name, label in OF_ALL.items() if name in objects},
            **{label: content.metrics[name] for name, label in SCORES.items() if name in content.metrics},
        },
        objects={name: value for name, value in objects.items() if name not in OF_ALL},
        classes=[row for row in class_rows(content.confusion) if row["name"] != names[0]],
        groups={title: [_shown(example, colours) for example in some] for title, some in content.examples.items()},
        steps=steps,
        averaged=averaged_line(content.log, "box_iou", "mean IoU of boxes"),
        confusion=svg(figures.confusion_figure(content.confusion), "confusion matrix")
        if len(names) <= MOST_CLASSES
        else None,
        confused=confused(content.confusion),
    )
    write_text(path, page)


def _shown(example: BoxExample, colours: np.ndarray) -> dict[str, Any]:
    """The picture with its objects, and with what was found, side by side."""
    height, width = example.image.shape[:2]
    scale = LONG_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    flag = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    picture = cv2.resize(to_rgb(example.image), size, interpolation=flag)
    panels = [
        (label, jpeg(draw_boxes(picture, boxes * scale, classes, texts, colours=colours)))
        for label, (boxes, classes, texts) in (("Truth", example.truth), ("Found", example.found))
    ]
    return {"name": example.name, "overlap": example.overlap, "panels": panels, "size": size}
