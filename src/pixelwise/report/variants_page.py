"""Variants of one training side by side: a table and the curves of each, as one HTML file and as a figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pixelwise.atomic import write_text
from pixelwise.report.figures import ACCENT, SECOND, STYLE
from pixelwise.report.rendering import number, svg, templates


@dataclass(frozen=True, slots=True)
class VariantOutcome:
    """What became of one variant.

    Attributes:
        about: what it is for.
        training, validation: the score at the end of the training; None where it was not measured.
        kept: of the weights that are kept, the best on the validation pictures.
        epochs, kept_epoch: passes over the training pictures at the end, and until those weights.
        log: the entries of `log.jsonl` of kind `validation`.
    """

    name: str
    about: str
    training: float | None
    validation: float | None
    kept: float | None
    epochs: float
    kept_epoch: float
    log: Sequence[Mapping[str, Any]] = ()

    @property
    def gap(self) -> float | None:
        """Training minus validation: what was learnt by heart."""
        return None if self.training is None or self.validation is None else self.training - self.validation


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantsContent:
    """The page of a recipe's variants.

    Attributes:
        about: what the recipe is for.
        score: name in the log of what the outcomes' scores are.
        label: the same for people.
        definition: of the columns, in sentences.
        recipe: as YAML.
        next_commands: to be copied; lines that begin with # say why.
    """

    title: str
    about: str
    score: str
    label: str
    definition: str
    outcomes: Sequence[VariantOutcome]
    recipe: str = ""
    next_commands: Sequence[str] = field(default=())


def write_variants_report(path: Path, content: VariantsContent) -> None:
    """Writes the page: complete under its final name, or not at all.

    Raises:
        OSError: as the system gives it.
    """
    environment = templates()
    environment.filters["number"] = number
    best = max((o.kept for o in content.outcomes if o.kept is not None), default=None)
    page = environment.get_template("variants.html.j2").render(
        content=content,
        best=best,
        measured=any(outcome.training is not None for outcome in content.outcomes),
        curves=[
            (outcome, svg(curves(outcome, content), f"scores and losses of {outcome.name}"))
            for outcome in content.outcomes
        ],
        commands=[line for line in content.next_commands if line and not line.startswith("#")],
    )
    write_text(path, page)


def curves(outcome: VariantOutcome, content: VariantsContent) -> Figure:
    """Score and loss of one variant by epoch, on the axes of all of them."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 2.1), layout="constrained")
        _draw(figure.subplots(1, 2), outcome, content)
    return figure


def curves_sheet(content: VariantsContent, columns: int = 3) -> Figure:
    """All variants in one figure: score and loss of each side by side, so many variants a row."""
    rows = math.ceil(len(content.outcomes) / columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.1 * columns, 2.0 * rows), layout="constrained")
        parts = figure.subfigures(rows, columns, squeeze=False)
        for outcome, part in zip(content.outcomes, parts.flat, strict=False):
            ends = " to ".join(f"{value:.3f}" for value in (outcome.training, outcome.validation) if value is not None)
            part.suptitle(f"{outcome.name}: {ends}", fontsize=9, x=0.02, ha="left")
            _draw(part.subplots(1, 2), outcome, content)
    return figure


def _draw(pair: Iterable[Axes], outcome: VariantOutcome, content: VariantsContent) -> None:
    longest = max(other.epochs for other in content.outcomes)
    losses = [
        value for other in content.outcomes for key in ("loss", "training_loss") for _, value in _curve(other, key)
    ]
    tops = (1.03, 1.05 * max(losses, default=1.0))  # so that a line along the top is seen
    for axes, key, label, top in zip(pair, (content.score, "loss"), (content.label, "loss"), tops, strict=True):
        for name, colour, words in ((f"training_{key}", ACCENT, "training"), (key, SECOND, "validation")):
            points = _curve(outcome, name)
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.5, label=words)
        axes.set(xlim=(0, longest), ylim=(0, top))
        axes.set_title(label, fontsize=8)
        axes.set_xlabel("epoch", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid(visible=True)
        if key == content.score:
            axes.legend(fontsize=7, loc="lower right")


def _curve(outcome: VariantOutcome, name: str) -> list[tuple[float, float]]:
    """(epoch, value) where it was measured."""
    values = ((entry["epoch"], entry.get(name)) for entry in outcome.log)
    return [(epoch, value) for epoch, value in values if value is not None and math.isfinite(value)]
