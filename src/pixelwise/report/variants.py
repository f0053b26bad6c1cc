"""Compares the variants of a recipe with a table and curves, as a page and as a figure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import MaxNLocator

from pixelwise.metrics import Headline
from pixelwise.report.blocks import Block, Code, Column, Commands, Details, Figure, Figures, Page, Section, Table, Text
from pixelwise.report.cells import Cell, Link, Number
from pixelwise.report.figures import ACCENT, SECOND, STYLE
from pixelwise.report.pictures import svg
from pixelwise.report.run_page import missing
from pixelwise.report.values import sentence


@dataclass(frozen=True, slots=True)
class VariantOutcome:
    """The outcome of one variant.

    Attributes:
        about: the purpose of the variant.
        training, validation: the score on the pictures of this split at the end of the run; None if not measured.
        kept: the validation score of the weights that were kept, the best of the run.
        epochs, kept_epoch: epochs until the end of the run, and until the kept weights.
        log: the entries of `log.jsonl` of kind `validation`.
        variant: the variant's name, which `name` extends by the seed in a recipe with seeds; empty for `name`.
    """

    name: str
    about: str
    training: float | None
    validation: float | None
    kept: float | None
    epochs: float
    kept_epoch: float
    log: Sequence[Mapping[str, Any]] = ()
    variant: str = ""

    @property
    def group(self) -> str:
        """The name of the variant, which all its seeds share."""
        return self.variant or self.name

    @property
    def gap(self) -> float | None:
        """Training minus validation: how much of the score does not carry over to other pictures."""
        return None if self.training is None or self.validation is None else self.training - self.validation


@dataclass(frozen=True, slots=True)
class VariantMean:
    """The scores of a variant over its seeds: means, and standard deviations (of a sample, n - 1).

    Attributes:
        last, last_deviation: the score at the end of the run.
        kept, kept_deviation: the score of the best validation.
        seeds: how many runs were measured.
    """

    variant: str
    about: str
    last: float | None
    last_deviation: float | None
    kept: float | None
    kept_deviation: float | None
    seeds: int


@dataclass(frozen=True, slots=True)
class ReferenceOutcome:
    """The score on validation pictures of a classical method that learned from the same pictures as the variants."""

    name: str
    about: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantsContent:
    """The page of a recipe's variants.

    Attributes:
        about: the purpose of the recipe.
        headline: the score that is compared.
        definition: what the columns of the table mean, in sentences.
        recipe: the recipe as YAML.
        next_commands: commands to copy; lines that begin with # are comments and are left out.
        references: classical methods to compare the variants with.
        notes: sentences about what is odd in the comparison.
    """

    title: str
    about: str
    headline: Headline
    definition: str
    outcomes: Sequence[VariantOutcome]
    recipe: str = ""
    next_commands: Sequence[str] = field(default=())
    references: Sequence[ReferenceOutcome] = ()
    notes: Sequence[str] = ()

    @property
    def heading(self) -> str:
        """What is compared, as a heading."""
        label = self.headline.label
        return f"{label[:1].upper()}{label[1:]} of each variant"

    @property
    def repeated(self) -> bool:
        """Whether variants were trained with several seeds."""
        return len({one.group for one in self.outcomes}) < len(self.outcomes)

    def means(self) -> list[VariantMean]:
        """The mean of each variant, in the order of the recipe."""
        runs: dict[str, list[VariantOutcome]] = {}
        for outcome in self.outcomes:
            runs.setdefault(outcome.group, []).append(outcome)
        return [
            VariantMean(
                name,
                several[0].about,
                *_mean_and_deviation([one.validation for one in several]),
                *_mean_and_deviation([one.kept for one in several]),
                len(several),
            )
            for name, several in runs.items()
        ]


def _mean_and_deviation(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    known = [value for value in values if value is not None]
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return (statistics.mean(known) if known else None), deviation


def variants_page(content: VariantsContent) -> Page:
    """The page that compares variants: a table, the curves of each, the recipe and the next commands."""
    commands = [line for line in content.next_commands if line and not line.startswith("#")]
    drawn = [
        Figure(svg(curves(one, content), f"scores and losses of {one.name}"), one.name, one.about)
        for one in content.outcomes
    ]
    return Page(
        content.title,
        [
            *_summary(content),
            Section(
                "table",
                content.heading,
                [_table(content), *map(Text, content.notes), Text(content.definition, soft=True)],
                link="Table",
            ),
            Section("curves", "Curves", [Figures(drawn)]),
            Section("recipe", "Recipe", [Details("The whole recipe", [Code(content.recipe)])]),
            Section("next", "What next", [Commands(commands) if commands else missing("Nothing was suggested.")]),
        ],
        about=sentence(content.about),
    )


def _table(content: VariantsContent) -> Table:
    """One row per variant; the columns `training` and `gap` only if a variant was measured on training pictures."""
    index = content.headline.best([one.kept for one in content.outcomes])
    best = None if index is None else content.outcomes[index].kept
    measured = any(one.training is not None for one in content.outcomes)
    rows = []
    for one in content.outcomes:
        row: list[tuple[Column, Cell]] = [
            (Column("variant"), Link(one.name, f"variants/{one.name}/report.html")),
            (Column("training", right=True), Number(one.training)),
            (Column("validation", right=True), Number(one.validation)),
            (Column("gap", right=True), Number(one.gap)),
            (Column("epochs", right=True), Number(one.epochs, digits=1)),
            (Column("kept", right=True), Number(one.kept, best=best is not None and one.kept == best)),
            (Column("of epoch", right=True), Number(one.kept_epoch, digits=1)),
            (Column("", soft=True, optional=True), one.about),
        ]
        rows.append([pair for pair in row if measured or pair[0].title not in ("training", "gap")])
    columns = [column for column, _ in rows[0]] if rows else []
    return Table(columns, [[cell for _, cell in row] for row in rows])


def _summary(content: VariantsContent) -> list[Section]:
    """Means over seeds, and classical references; nothing if every variant has one run and there are no references."""
    if not content.repeated and not content.references:
        return []
    over = "over seeds" if content.repeated else "beside classical methods"
    means = content.means()
    best = content.headline.best([*(each.score for each in content.references), *(each.last for each in means)])
    none = Number(None)
    rows: list[list[Cell]] = [
        [each.name, Number(each.score, best=number == best), none, none, none, "", each.about]
        for number, each in enumerate(content.references)
    ]
    for number, each in enumerate(means, len(rows)):
        rows.append([
            each.variant, Number(each.last, best=number == best), Number(each.last_deviation), Number(each.kept),
            Number(each.kept_deviation), str(each.seeds), each.about,
        ])  # fmt: skip
    words = "The score of the last weights is the one to compare: no score of these pictures chose them."
    if content.repeated:
        words = f"Mean and standard deviation over seeds. {words}"
    if content.references:
        words += " The first rows are classical methods, which learned from the same pictures."
    columns = [Column("variant"), *(Column(title, right=True) for title in ("last weights", "±", "kept", "±", "seeds"))]
    blocks: list[Block] = [
        Table([*columns, Column("", soft=True, optional=True)], rows),
        Text(words, soft=True),
        Figures([Figure(svg(spread(content), "score of each variant by seed"), "", "")]),
    ]
    return [Section("means", f"{content.heading}, {over}", blocks, link="Means")]


def spread(content: VariantsContent) -> Drawing:
    """The score of the last weights of each run as a dot, and the mean of each variant as a line.

    Above them, the score of each classical reference is a diamond.
    """
    means, references = content.means(), content.references
    names = [*(each.name for each in references), *(each.variant for each in means)]
    with matplotlib.rc_context(STYLE):
        figure = Drawing(figsize=(6.4, 0.6 + 0.34 * len(names)), layout="constrained")
        axes = figure.subplots()
        axes.plot([each.score for each in references], range(len(references)), "D", color=SECOND, markersize=5)
        for row, each in enumerate(means, len(references)):
            values = [one.validation for one in content.outcomes if one.group == each.variant]
            known = [value for value in values if value is not None]
            axes.plot(known, [row] * len(known), "o", color=ACCENT, markersize=5, alpha=0.7)
            if each.last is not None:
                axes.plot([each.last] * 2, [row - 0.3, row + 0.3], color=SECOND, linewidth=2)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        marks = "lines: means" + ("; diamonds: classical methods" if references else "")
        axes.set_xlabel(f"{content.headline.label} of the last weights; {marks}", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(visible=True, axis="x")
    return figure


def curves(outcome: VariantOutcome, content: VariantsContent) -> Drawing:
    """Score and loss of one variant by epoch, on axes with the same limits for all variants."""
    with matplotlib.rc_context(STYLE):
        figure = Drawing(figsize=(4.6, 2.1), layout="constrained")
        _draw(figure.subplots(1, 2), outcome, content)
    return figure


def curves_sheet(content: VariantsContent, columns: int = 3) -> Drawing:
    """All variants in one figure, `columns` per row, with score and loss of each side by side."""
    rows = math.ceil(len(content.outcomes) / columns)
    with matplotlib.rc_context(STYLE):
        figure = Drawing(figsize=(4.1 * columns, 2.0 * rows), layout="constrained")
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
    headline = content.headline
    low, high = headline.limits
    # A little more than the range, so that a line along the top is visible.
    limits = (low, None if high is None else high + 0.03 * (high - (low or 0))), (0, 1.05 * max(losses, default=1.0))
    for axes, key, label, limit in zip(pair, (headline.key, "loss"), (headline.label, "loss"), limits, strict=True):
        for name, colour, words in ((f"training_{key}", ACCENT, "training"), (key, SECOND, "validation")):
            points = _curve(outcome, name)
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.5, label=words)
        axes.set(xlim=(0, longest), ylim=limit)
        axes.set_title(label, fontsize=8)
        axes.set_xlabel("epoch", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid(visible=True)
        if key == headline.key:
            axes.legend(fontsize=7, loc="lower right" if headline.higher else "upper right")


def _curve(outcome: VariantOutcome, name: str) -> list[tuple[float, float]]:
    """(epoch, value) for each entry in which the value was measured."""
    values = ((entry["epoch"], entry.get(name)) for entry in outcome.log)
    return [(epoch, value) for epoch, value in values if value is not None and math.isfinite(value)]
