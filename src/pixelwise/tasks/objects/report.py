"""The sections of a report on networks that find every object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pixelwise.data.draw import palette, to_rgb
from pixelwise.data.sample import Instances
from pixelwise.nn.mask_paste import Piece
from pixelwise.report.blocks import Block, Column, Facts, Heading, Numbers, Panels, Picture, Section, Table, Text
from pixelwise.report.boxes import draw_boxes
from pixelwise.report.cells import Cell, Number, Strong
from pixelwise.report.pictures import fitted_size, jpeg, resized
from pixelwise.report.run_page import missing
from pixelwise.report.scores import definitions, headline_text, other_numbers, tiles
from pixelwise.report.values import sentence
from pixelwise.tasks.base import Evaluation
from pixelwise.tasks.objects.inference import BACKGROUND, draw_piece
from pixelwise.tasks.objects.scores import ObjectScores

LONG_SIDE = 480  # pixels of the pictures on the page
TERMS = {
    "IoU of two boxes or masks": "The area that both cover, divided by the area that either covers (intersection over "
    "union). 1 is perfect.",
    "precision and recall": "Of the objects that were found with the given confidence or more, the share that is "
    "right; of all true objects, the share that was found.",
}


def evaluation_sections(evaluation: Evaluation) -> list[Section]:
    """Scores, examples, classes and definitions."""
    scores: ObjectScores = evaluation.scores
    summary = evaluation.summary
    headlines = scores.headlines
    blocks: list[Block] = [
        Numbers(tiles(summary, headlines, "not defined: no object was counted")),
        Text(sentence(summary["definition"]), soft=True),
        *other_numbers(summary, {*(one.key for one in headlines), "pictures"}),
        Heading("At one confidence"),
        Facts(summary["found"]),
    ]
    if "objects" in summary:
        blocks += [Heading("As a label map"), Facts(summary["objects"])]
    return [
        Section("scores", "Scores", blocks),
        Section("examples", "Examples", _examples(evaluation)),
        Section("classes", "Classes", [_classes(summary)]),
        definitions(headlines, TERMS),
    ]


def _classes(summary: Mapping[str, Any]) -> Table:
    classes: Mapping[str, Mapping[str, float]] = summary["classes"]
    keys = list(next(iter(classes.values()), {}))
    columns = (Column("class"), *(Column(key.replace("_", " "), right=True) for key in keys))
    rows: list[tuple[Cell, ...]] = [
        (name, *(Number(found[key], digits=4) for key in keys)) for name, found in classes.items()
    ]
    return Table(columns, rows)


def _examples(evaluation: Evaluation) -> list[Block]:
    scores, dataset = evaluation.scores, evaluation.dataset
    records = {record.name: record for record in dataset.split(evaluation.split)}
    colours = palette(len(dataset.class_names), BACKGROUND)
    blocks: list[Block] = []
    for title, some in scores.telling().items():
        blocks.append(Heading(title))
        for each in some:
            sample = dataset.load(records[each.name], objects=True)
            found = evaluation.predictor(sample.image)
            size = fitted_size(sample.image, LONG_SIDE, enlarge=True)
            caption = (Strong(each.name), " · F1 at an IoU of 0.5 ", Number(each.f1))
            pictures = [
                Picture(jpeg(resized(drawn, size)), size, (name,), f"{name} in {each.name}")
                for name, drawn in (
                    ("Truth", draw_objects(sample.image, sample.instances, dataset.class_names, colours)),
                    ("Found", found.overlay()),
                )
            ]
            blocks.append(Panels(pictures, caption, columns=2))
    return blocks or [missing("No examples were kept in this run.")]


def draw_objects(image: np.ndarray, objects: Instances | None, names: Sequence[str], colours: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: true objects over their picture, outlined where the outline is known."""
    if objects is None:
        return to_rgb(image)
    if objects.ids is None:
        labels = [names[class_id] for class_id in objects.classes]
        return draw_boxes(image, objects.boxes, objects.classes, labels, colours=colours)
    drawn = to_rgb(image).copy()
    for number, class_id in enumerate(objects.classes[: objects.outlined].tolist()):
        left, top, right, bottom = objects.boxes[number].astype(int)
        draw_piece(drawn, Piece(top, left, objects.ids[top:bottom, left:right] == number + 1), colours[class_id])
    return drawn


def tables(summary: Mapping[str, Any]) -> list[Block]:
    """The scores of each class and of all, as a terminal shows them."""
    keys = [key for key in ("mask_ap50", "mask_ap", "ap50", "ap", "ap75") if key in summary]
    found = summary["found"]
    before = f"{found['objects']} objects, confidence {found['confidence']:g}: "
    blocks: list[Block] = [
        _classes(summary),
        headline_text([(key.replace("_", " "), summary[key]) for key in keys]),
        headline_text([("precision", found["precision"]), ("recall", found["recall"])], before),
    ]
    if "objects" in summary:
        numbers = [
            (key.replace("_", " "), value) for key, value in summary["objects"].items() if isinstance(value, float)
        ]
        blocks.append(headline_text(numbers, "as a label map: "))
    return [*blocks, Text(f"{summary['pictures']} pictures of '{summary['split']}'; {summary['definition']}")]
