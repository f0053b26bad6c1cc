"""The sections of a report on networks that predict a number per pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure as Drawing

from pixelwise.data.draw import to_rgb
from pixelwise.data.value_colours import coloured
from pixelwise.notebook import jpeg
from pixelwise.report.blocks import Block, ColourBar, Figure, Figures, Heading, Numbers, Panels, Picture, Section, Text
from pixelwise.report.cells import Number, Strong
from pixelwise.report.figures import ACCENT, INK, STYLE
from pixelwise.report.pictures import fitted_size, resized, svg
from pixelwise.report.run_page import missing
from pixelwise.report.scores import comparison, definitions, headline_text, measured, other_numbers, tiles
from pixelwise.report.values import sentence
from pixelwise.tasks.evaluation import Evaluation
from pixelwise.tasks.regress.scores import HEADLINES

LONG_SIDE = 480  # pixels of the pictures on the page
BINS = 80
TERMS = {
    "void": "Pixels without a true value. They are left out of training and of all scores.",
    "error": "The predicted value minus the true value: blue if it is too small, red if it is too large.",
}


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One picture with its predicted and true values.

    Attributes:
        image: (H, W, C), any depth.
        prediction, truth: (H, W); NaN in the truth is void.
        mae: mean absolute error of this picture alone.
    """

    name: str
    image: np.ndarray
    prediction: np.ndarray
    truth: np.ndarray
    mae: float


def evaluation_sections(evaluation: Evaluation, baselines: Mapping[str, float | None]) -> list[Section]:
    """Sections for a network that was measured on a split: scores, examples, true and predicted values, definitions."""
    dataset, spec = evaluation.dataset, evaluation.predictor.spec
    records = {record.name: record for record in dataset.split(evaluation.split)}
    examples: dict[str, list[Example]] = {}
    for title, pictures in evaluation.scores.examples():
        examples[title] = []
        for picture in pictures:
            sample = dataset.load(records[picture.name])
            values = evaluation.predictor(sample.image).values
            assert sample.values is not None
            examples[title].append(Example(sample.name, sample.image, values, sample.values, picture.mae))
    return sections(
        summary=evaluation.summary,
        examples=examples,
        unit=spec.notes.get("unit", ""),
        what=spec.notes.get("name", "") or "value",
        baselines=baselines,
    )


def sections(
    *,
    summary: Mapping[str, Any],
    examples: Mapping[str, Sequence[Example]],
    unit: str,
    what: str,
    baselines: Mapping[str, float | None],
) -> list[Section]:
    """Sections with scores, examples, true and predicted values, and definitions.

    Args:
        unit, what: unit and name of the values.
    """
    scores: list[Block] = [
        Numbers(tiles(summary, HEADLINES, "not defined: no pixel with a value was counted")),
        Text(sentence(summary.get("definition", "")), soft=True),
        *other_numbers(summary, {*(one.key for one in HEADLINES), "pictures"}),
    ]
    if baselines:
        first = HEADLINES[0]
        scores += [
            Heading("Compared with methods that need no network"),
            comparison(baselines, summary.get(first.key), first),
        ]
    shown: list[Block] = []
    for title, some in examples.items():
        shown += [Heading(title), *(_panels(one, unit, what) for one in some)]
    every = [one for some in examples.values() for one in some]
    return [
        Section("scores", "Scores", scores),
        Section("examples", "Examples", shown or [missing("No examples were kept in this run.")]),
        Section(
            "values",
            "True and predicted values",
            [
                Figures(
                    [
                        Figure(
                            svg(scatter(every, unit), "predicted against true values"),
                            title="Predicted against true values",
                            caption="The pixels of the examples above; darker means more pixels. A perfect network "
                            "would put all of them on the line.",
                        )
                    ]
                )
                if every
                else missing("No examples were kept in this run.")
            ],
        ),
        definitions(HEADLINES, TERMS),
    ]


def _panels(example: Example, unit: str, what: str) -> Panels:
    """Picture, truth, prediction and error side by side; the colours cover the range of this picture's true values."""
    size = fitted_size(example.image, LONG_SIDE)
    values = example.truth[np.isfinite(example.truth)]
    if np.ptp(values) == 0:
        values = np.append(example.prediction, values)
    limits = float(values.min()), float(values.max())
    largest = max((limits[1] - limits[0]) / 2, 1e-12)
    shown = (
        ("Picture", to_rgb(example.image)),
        ("Truth", coloured(example.truth, *limits)),
        ("Prediction", coloured(example.prediction, *limits)),
        ("Error", _error(example, largest)),
    )
    pictures = [
        Picture(jpeg(np.ascontiguousarray(resized(picture, size))), size, (label,), f"{label} of {example.name}")
        for label, picture in shown
    ]
    caption = (Strong(example.name), " · mean absolute error ", Number(example.mae), f" {unit}".rstrip())
    low, high = (f"{limit:.4g} {unit}".strip() for limit in limits)
    return Panels(pictures, caption, columns=4, scale=ColourBar(low, high, label=what))


def _error(example: Example, largest: float) -> np.ndarray:
    """The error in colours: blue if the prediction is too small, red if it is too large, grey if the truth is void."""
    error = example.prediction - example.truth
    colours = matplotlib.colormaps["coolwarm"](np.clip(error / largest, -1, 1) / 2 + 0.5, bytes=True)[:, :, :3].copy()
    colours[~np.isfinite(example.truth)] = 128
    return colours


def scatter(examples: Sequence[Example], unit: str) -> Drawing:
    """Draws the joint histogram of true and predicted values."""
    known = [np.isfinite(one.truth) for one in examples]
    truth = np.concatenate([one.truth[where] for one, where in zip(examples, known, strict=True)])
    predicted = np.concatenate([one.prediction[where] for one, where in zip(examples, known, strict=True)])
    low, high = float(min(truth.min(), predicted.min())), float(max(truth.max(), predicted.max()))
    high = high if high > low else low + 1.0
    counts, *_ = np.histogram2d(truth, predicted, bins=BINS, range=((low, high), (low, high)))
    label = f" ({unit})" if unit else ""
    with matplotlib.rc_context(STYLE):
        drawing = Drawing(figsize=(4.0, 3.8), layout="constrained")
        axes = drawing.add_subplot()
        clear = matplotlib.colors.LinearSegmentedColormap.from_list("counts", [(1, 1, 1, 0), ACCENT])
        axes.imshow(
            np.log1p(counts.T), origin="lower", extent=(low, high, low, high), cmap=clear, interpolation="nearest"
        )
        axes.plot([low, high], [low, high], color=INK, linewidth=0.8, linestyle="--")
        axes.set(xlabel=f"true{label}", ylabel=f"predicted{label}", aspect=1)
    return drawing


def tables(summary: Mapping[str, Any]) -> list[Block]:
    """The scores as a terminal shows them."""
    return [
        headline_text([(headline.label, summary[headline.key]) for headline in HEADLINES]),
        measured(summary),
    ]
