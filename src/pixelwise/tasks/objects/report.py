"""The sections of a report about a network that finds every object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure as Drawing

from pixelwise.data.draw import palette, to_rgb
from pixelwise.data.regions import Patch
from pixelwise.data.sample import Instances
from pixelwise.metrics.detection_errors import IGNORED, KINDS, RIGHT, kinds_of_detections
from pixelwise.nn.boxes import pairwise_iou
from pixelwise.notebook import jpeg
from pixelwise.report.blocks import (
    Block,
    Column,
    Facts,
    Figure,
    Figures,
    Heading,
    Legend,
    Numbers,
    Panels,
    Picture,
    Section,
    Table,
    Text,
)
from pixelwise.report.boxes import draw_boxes
from pixelwise.report.cells import Bar, Cell, Number, Strong, Swatch
from pixelwise.report.figures import STYLE
from pixelwise.report.pictures import fitted_size, resized, svg
from pixelwise.report.run_page import missing
from pixelwise.report.scores import definitions, headline_text, measured, other_numbers, tiles
from pixelwise.report.values import css, sentence
from pixelwise.tasks.evaluation import Evaluation
from pixelwise.tasks.objects.inference import BACKGROUND, ObjectPrediction, draw_piece
from pixelwise.tasks.objects.scores import MISSED, ObjectScores, ignored_by

LONG_SIDE = 480  # pixels of the pictures on the page
MAX_CURVES = 8
FOUND, FALSE, UNFOUND, LEFT_OUT = (90, 200, 110), (235, 70, 70), (250, 180, 40), (150, 150, 150)
"""Colours of right detections, false detections, missed objects, and ignored objects (crowds and difficult ones)."""
TERMS = {
    "IoU of two boxes or masks": "The area that both cover, divided by the area that either covers (intersection over "
    "union). 1 is perfect.",
    "precision and recall": "Precision is the share of right detections among those with the given confidence or more. "
    "Recall is the share of true objects that were found.",
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
        *_recommended(summary),
        kinds_table(summary),
    ]
    if "objects" in summary:
        blocks += [Heading("As a label map"), Facts(summary["objects"])]
    return [
        Section("scores", "Scores", blocks),
        Section("examples", "Examples", _examples(evaluation)),
        Section("classes", "Classes", [_classes(summary), *_curves(scores)]),
        definitions(headlines, TERMS),
    ]


def _recommended(summary: Mapping[str, Any]) -> list[Block]:
    found: Mapping[str, float] | None = summary["recommended"]
    return [] if found is None else [Text(recommendation(found))]


def recommendation(found: Mapping[str, float]) -> str:
    return (
        f"A confidence of {found['confidence']:g} gives the highest F1 of boxes, {found['f1']:.3f}, with precision "
        f"{found['precision']:.3f} and recall {found['recall']:.3f}; prediction uses it unless --option threshold "
        "is given."
    )


def kinds_table(summary: Mapping[str, Any]) -> Table:
    """The number of detections of each kind, and of missed objects."""
    counts: Mapping[str, int] = summary["kinds"]
    most = max(counts.values(), default=0)
    meanings = {**KINDS, MISSED: "an object without a detection"}
    rows: list[tuple[Cell, ...]] = [
        (kind, Number(number), Bar(number / most if most else None, soft=kind != RIGHT), meanings[kind])
        for kind, number in counts.items()
    ]
    return Table((Column("detections"), Column("number", right=True), Column(width=26), Column("what it is")), rows)


def _curves(scores: ObjectScores) -> list[Block]:
    """Precision over recall of each class, for at most the eight classes with the most objects."""
    counts = scores.voc.positives
    classes = sorted((k for k in counts if counts[k]), key=lambda k: -counts[k])[:MAX_CURVES]
    if not classes:
        return []
    with matplotlib.rc_context(STYLE):
        figure = Drawing(figsize=(4.6, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for class_id in classes:
            recall, precision = scores.voc.curve(class_id)
            axes.plot(recall, precision, linewidth=1.5, label=scores.class_names[class_id])
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title="Precision over recall")
        axes.grid(visible=True)
        axes.legend(fontsize=8)
    how_to_read = (
        "Each point counts the detections with at least one confidence, which falls from left to right. A network "
        "without mistakes stays at the top until every object is found."
    )
    return [Figures([Figure(svg(figure, "precision over recall"))]), Text(how_to_read, soft=True)]


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
    names = {"right": FOUND, "false": FALSE, "missed object": UNFOUND}
    for title, some in scores.examples().items():
        blocks.append(Heading(title))
        for each in some:
            sample = dataset.load(records[each.name], objects=True)
            found = evaluation.predictor(sample.image)
            if sample.instances is not None and sample.instances.ignored is not None:
                names["crowd or difficult"] = LEFT_OUT
            size = fitted_size(sample.image, LONG_SIDE, enlarge=True)
            caption = (Strong(each.name), " · F1 at an IoU of 0.5 ", Number(each.f1))
            pictures = [
                Picture(jpeg(resized(drawn, size)), size, (heading,), f"{heading} in {each.name}")
                for heading, drawn in (
                    ("Truth", draw_objects(sample.image, sample.instances, dataset.class_names, colours)),
                    ("Found", found.overlay()),
                    ("Right and wrong", judged(found, sample.instances)),
                )
            ]
            blocks.append(Panels(pictures, caption, columns=3))
    if not blocks:
        return [missing("No examples were kept in this run.")]
    return [Legend([Swatch(name, css(np.array(colour))) for name, colour in names.items()]), *blocks]


def judged(found: ObjectPrediction, objects: Instances | None) -> np.ndarray:
    """(H, W, 3) uint8: the dimmed picture with right and false detections, missed objects and ignored objects.

    Detections on ignored objects are not drawn.
    """
    objects = Instances.none() if objects is None else objects
    overlaps = pairwise_iou(torch.from_numpy(found.boxes), torch.from_numpy(objects.boxes)).numpy()
    kinds, hit = kinds_of_detections(
        overlaps, found.classes, found.confidences, objects.classes, ignored_by(found, objects)
    )
    right = np.array([kind == RIGHT for kind in kinds], bool)
    false = np.array([kind not in (RIGHT, IGNORED) for kind in kinds], bool)
    left = objects.boxes[:0] if objects.ignored is None else objects.ignored.boxes
    layers = (left, objects.boxes[~hit], found.boxes[false], found.boxes[right])
    boxes, kind_of = np.concatenate(layers), np.repeat([3, 2, 1, 0], [len(layer) for layer in layers])
    colours = np.zeros((256, 3), np.uint8)
    colours[:4] = FOUND, FALSE, UNFOUND, LEFT_OUT
    dimmed = (0.6 * to_rgb(found.image).astype(np.float32)).astype(np.uint8)
    return draw_boxes(dimmed, boxes, kind_of.astype(np.int64), colours=colours)


def draw_objects(image: np.ndarray, objects: Instances | None, names: Sequence[str], colours: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: the picture with its true objects, outlined if the outline is known."""
    if objects is None:
        return to_rgb(image)
    if objects.ignored is not None:
        left = objects.ignored
        grey = np.tile(np.array(LEFT_OUT, np.uint8), (256, 1))
        labels = [f"{names[class_id]} (ignored)" for class_id in left.classes]
        image = draw_boxes(image, left.boxes, left.classes, labels, colours=grey)
    bare = objects.select(np.arange(objects.outlined, len(objects)))
    drawn = draw_boxes(image, bare.boxes, bare.classes, [names[class_id] for class_id in bare.classes], colours=colours)
    if objects.ids is None:
        return drawn
    drawn = drawn.copy()
    for number, class_id in enumerate(objects.classes[: objects.outlined].tolist()):
        left, top, right, bottom = objects.boxes[number].astype(int)
        draw_piece(drawn, Patch(top, left, objects.ids[top:bottom, left:right] == number + 1), colours[class_id])
    return drawn


def tables(summary: Mapping[str, Any]) -> list[Block]:
    """The scores of each class and of all classes, for the terminal."""
    keys = [key for key in ("mask_ap50", "mask_ap", "ap50", "ap", "ap75") if key in summary]
    found = summary["found"]
    before = f"{found['objects']} objects, confidence {found['confidence']:g}: "
    blocks: list[Block] = [
        _classes(summary),
        headline_text([(key.replace("_", " "), summary[key]) for key in keys]),
        headline_text([("precision", found["precision"]), ("recall", found["recall"])], before),
    ]
    blocks += _recommended(summary)
    if "objects" in summary:
        numbers = [
            (key.replace("_", " "), value) for key, value in summary["objects"].items() if isinstance(value, float)
        ]
        blocks.append(headline_text(numbers, "as a label map: "))
    return [*blocks, measured(summary)]
