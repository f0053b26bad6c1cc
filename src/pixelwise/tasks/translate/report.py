"""The sections of a report on networks that translate pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pixelwise.data.dataset import Dataset
from pixelwise.data.draw import to_rgb
from pixelwise.data.sample import Sample
from pixelwise.data.value_colours import coloured
from pixelwise.metrics.pictures import LEVELS
from pixelwise.notebook import jpeg
from pixelwise.report.blocks import (
    Block,
    ColourBar,
    Column,
    Heading,
    Numbers,
    Panels,
    Picture,
    Section,
    Table,
    Text,
)
from pixelwise.report.cells import Bar, Cell, Number, Strong
from pixelwise.report.pictures import fitted_size, resized
from pixelwise.report.run_page import missing
from pixelwise.report.scores import comparison, definitions, headline_text, measured, other_numbers, tiles
from pixelwise.report.values import sentence
from pixelwise.tasks.evaluation import Evaluation
from pixelwise.tasks.translate.one_way import TranslatePrediction
from pixelwise.tasks.translate.scores import CYCLE, L1, LABELS, PSNR, PictureError, TranslateScores

LONG_SIDE = 480  # pixels of the pictures on the page
BRIGHTEST = 64
"""The difference in grey levels that has the brightest colour."""
UNTRANSLATED = {"unchanged_l1": "the input, unchanged", "constant_l1": "the best single colour"}
"""Keys of the summary with the errors of methods that need no network -> their names."""
HEADLINES = (CYCLE, L1, PSNR, LABELS)
TERMS = {
    "difference": "The mean over channels of the absolute difference between translation and truth, in grey levels of "
    "0 to 255.",
    "diversity": "How much translations differ from one another, relative to real pictures of the kind that they "
    "should become: the standard deviation over pictures of each pixel of thumbnails. Near 0, the generator ignores "
    "its input.",
    "own to others": "The error of translations, divided by their error against the truths of other pictures, on "
    "thumbnails. Near 1, they say nothing about their pictures. Textures that nobody can guess hardly matter.",
}
NO_PAIRS = "not defined: there are no pairs to compare with"


def evaluation_sections(evaluation: Evaluation, baselines: Mapping[str, float | None]) -> list[Section]:
    """Sections with scores, inputs beside outputs and truths, the classes of map colours, and definitions."""
    scores: TranslateScores = evaluation.scores
    summary = evaluation.summary
    shown: list[Block] = []
    for title, pictures in scores.examples(2 if scores.both_ways else 3):
        shown += [Heading(title), *_examples(evaluation, pictures)]
    classes = [] if scores.confusion is None or not scores.confusion.pixels else [_classes(scores)]
    return [
        _scores(summary, scores, baselines),
        Section("examples", "Examples", shown or [missing("No examples were kept in this run.")]),
        *classes,
        definitions(scores.headlines, TERMS),
    ]


def _scores(summary: Mapping[str, Any], scores: TranslateScores, baselines: Mapping[str, float | None]) -> Section:
    keys = {headline.key for headline in scores.headlines}
    blocks: list[Block] = [
        Numbers(tiles(summary, scores.headlines, NO_PAIRS)),
        Text(sentence(summary.get("definition", "")), soft=True),
        *other_numbers(summary, {*keys, "pictures", *UNTRANSLATED}),
    ]
    rows = dict(baselines)
    rows |= {name: summary[key] for key, name in UNTRANSLATED.items() if summary.get(key) is not None}
    if rows and summary.get(L1.key) is not None:
        blocks += [
            Heading("Compared with methods that need no network"),
            comparison(rows, summary[L1.key], L1),
        ]
    return Section("scores", "Scores", blocks)


def _examples(evaluation: Evaluation, pictures: Sequence[PictureError]) -> list[Block]:
    dataset: Dataset = evaluation.dataset
    records = {record.name: record for record in dataset.split(evaluation.split)}
    inference: Any = evaluation.predictor.inference
    blocks: list[Block] = []
    for error in pictures:
        sample = dataset.load(records[error.name])
        prediction = inference.measured([inference.prepare_sample(sample)])[0]
        blocks += _panels(sample, prediction, error, evaluation.scores)
    return blocks


def _panels(
    sample: Sample, prediction: TranslatePrediction, error: PictureError, scores: TranslateScores
) -> list[Block]:
    """Input, translation, truth and difference; for networks that translate both ways, there and back, twice."""
    source, other = (sample.partner, sample.image) if scores.turned else (sample.image, sample.partner)
    assert source is not None
    panels: list[Block] = []
    truth = other if sample.paired else None
    rows = [(source, prediction.picture, truth, prediction.rebuilt, "")]
    if prediction.other is not None and other is not None:
        back = source if sample.paired else None
        rows.append((other, prediction.other, back, prediction.other_rebuilt, ", the other direction"))
    for number, (given, made, true, rebuilt, words) in enumerate(rows):
        pictures = [("Input", to_rgb(given)), ("Translation", to_rgb(made))]
        if true is not None:
            pictures.append(("Truth", to_rgb(true)))
        if rebuilt is not None:
            pictures.append(("Translated back", to_rgb(rebuilt)))
        scale = None
        if true is not None and rebuilt is None:
            span = scores.target.span
            levels = np.abs(made.astype(np.float32) - true).mean(axis=2) * (LEVELS / span)
            pictures.append(("Difference", coloured(levels, 0.0, BRIGHTEST)))
            scale = ColourBar("0", f"{BRIGHTEST} grey levels", label="difference")
        caption: list[Cell] = [Strong(sample.name + words)]
        if number == 0 and not np.isnan(error.l1):
            caption += [" · L1 ", Number(error.l1, digits=1), " grey levels"]
        if number == 0 and not np.isnan(error.cycle_l1):
            caption += [" · there and back ", Number(error.cycle_l1, digits=1)]
        panels.append(Panels([_picture(*each, sample.name) for each in pictures], caption, columns=4, scale=scale))
    return panels


def _picture(label: str, picture: np.ndarray, name: str) -> Picture:
    size = fitted_size(picture, LONG_SIDE)
    return Picture(jpeg(np.ascontiguousarray(resized(picture, size))), size, (label,), f"{label} of {name}")


def _classes(scores: TranslateScores) -> Section:
    """How well the classes of the colours are met."""
    confusion = scores.confusion
    assert confusion is not None
    total = max(confusion.pixels, 1)
    rows = [
        (name, Number(iou), Number(recall), Bar(int(true) / total, soft=True))
        for name, iou, recall, true in zip(
            confusion.class_names,
            confusion.iou().tolist(),
            confusion.recall().tolist(),
            confusion.true_pixels.tolist(),
            strict=True,
        )
    ]
    columns = (
        Column("class"),
        Column("IoU", right=True),
        Column("found", right=True),
        Column("share of pixels", width=40),
    )
    text = "Each pixel of translation and truth has the class of the nearest colour in the table of colours."
    return Section("classes", "Classes by colour", [Table(columns, rows), Text(text, soft=True)])


def tables(summary: Mapping[str, Any]) -> list[Block]:
    """The scores as a terminal shows them."""
    shown = [(headline.label, summary[headline.key]) for headline in HEADLINES if headline.key in summary]
    return [
        headline_text(shown),
        measured(summary),
    ]
