"""The report of a simulation: curves of score against labels, and how many labels each strategy needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure as Drawing

from pixelwise.active.simulation import FULL, Plan, Point
from pixelwise.data.draw import palette
from pixelwise.metrics.headline import Headline
from pixelwise.report.blocks import Column, Figure, Page, Section, Table, Text
from pixelwise.report.cells import Cell, Number, Percent
from pixelwise.report.figures import INK, STYLE
from pixelwise.report.pictures import svg
from pixelwise.training.history import material

MAX_BANDS = 3
"""The most strategies whose curves have a band of one standard deviation; more bands hide each other."""
ENOUGH = 0.95
"""The part of the score with all labels that strategies are compared by."""


def labels_to_reach(labels: Sequence[float], scores: Sequence[float], target: float) -> float | None:
    """Where a curve first reaches a score, by linear interpolation between its points; None if it does not.

    >>> labels_to_reach([10, 20, 30], [0.5, 0.7, 0.9], 0.8)
    25.0
    """
    for number, score in enumerate(scores):
        if score >= target:
            if number == 0:
                return float(labels[0])
            below, width = scores[number - 1], labels[number] - labels[number - 1]
            return float(labels[number - 1] + width * (target - below) / (score - below))
    return None


class Mean(NamedTuple):
    """A round of a strategy: means over the seeds, the standard deviation of the score, and the number of seeds."""

    labels: float
    share: float
    score: float
    deviation: float
    seeds: int


def mean_curves(points: Sequence[Point]) -> dict[str, list[Mean]]:
    """Strategy -> its rounds, without those that not all of its seeds reached."""
    rounds: dict[str, dict[int, list[Point]]] = defaultdict(lambda: defaultdict(list))
    for point in points:
        rounds[point.strategy][point.round].append(point)
    curves = {}
    for name, of_round in rounds.items():
        seeds = max(map(len, of_round.values()))
        curves[name] = [
            Mean(
                float(np.mean([point.labels for point in members])),
                float(np.mean([point.share for point in members])),
                float(np.mean([point.score for point in members])),
                float(np.std([point.score for point in members], ddof=1)) if len(members) > 1 else 0.0,
                len(members),
            )
            for _, members in sorted(of_round.items())
            if len(members) == seeds
        ]
    return curves


def simulation_page(points: Sequence[Point], plan: Plan, headline: Headline) -> Page:
    """One page: the curves, and a row per strategy."""
    curves = mean_curves(points)
    full = curves.pop(FULL)[0].score
    target = ENOUGH * full
    columns = (
        Column("strategy"),
        Column(f"{plan.unit} for 95 %", right=True),
        Column("share for 95 %", right=True),
        Column("last score", right=True),
        Column("standard deviation", right=True),
        Column("seeds", right=True),
    )
    best = max(curve[-1].score for curve in curves.values())
    rows: list[list[Cell]] = []
    for name, curve in curves.items():
        labels, shares, scores, *_ = zip(*curve, strict=True)
        needed = labels_to_reach(labels, scores, target)
        rows.append(
            [
                name,
                Number(needed, "not reached", digits=0),
                Percent(labels_to_reach(shares, scores, target), "not reached"),
                Number(scores[-1], best=scores[-1] == best),
                Number(curve[-1].deviation),
                Number(curve[-1].seeds),
            ]
        )
    label = headline.label
    about = (
        f"All strategies start with the same {plan.start} random {plan.unit} and buy {plan.budget} per round. "
        f"The score is the {label} on pictures that are used neither for training nor for choosing the best weights. "
        f"With all labels it is {full:.3f}, of which 95 % are {target:.3f}. The labels for 95 % are interpolated "
        "between rounds, on the mean curve of the seeds."
    )
    figure = curves_figure(points, plan.unit, headline)
    notes = [Text(each) for each in falls(points, plan.unit, headline)]
    return Page(
        "Simulation of active learning",
        [
            Section("curves", "Score against labels", [Figure(svg(figure, "score against labels"), form="wide")]),
            Section(
                "table",
                "Labels to reach 95 % of full",
                [Table(columns, rows), *notes, Text(about, soft=True)],
                link="Table",
            ),
        ],
        about=f"{plan.data}: {', '.join(plan.strategies)}; {plan.rounds} rounds, {plan.seeds} seeds.",
    )


def falls(points: Sequence[Point], unit: str, headline: Headline) -> list[str]:
    """A sentence for every round in which a strategy lost more than the least that matters, and than its deviations."""
    return [
        f"{name}: with {after.labels:g} {unit} the {headline.label} is {after.score:.3f}, less than {before.score:.3f} "
        f"with {before.labels:g}; more labels should help, so train longer or with more --seeds."
        for name, curve in mean_curves(points).items()
        for before, after in pairwise(curve)
        if before.score - after.score > max(material(headline, before.score), before.deviation, after.deviation)
    ]


def curves_figure(points: Sequence[Point], unit: str, headline: Headline) -> Drawing:
    """The mean score of each strategy by labels, with bands of one standard deviation if there are few strategies."""
    curves = mean_curves(points)
    full = curves.pop(FULL)[0].score
    with matplotlib.rc_context(STYLE):
        figure = Drawing(figsize=(7.0, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(full, color=INK, linewidth=0.8)
        axes.axhline(ENOUGH * full, color=INK, linewidth=0.8, linestyle=":")
        colours = palette(len(curves), background=None)
        for number, (name, curve) in enumerate(curves.items()):
            labels, _, scores, deviations, _ = (np.array(column) for column in zip(*curve, strict=True))
            colour, style = (INK, "--") if name == "random" else (colours[number] / 255, "-")
            axes.plot(labels, scores, style, color=colour, marker="o", markersize=3, label=name)
            if len(curves) <= MAX_BANDS:
                low, high = scores - deviations, scores + deviations
                axes.fill_between(labels, low, high, color=colour, alpha=0.15, linewidth=0)
        left = min(curve[0].labels for curve in curves.values())
        axes.text(left, full, "all labels", va="bottom", fontsize=8)
        axes.text(left, ENOUGH * full, "95 % of it", va="bottom", fontsize=8)
        axes.set(xlabel=f"{unit} labelled", title=headline.label)
        axes.grid(visible=True)
        axes.legend(fontsize=8, loc="lower right")
    return figure
