"""The report of a classifier: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pixelwise.atomic import write_text
from pixelwise.data.draw import to_rgb
from pixelwise.metrics import ConfusionMatrix
from pixelwise.report import figures
from pixelwise.report.rendering import PageContent, averaged_line, jpeg, render, sortable, svg

LONG_SIDE = 200  # pixels of the pictures on the page
MOST_CLASSES = 30
"""With more of them the confusion matrix is told by its largest errors."""
SCORES = {
    "accuracy": "accuracy",
    "top5_accuracy": "top-5 accuracy",
    "mean_class_accuracy": "mean class accuracy",
}


@dataclass(frozen=True, slots=True, eq=False)
class ClassExample:
    """One picture with what the classifier says of it.

    Attributes:
        name: of the picture.
        image: (H, W, C), any depth.
        truth, predicted: class names.
        confidence: the probability of the predicted class.
    """

    name: str
    image: np.ndarray
    truth: str
    predicted: str
    confidence: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ClassReportContent(PageContent):
    """The report of a classifier.

    Attributes:
        metrics: as `inference.evaluate_classes` gives them, and any other numbers, which are listed.
        examples: title of a group -> its pictures, in the order in which they are shown.
    """

    examples: Mapping[str, Sequence[ClassExample]] = field(default_factory=dict)


def write_class_report(path: Path, content: ClassReportContent) -> None:
    """Writes the page: complete under its final name, or not at all.

    Raises:
        OSError: as the system gives it.
    """
    few = content.confusion.num_classes <= MOST_CLASSES
    page = render(
        "classes.html.j2",
        content,
        shown={*SCORES, "pictures", "expected_calibration_error"},
        scores={label: content.metrics[name] for name, label in SCORES.items() if name in content.metrics},
        classes=class_rows(content.confusion),
        groups={title: [_shown(example) for example in some] for title, some in content.examples.items()},
        averaged=averaged_line(content.log, "accuracy", "accuracy"),
        confusion=svg(figures.confusion_figure(content.confusion), "confusion matrix") if few else None,
        confused=confused(content.confusion),
    )
    write_text(path, page)


def class_rows(confusion: ConfusionMatrix) -> list[dict[str, Any]]:
    """The rows of the table of classes, best recall first, undefined last."""
    columns = zip(
        confusion.class_names,
        confusion.recall().tolist(),
        confusion.precision().tolist(),
        confusion.dice().tolist(),
        confusion.true_pixels.tolist(),
        strict=True,
    )
    rows = [dict(zip(("name", "recall", "precision", "f1", "count"), values, strict=True)) for values in columns]
    return sorted(rows, key=lambda row: -sortable(row["recall"]))


def confused(confusion: ConfusionMatrix, most: int = 15) -> list[tuple[str, str, int, float]]:
    """(true class, taken for, how often, share of the true class's pictures): the commonest errors first."""
    counts = confusion.counts.clone()
    counts.fill_diagonal_(0)
    order = counts.flatten().argsort(descending=True, stable=True)[:most].tolist()
    rows = []
    for place in order:
        truth, taken_for = divmod(place, confusion.num_classes)
        count = int(counts[truth, taken_for])
        if count:
            names = confusion.class_names[truth], confusion.class_names[taken_for]
            rows.append((*names, count, count / int(confusion.true_pixels[truth])))
    return rows


def _shown(example: ClassExample) -> dict[str, Any]:
    height, width = example.image.shape[:2]
    scale = LONG_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    flag = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST  # pixels of small pictures are seen as pixels
    return {
        "name": example.name,
        "picture": jpeg(np.ascontiguousarray(cv2.resize(to_rgb(example.image), size, interpolation=flag))),
        "size": size,
        "truth": example.truth,
        "predicted": example.predicted,
        "confidence": example.confidence,
    }
