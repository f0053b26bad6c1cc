"""The sections of a report about a network that localises objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from pixelwise.data.draw import background_class, palette, to_rgb
from pixelwise.data.objects import largest_first
from pixelwise.metrics import Calibration, ConfusionMatrix, Headline
from pixelwise.notebook import jpeg
from pixelwise.report.blocks import Block, Facts, Figure, Heading, Numbers, Panels, Picture, Section, Text
from pixelwise.report.boxes import draw_boxes
from pixelwise.report.cells import Number, Strong
from pixelwise.report.classes import (
    calibration_definition,
    calibration_section,
    calibration_tile,
    class_scores_section,
    confusion_section,
)
from pixelwise.report.pictures import fitted_size, resized, svg
from pixelwise.report.run_page import missing
from pixelwise.report.scores import definitions, headline_text, measured, other_numbers, tiles
from pixelwise.report.values import sentence
from pixelwise.tasks.classify.report import class_rows
from pixelwise.tasks.detect.overfeat_figure import overfeat_figure
from pixelwise.tasks.detect.scores import HEADLINES
from pixelwise.tasks.evaluation import Evaluation

LONG_SIDE = 480  # pixels of the pictures on the page
OBJECT_HEADLINES = (
    Headline(
        "precision", "precision, all objects",
        definition="The share of right boxes among those above the least confidence. A box is right if it has the "
        "class of an object, an IoU of 0.5 or more with it, and no more confident box has found that object.",
    ),
    Headline("recall", "recall, all objects", definition="The share of all objects for which a right box was found."),
)  # fmt: skip
"""Scores of networks that search whole pictures; they are under `objects` in `metrics.json`."""
TERMS = {
    "object of a picture": "The object with the largest box. Pictures without an object are not counted here.",
    "IoU of two boxes": "The area that both cover, divided by the area that either covers (intersection over union). 1 "
    "is perfect.",
    "recall, precision, F1 of a class": "Recall: the share of the pictures with an object of the class that are "
    "predicted as this class. Precision: the share of the pictures predicted as the class whose object belongs to it. "
    "F1: the harmonic mean of both.",
    **calibration_definition("picture"),
}


@dataclass(frozen=True, slots=True, eq=False)
class BoxExample:
    """One picture with its objects and the boxes that were found.

    Attributes:
        name: name of the picture.
        image: (H, W, C), of any number of bits.
        truth, found: boxes (N, 4) xyxy in pixels, class ids (N,), and a label per box.
        overlap: IoU of the largest object's box with the box found for it; NaN without an object.
    """

    name: str
    image: np.ndarray
    truth: tuple[np.ndarray, np.ndarray, Sequence[str]]
    found: tuple[np.ndarray, np.ndarray, Sequence[str]]
    overlap: float


def sections(
    *,
    summary: Mapping[str, Any],
    confusion: ConfusionMatrix,
    calibration: Calibration | None = None,
    examples: Mapping[str, Sequence[BoxExample]] | None = None,
    steps: Drawing | None = None,
    headlines: Sequence[Headline] = HEADLINES,
) -> list[Section]:
    """Scores, examples, classes, confusion, calibration and definitions.

    Args:
        summary: the values of `metrics.json`; for networks that search whole pictures, `DetectionScore.summary` under
            `objects`. Numbers that are not headline scores are listed.
        confusion: counts of pictures by the class of their largest object. Class 0 is the background.
        calibration: calibration of the confidences on the same split; None if it was not measured.
        examples: title of a group -> its pictures, in the order in which they are shown.
        steps: the figure of OverFeat's steps (`overfeat_figure`); None for other networks.
        headlines: the headline scores, shown first.
    """
    objects = summary.get("objects") or {}
    shown = [
        *tiles(objects, OBJECT_HEADLINES, "not defined: no object was counted"),
        *tiles(summary, headlines, "not defined: no picture was counted"),
    ]
    if calibration is not None:
        shown.append(calibration_tile(calibration, "picture"))
    scores: list[Block] = [
        Numbers(shown),
        Text(sentence(summary.get("definition", "")), soft=True),
        *other_numbers(summary, {*(one.key for one in headlines), "pictures", "expected_calibration_error"}),
    ]
    keys = {one.key for one in OBJECT_HEADLINES}
    if objects:
        rest = {name: value for name, value in objects.items() if name not in keys}
        scores += [Heading("All objects"), Facts(rest)]
    return [
        Section("scores", "Scores", scores),
        Section("examples", "Examples", _examples(examples or {}, confusion.class_names, steps)),
        class_scores_section(confusion, "picture", without=0),
        confusion_section(confusion, "picture", errors=True),
        calibration_section(calibration, "picture"),
        definitions([*(OBJECT_HEADLINES if objects else ()), *headlines], TERMS),
    ]


def _examples(examples: Mapping[str, Sequence[BoxExample]], names: Sequence[str], steps: Drawing | None) -> list[Block]:
    colours = palette(len(names), background_class(names))
    blocks: list[Block] = []
    for title, some in examples.items():
        blocks += [Heading(title), *(_panels(one, colours) for one in some)]
    if not blocks:
        blocks = [missing("No examples were kept in this run.")]
    if steps is not None:
        how_to_read = (
            "Each cell of the upper maps is at the middle of a window, in the colour of the window's most probable "
            "class. Boxes that match are merged, and their confidences are added."
        )
        drawn = svg(steps, "scores without and with offsets, all boxes, merged boxes")
        blocks += [
            Heading("How the boxes of the first picture were found"),
            Figure(drawn, form="wide"),
            Text(how_to_read, soft=True),
        ]
    return blocks


def _panels(example: BoxExample, colours: np.ndarray) -> Panels:
    """Two panels side by side: the picture with its objects, and with the boxes that were found."""
    size = fitted_size(example.image, LONG_SIDE, enlarge=True)
    scale = LONG_SIDE / max(example.image.shape[:2])
    picture = resized(to_rgb(example.image), size)
    caption = (
        Strong(example.name), " · IoU of its largest object ", Number(example.overlap, "no object"),
    )  # fmt: skip
    pictures = [
        Picture(
            jpeg(draw_boxes(picture, boxes * scale, classes, labels, colours=colours)),
            size,
            (title,),
            f"{title} in {example.name}",
        )
        for title, (boxes, classes, labels) in (("Truth", example.truth), ("Found", example.found))
    ]
    return Panels(pictures, caption, columns=2)


def evaluation_sections(evaluation: Evaluation) -> list[Section]:
    """The sections about a network's evaluation on a split, with its best, middle and worst pictures."""
    scores, dataset = evaluation.scores, evaluation.dataset
    records = {record.name: record for record in dataset.split(evaluation.split)}
    examples: dict[str, list[BoxExample]] = {}
    steps = None
    for title, answers in scores.examples().items():
        examples[title] = []
        for answer in answers:
            sample = largest_first(dataset.load(records[answer.name]))
            assert sample.instances is not None
            found = evaluation.predictor(sample.image)
            if found.steps is not None and steps is None:
                steps = overfeat_figure(sample.image, found.steps, dataset.class_names, background=0)
            names = [dataset.class_names[class_id] for class_id in sample.instances.classes]
            examples[title].append(
                BoxExample(
                    name=sample.name,
                    image=sample.image,
                    truth=(sample.instances.boxes, sample.instances.classes, names),
                    found=(found.boxes, found.classes, found.labels()),
                    overlap=answer.overlap,
                )
            )
    return sections(
        summary=evaluation.summary,
        confusion=scores.confusion,
        calibration=scores.calibration,
        examples=examples,
        steps=steps,
    )


def tables(summary: Mapping[str, Any]) -> list[Block]:
    """The scores of each class and of all classes, for the terminal."""
    blocks = [
        *class_rows(summary),
        headline_text(
            [
                ("accuracy", summary["accuracy"]),
                ("mean class accuracy", summary["mean_class_accuracy"]),
                ("mean IoU of boxes", summary["box_iou"]),
                ("localised", summary["localised"]),
            ]
        ),
    ]
    objects = summary.get("objects")
    if objects:
        before = f"all {objects['objects']} objects, confidence {objects['confidence']:g}: "
        blocks.append(headline_text([("precision", objects["precision"]), ("recall", objects["recall"])], before))
    return [*blocks, measured(summary)]
