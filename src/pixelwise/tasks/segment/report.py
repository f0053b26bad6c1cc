"""The sections of a report for networks that label pixels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from matplotlib import colormaps

from pixelwise.data.draw import background_class, palette, to_rgb
from pixelwise.data.sample import VOID
from pixelwise.metrics import Calibration, ConfusionMatrix, Headline
from pixelwise.notebook import jpeg
from pixelwise.report.blocks import (
    Block,
    Column,
    Facts,
    Heading,
    Legend,
    Numbers,
    Panels,
    Picture,
    Section,
    Table,
    Text,
)
from pixelwise.report.cells import Bar, Cell, Number, Percent, Strong, Swatch
from pixelwise.report.classes import (
    ABSENT,
    NOT_PREDICTED,
    NOT_TRUE,
    calibration_definition,
    calibration_section,
    calibration_tile,
    confusion_section,
    counted,
)
from pixelwise.report.pictures import fitted_size, png, resized
from pixelwise.report.run_page import missing
from pixelwise.report.scores import comparison, definitions, headline_text, measured, other_numbers, tiles
from pixelwise.report.values import css, sentence, sortable
from pixelwise.tasks.evaluation import Evaluation
from pixelwise.tasks.segment.scores import HEADLINES

LONG_SIDE = 640  # pixels of the pictures on the page
ERROR_COLOUR = (229, 36, 94)
TERMS = {
    "IoU of a class": "The number of pixels that have the class in both truth and prediction, divided by the number of "
    "pixels that have it in either (intersection over union, Jaccard). 1 is perfect.",
    "Dice of a class": "Twice the number of shared pixels, divided by the sum of true and predicted pixels (F1). It is "
    "never below the IoU.",
    "precision": "The share of the pixels predicted as the class that is right.",
    "recall": "The share of the class's true pixels that was found.",
    **calibration_definition("pixel"),
    "void": "Pixels without a label. They are never trained on and never counted.",
}


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One picture with its prediction.

    Attributes:
        name: name of the picture.
        image: (H, W, C), any depth.
        prediction: (H, W) class ids.
        truth: (H, W) class ids, 255 = void; None if it is not known.
        mean_iou: mean IoU of this picture alone; NaN without truth.
        confidence: (H, W) probability of the predicted class, 0..1; None if it was not kept.
    """

    name: str
    image: np.ndarray
    prediction: np.ndarray
    truth: np.ndarray | None = None
    mean_iou: float = math.nan
    confidence: np.ndarray | None = None


def sections(
    *,
    summary: Mapping[str, Any],
    confusion: ConfusionMatrix,
    calibration: Calibration | None = None,
    examples: Sequence[Example] = (),
    baselines: Mapping[str, float | None] | None = None,
    headlines: Sequence[Headline] = HEADLINES,
) -> list[Section]:
    """Scores, examples, classes, confusion, calibration and definitions.

    Args:
        summary: the values of `metrics.json`: `ConfusionMatrix.summary`, `InstanceScore.summary` under `objects` if
            objects were compared, and any other numbers, which are listed.
        confusion: counts of pixels.
        calibration: calibration of the confidences on the same split; None if they were not kept.
        examples: in any order; the page sorts them into best, middle and worst.
        baselines: name of a baseline -> its headline score.
        headlines: the scores that are shown first.
    """
    names = confusion.class_names
    colours = palette(len(names), background_class(names))
    return [
        Section("scores", "Scores", _scores(summary, confusion, calibration, baselines or {}, headlines)),
        Section("examples", "Examples", _examples(examples, names, colours)),
        _classes(confusion, colours),
        confusion_section(confusion, "pixel"),
        calibration_section(calibration, "pixel"),
        definitions(headlines, TERMS),
    ]


def _scores(
    summary: Mapping[str, Any],
    confusion: ConfusionMatrix,
    calibration: Calibration | None,
    baselines: Mapping[str, float | None],
    headlines: Sequence[Headline],
) -> list[Block]:
    shown = tiles(summary, headlines, "not defined: no labelled pixel was counted")
    if calibration is not None:
        shown.append(calibration_tile(calibration, "pixel"))
    definition = sentence(summary.get("definition", ""))
    blocks: list[Block] = [
        Numbers(shown),
        Text(f"{definition} {counted(confusion.pixels, 'pixel')}".strip(), soft=True),
        *other_numbers(summary, {*(one.key for one in headlines), "pixels", "expected_calibration_error"}),
    ]
    if summary.get("objects"):
        blocks += [Heading("Objects"), *_objects(summary)]
    if baselines and headlines:
        first = headlines[0]
        blocks += [
            Heading("Compared with methods that need no network"),
            comparison(baselines, summary.get(first.key), first),
        ]
    return blocks


