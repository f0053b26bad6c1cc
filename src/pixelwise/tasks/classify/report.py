"""The sections of a report on classifiers of whole pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from pixelwise.data.draw import to_rgb
from pixelwise.metrics import Calibration, ConfusionMatrix, Headline
from pixelwise.notebook import jpeg
from pixelwise.report.blocks import Block, Column, Grid, Heading, Numbers, Picture, Section, Table, Text
from pixelwise.report.cells import Cell, Number, Percent, Strong
from pixelwise.report.classes import (
    calibration_definition,
    calibration_section,
    calibration_tile,
    class_scores_section,
    confusion_section,
    counted,
)
from pixelwise.report.pictures import fitted_size, resized
from pixelwise.report.run_page import missing
from pixelwise.report.scores import definitions, headline_text, measured, other_numbers, tiles
from pixelwise.report.values import sentence
from pixelwise.tasks.classify.scores import HEADLINES
from pixelwise.tasks.evaluation import Evaluation

LONG_SIDE = 200  # pixels of the pictures on the page
MAX_ROWS = 40
"""Classes that a terminal shows at most; if there are more, it shows the worst."""
TERMS = {
    "recall": "The share of the pictures of a class that are predicted as this class.",
    "precision": "The share of the pictures predicted as a class that are of this class.",
    "F1": "The harmonic mean of precision and recall.",
    **calibration_definition("picture"),
}


@dataclass(frozen=True, slots=True, eq=False)
class ClassExample:
    """One picture with the classifier's prediction.

    Attributes:
        name: name of the picture.
        image: (H, W, C), any depth.
        truth, predicted: class names.
        confidence: the probability of the predicted class.
    """

    name: str
    image: np.ndarray
    truth: str
    predicted: str
    confidence: float


def sections(
    *,
    summary: Mapping[str, Any],
    confusion: ConfusionMatrix,
    calibration: Calibration | None = None,
    examples: Mapping[str, Sequence[ClassExample]] | None = None,
    headlines: Sequence[Headline] = HEADLINES,
) -> list[Section]:
    """Sections with scores, examples, classes, confusion, calibration and definitions.

    Args:
        summary: the values of `metrics.json`; numbers that are not headline scores are listed.
        confusion: counts of pictures.
        calibration: calibration of the confidences on the same split; None if they were not kept.
        examples: title of a group -> its pictures, in the order in which they are shown.
        headlines: the headline scores, which come first.
    """
    shown = tiles(summary, headlines, "not defined: no picture was counted")
    if calibration is not None:
        shown.append(calibration_tile(calibration, "picture"))
    definition = sentence(summary.get("definition", ""))
    scores: list[Block] = [
        Numbers(shown),
        Text(f"{definition} {counted(confusion.pixels, 'picture')}".strip(), soft=True),
        *other_numbers(summary, {*(one.key for one in headlines), "pictures", "expected_calibration_error"}),
    ]
    grids: list[Block] = []
    for title, some in (examples or {}).items():
        grids += [Heading(title), Grid([_picture(one) for one in some])]
    return [
        Section("scores", "Scores", scores),
        Section("examples", "Examples", grids or [missing("No examples were kept in this run.")]),
        class_scores_section(confusion, "picture"),
        confusion_section(confusion, "picture", errors=True),
        calibration_section(calibration, "picture"),
        definitions(headlines, TERMS),
    ]


def _picture(example: ClassExample) -> Picture:
    size = fitted_size(example.image, LONG_SIDE, enlarge=True)
    shown = resized(to_rgb(example.image), size, enlarging=cv2.INTER_NEAREST)  # pixels of small pictures stay pixels
    confidence = Percent(example.confidence)
    caption: list[Cell] = [Strong(example.truth), " ", confidence]
    if example.predicted != example.truth:
        caption = [Strong(example.predicted, wrong=True), " ", confidence, f"\nis {example.truth}"]
    return Picture(jpeg(shown), size, caption, example.name)


def evaluation_sections(evaluation: Evaluation) -> list[Section]:
    """The sections of a classifier that was measured on a split, with the most informative pictures."""
    scores, dataset = evaluation.scores, evaluation.dataset
    records = {record.name: record for record in dataset.split(evaluation.split)}
    names = dataset.class_names
    examples = {
        title: [
            ClassExample(
                name=answer.name,
                image=dataset.read(records[answer.name]),
                truth=names[answer.truth],
                predicted=names[int(answer.probabilities.argmax())],
                confidence=float(answer.probabilities.max()),
            )
            for answer in answers
        ]
        for title, answers in scores.examples().items()
    }
    return sections(
        summary=evaluation.summary,
        confusion=scores.confusion,
        calibration=scores.calibration,
        examples=examples,
        headlines=scores.headlines,
    )


def tables(summary: Mapping[str, Any]) -> list[Block]:
    """The scores of each class and of all, as a terminal shows them; of many classes only the worst."""
    shown = [("accuracy", summary["accuracy"]), ("mean class accuracy", summary["mean_class_accuracy"])]
    if "top5_accuracy" in summary:
        shown.append(("top-5 accuracy", summary["top5_accuracy"]))
    return [
        *class_rows(summary),
        headline_text(shown),
        measured(summary),
    ]


def class_rows(summary: Mapping[str, Any]) -> list[Block]:
    """Recall, precision and F1 of each class."""
    names = list(summary["recall"])
    blocks: list[Block] = []
    if len(names) > MAX_ROWS:
        blocks.append(Heading(f"the {MAX_ROWS} classes with the lowest recall, of {len(names)}"))
        names = sorted((name for name in names if summary["recall"][name] is not None), key=summary["recall"].get)
        names = names[:MAX_ROWS]
    columns = (Column("class"), *(Column(title, right=True) for title in ("recall", "precision", "F1")))
    rows = [(name, *(Number(summary[key][name], digits=4) for key in ("recall", "precision", "f1"))) for name in names]
    return [*blocks, Table(columns, rows)]
