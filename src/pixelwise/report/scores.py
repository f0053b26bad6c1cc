"""The parts of a page that show a task's scores: tiles, other numbers, definitions and comparisons."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pixelwise.data.listing import counted
from pixelwise.metrics import Headline
from pixelwise.report.blocks import Block, Column, Definitions, Facts, Section, Table, Text, Tile
from pixelwise.report.cells import Bar, Number, Strong
from pixelwise.report.values import undefined

UNDEFINED = "This number is not defined; hold the pointer over it to read why."


def tiles(summary: Mapping[str, Any], headlines: Sequence[Headline], why: str) -> list[Tile]:
    """A tile for each headline that a summary holds.

    Args:
        summary: key -> score, as in `metrics.json`; None if a score is not defined.
        why: the reason why a score may be undefined.
    """
    return [Tile(one.label, summary[one.key], why) for one in headlines if one.key in summary]


def other_numbers(summary: Mapping[str, Any], shown: Collection[str]) -> list[Block]:
    """The numbers of a summary that the page shows nowhere else, as a list of facts; empty if there are none."""
    others = {
        name: value for name, value in summary.items() if name not in shown and isinstance(value, int | float | None)
    }
    return [Facts(others)] if others else []


def comparison(rows: Mapping[str, float | None], own: float | None, headline: Headline) -> Table:
    """A table that compares one score of this run with other methods, best first, undefined last.

    Args:
        rows: name of a method -> its score.
        own: the score of this run.
        headline: the score.
    """
    every = [*((name, score, True) for name, score in rows.items()), ("this run", own, False)]
    scores = [score for _, score, _ in every if score is not None and not math.isnan(score)]
    ranks = {score: rank for rank, score in enumerate(sorted(scores, reverse=headline.higher))}
    ordered = sorted(every, key=lambda row: len(ranks) if row[1] is None else ranks.get(row[1], len(ranks)))
    top = headline.limits[1] or max(scores, default=1.0)
    return Table(
        (Column("method"), Column(headline.label, right=True), Column(width=50)),
        [(name, Number(score), Bar(score and score / top, soft)) for name, score, soft in ordered],
    )


def definitions(headlines: Sequence[Headline], terms: Mapping[str, str]) -> Section:
    """The last section of a page, which defines its numbers.

    Args:
        headlines: the scores, which hold their definitions.
        terms: other terms -> sentences.
    """
    defined = {one.label: one.definition for one in headlines if one.definition}
    return Section("definitions", "Definitions", [Definitions({**defined, **terms, "–": UNDEFINED})])


def headline_text(scores: Sequence[tuple[str, float | None]], before: str = "") -> Text:
    """`mean IoU 0.5312   pixel accuracy 0.8120` as one line in bold."""
    parts = (f"{label} {'–' if undefined(value) else f'{value:.4f}'}" for label, value in scores)
    return Text([Strong(before + "   ".join(parts))])


def measured(summary: Mapping[str, Any]) -> Text:
    """On how many pictures of which split the scores were measured, and their definition, for a terminal."""
    pictures = counted(summary["pictures"], "picture", "pictures")
    return Text(f"{pictures} of '{summary['split']}'; {summary['definition']}")