def _objects(summary: Mapping[str, Any]) -> list[Block]:
    """How well objects match the true objects: for the best way to separate them, and for each way if there are
    several."""
    blocks: list[Block] = [Facts(summary["objects"])]
    by_way: Mapping[str, Mapping[str, float | None]] = summary.get("objects_by_way", {})
    if by_way:
        scores = list(next(iter(by_way.values())))
        columns = (Column("separated by"), *(Column(name.replace("_", " "), right=True) for name in scores))
        rows: list[tuple[Cell, ...]] = [
            (way, *(Number(found[name], digits=4) for name in scores)) for way, found in by_way.items()
        ]
        blocks.append(Table(columns, rows))
    return blocks


def _classes(confusion: ConfusionMatrix, colours: np.ndarray) -> Section:
    """The section with the scores of each class, best IoU first, undefined last."""
    columns = (
        Column("class"), Column("IoU", right=True), Column(width=26), Column("Dice", right=True),
        Column("precision", right=True), Column("recall", right=True), Column("share of pixels", right=True),
    )  # fmt: skip
    scores = zip(
        confusion.class_names,
        colours,
        confusion.iou().tolist(),
        confusion.dice().tolist(),
        confusion.precision().tolist(),
        confusion.recall().tolist(),
        (confusion.true_pixels / max(confusion.pixels, 1)).tolist(),
        strict=False,  # the palette has a colour for every id of a byte
    )
    rows = [
        (
            Swatch(name, css(colour)), Number(iou, ABSENT), Bar(iou), Number(dice, ABSENT),
            Number(precision, NOT_PREDICTED), Number(recall, NOT_TRUE), Percent(share),
        )
        for name, colour, iou, dice, precision, recall, share in sorted(scores, key=lambda row: -sortable(row[2]))
    ]  # fmt: skip
    remark = "Best first. Share of pixels: the class's share of the counted true pixels."
    return Section("classes", "Classes", [Table(columns, rows), Text(remark, soft=True)])


def _examples(examples: Sequence[Example], names: Sequence[str], colours: np.ndarray) -> list[Block]:
    """Examples grouped by their score, below a legend of the classes."""
    if not examples:
        return [missing("No examples were kept in this run.")]
    legend = [Swatch(name, css(colours[class_id])) for class_id, name in enumerate(names)]
    if any(one.truth is not None and (one.truth == VOID).any() for one in examples):
        legend.append(Swatch("void (no label)", css(colours[VOID])))
    legend.append(Swatch("wrong pixel", "var(--wrong)"))
    blocks: list[Block] = [Legend(legend)]
    known = sorted((one for one in examples if not math.isnan(one.mean_iou)), key=lambda one: -one.mean_iou)
    if len(known) < 3:
        groups = [("Examples", known)]
    else:
        ends = [round(len(known) * part / 3) for part in range(4)]
        thirds = [known[low:high] for low, high in itertools.pairwise(ends)]
        groups = list(zip(("Best", "Middle", "Worst"), thirds, strict=True))
    groups.append(("Without truth", [one for one in examples if math.isnan(one.mean_iou)]))
    for title, some in groups:
        if some:
            blocks += [Heading(title), *(_panels(one, colours) for one in some)]
    return blocks


