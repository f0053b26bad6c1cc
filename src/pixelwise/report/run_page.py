"""The page of a run: the sections of its task, and those that every run has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from pixelwise.metrics import Headline
from pixelwise.report import figures, values
from pixelwise.report.blocks import (
    Block,
    Code,
    Column,
    Commands,
    Details,
    Facts,
    Figure,
    Figures,
    Heading,
    Page,
    Section,
    Table,
    Text,
)
from pixelwise.report.cells import Bar, Percent
from pixelwise.report.limits import Limit, limits_section
from pixelwise.report.pictures import svg


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContent:
    """The content that the page of every run shows. For parts that are empty, the page shows a remark instead.

    Attributes:
        title: title of the page.
        headlines: the task's scores; the curve shows the first one that was logged.
        recipe: the complete recipe.
        reasons: (key, value, why) of each value that was derived from the data.
        dataset: facts by name; `class_shares` (class name -> share of 0..1) is drawn as bars.
        log: the entries of `log.jsonl` of the kinds `train` and `validation`.
        timing, hardware: names -> values; a value whose name ends in `seconds` is a duration.
        next_commands: commands to copy, in order.
        limits: what limits the result; its section follows the task's first section, the scores.
    """

    title: str
    headlines: Sequence[Headline] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    reasons: Sequence[tuple[str, Any, str]] = ()
    dataset: Mapping[str, Any] = field(default_factory=dict)
    log: Sequence[Mapping[str, Any]] = ()
    timing: Mapping[str, Any] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    next_commands: Sequence[str] = ()
    limits: Sequence[Limit] = ()


def run_page(content: RunContent, sections: Sequence[Section] = ()) -> Page:
    """The page of a run.

    Args:
        sections: the sections of the task. They come first, with what limits the result after the first of them; only
            a section with the id `definitions` comes last.
    """
    own = [section for section in sections if section.id != "definitions"]
    definitions = [section for section in sections if section.id == "definitions"]
    if content.limits:
        own.insert(min(len(own), 1), limits_section(content.limits))
    return Page(content.title, [*own, *run_sections(content), *definitions])


def run_sections(content: RunContent) -> list[Section]:
    """The sections that every run has: training, data, recipe, time and machine, what next."""
    return [
        _training(content),
        _data(content.dataset),
        _recipe(content),
        _machine(content),
        Section(
            "next",
            "What next",
            [Commands(content.next_commands)] if content.next_commands else [missing("Nothing was suggested.")],
        ),
    ]


def missing(sentence: str) -> Text:
    """The remark of a section that has nothing to show."""
    return Text(sentence, soft=True)


def averaged_line(log: Sequence[Mapping[str, Any]], headline: Headline) -> str:
    """A sentence that compares averaged and raw weights; empty if the log has no validation of both."""
    entry = next((entry for entry in reversed(log) if f"raw_{headline.key}" in entry), None)
    if entry is None:
        return ""
    return (
        f"At the last validation, {headline.label} was {entry[headline.key]:.3f} with averaged weights and "
        f"{entry[f'raw_{headline.key}']:.3f} with the weights of the last step."
    )


def validated_line(recipe: Mapping[str, Any]) -> str:
    """A sentence for runs whose validations measured a part of the held-out pictures; empty for other runs."""
    share = recipe.get("train", {}).get("validated_share", 1.0)
    if share == 1:
        return ""
    measured = f"{100 * share:.1f} %"
    return f"Each validation measured {measured} of the validation pictures; the final scores are those of all of them."


def _training(content: RunContent) -> Section:
    drawn = (
        (figures.loss_curve(content.log), "training loss by step"),
        (figures.players_curve(content.log), "losses of generator and discriminator by step"),
        (figures.score_curve(content.log, content.headlines), "validation scores by step"),
        (figures.learning_rate_curve(content.log), "learning rate by step"),
    )
    curves = [Figure(svg(figure, label)) for figure, label in drawn if figure is not None]
    if not curves:
        return Section("training", "Training", [missing("No training log: this model was only evaluated.")])
    lines = (averaged_line(content.log, headline) for headline in content.headlines)
    sentences = [next((line for line in lines if line), ""), validated_line(content.recipe)]
    return Section("training", "Training", [Figures(curves), *(Text(each) for each in sentences if each)])


def _data(dataset: Mapping[str, Any]) -> Section:
    facts = {name: value for name, value in dataset.items() if name != "class_shares"}
    shares: Mapping[str, float | None] = dataset.get("class_shares", {})
    blocks: list[Block] = [Facts(facts) if facts else missing("No facts about the dataset were recorded.")]
    if shares:
        columns = (Column(), Column(right=True), Column(width=60))
        rows = [(name, Percent(share), Bar(share, soft=True)) for name, share in shares.items()]
        blocks += [Heading("How frequent the classes are"), Table(columns, rows)]
    return Section("data", "Data", blocks)


def _recipe(content: RunContent) -> Section:
    blocks: list[Block] = []
    if content.reasons:
        columns = Column("setting"), Column("value"), Column("why", soft=True)
        rows = [(key, values.plain(value), why) for key, value, why in content.reasons]
        blocks.append(Table(columns, rows))
    if content.recipe:
        plain = json.loads(json.dumps(dict(content.recipe), default=str))
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
        blocks.append(Details("The whole recipe", [Code(text)]))
    return Section("recipe", "Recipe", blocks or [missing("No recipe was recorded.")])


def _machine(content: RunContent) -> Section:
    blocks: list[Block] = []
    if content.timing:
        blocks.append(Facts(content.timing))
    if content.hardware:
        blocks += [Heading("Machine"), Facts(content.hardware)]
    nothing = missing("Neither times nor the machine were recorded.")
    return Section("machine", "Time and machine", blocks or [nothing])