def _panels(example: Example, colours: np.ndarray) -> Panels:
    """Panels with picture, truth, prediction, errors and confidence, without those that are not known."""
    size = fitted_size(example.prediction, LONG_SIDE)
    picture = resized(to_rgb(example.image), size)
    prediction = cv2.resize(example.prediction.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    shown = [("Picture", jpeg(picture))]
    caption: list[Cell] = [
        Strong(example.name), " · mean IoU of this picture ", Number(example.mean_iou, "no truth to compare with"),
    ]  # fmt: skip
    if example.truth is not None:
        truth = cv2.resize(example.truth.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        shown.append(("Truth", png(truth, colours)))
        labelled = example.truth != VOID
        if labelled.any():
            wrong = float((example.truth != example.prediction)[labelled].mean())
            caption += [" · ", Percent(wrong), " of its pixels wrong"]
    shown.append(("Prediction", png(prediction, colours)))
    if example.truth is not None:
        shown.append(("Errors", jpeg(_errors(picture, truth, prediction))))
    if example.confidence is not None:
        confidence = cv2.resize(example.confidence.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        tinted = colormaps["viridis"](np.clip(confidence, 0, 1), bytes=True)[:, :, :3]
        shown.append(("Confidence (bright = sure)", jpeg(np.ascontiguousarray(tinted))))
    pictures = [Picture(address, size, (label,), f"{label} of {example.name}") for label, address in shown]
    return Panels(pictures, caption, columns=max(len(pictures), 3))


def disputed_panels(
    name: str,
    pair: tuple[int, int],
    share: str,
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    disputed: np.ndarray,
    class_names: Sequence[str],
) -> Panels:
    """Panels with picture, label, prediction, and the disputed pixels, where the network is confident of another class.

    Args:
        pair: the most frequent pair of label and predicted class among the disputed pixels.
        share: the share of disputed pixels, in words.
        disputed: (H, W) bool.
    """
    colours = palette(len(class_names), background_class(class_names))
    label, predicted = (Swatch(class_names[class_id], css(colours[class_id])) for class_id in pair)
    size = fitted_size(prediction, LONG_SIDE)
    picture = resized(to_rgb(image), size)
    masks = [cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for mask in (truth, prediction)]
    agreed = np.where(disputed, prediction, truth)  # all other pixels count as right
    shown = cv2.resize(agreed.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    pictures = [
        ("Picture", jpeg(picture)),
        ("Label", png(masks[0], colours)),
        ("Prediction", png(masks[1], colours)),
        ("Sure of another class", jpeg(_errors(picture, masks[0], shown))),
    ]
    return Panels(
        [Picture(address, size, (title,), f"{title} of {name}") for title, address in pictures],
        (Strong(name), " · labelled ", label, ", predicted ", predicted, f" · {share}"),
        columns=4,
    )


def _errors(picture: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """The picture in pale grey, with wrong pixels in one bright colour and void dark."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    pale = np.repeat((150 + grey * 0.4)[:, :, None], 3, axis=2).astype(np.uint8)
    pale[truth == VOID] = 90
    pale[(truth != prediction) & (truth != VOID)] = ERROR_COLOUR
    return pale


def evaluation_sections(evaluation: Evaluation, baselines: Mapping[str, float | None]) -> list[Section]:
    """The sections for a network that was measured on a split, with its best, middle and worst pictures."""
    scores, dataset = evaluation.scores, evaluation.dataset
    records = {record.name: record for record in dataset.split(evaluation.split)}
    examples = []
    for picture in scores.examples():
        sample = dataset.load(records[picture.name])
        prediction = evaluation.predictor(sample.image)
        examples.append(
            Example(sample.name, sample.image, prediction.mask, sample.mask, picture.mean_iou, prediction.confidence)
        )
    return sections(
        summary=evaluation.summary,
        confusion=scores.confusion,
        calibration=scores.calibration,
        examples=examples,
        baselines=baselines,
    )


def tables(summary: Mapping[str, Any]) -> list[Block]:
    """The scores of each class and of all classes, for a terminal."""
    outlines = summary.get("boundary", {}).get("f", {})  # runs of early versions have none
    titles = ["IoU", "Dice", "precision", "recall", *(["boundary F"] if outlines else [])]
    rows = []
    for name, iou in summary["iou"].items():
        scores = [iou, *(summary[key][name] for key in ("dice", "precision", "recall"))]
        scores += [outlines[name]] if outlines else []
        rows.append((name, *(Number(score, digits=4) for score in scores)))
    shown = [("mean IoU", summary["mean_iou"]), ("pixel accuracy", summary["pixel_accuracy"])]
    shown += [("boundary F", summary["boundary_f"])] if outlines else []
    blocks: list[Block] = [
        Table((Column("class"), *(Column(title, right=True) for title in titles)), rows),
        headline_text(shown),
    ]
    if "objects" in summary:
        found = summary["objects"]
        numbers = [(key.replace("_", " "), value) for key, value in found.items() if isinstance(value, float)]
        blocks.append(headline_text(numbers, f"objects by {found['separation']}: "))
    blocks.append(measured(summary))
    if outlines:
        blocks.append(Text(summary["boundary"]["definition"]))
    return blocks
