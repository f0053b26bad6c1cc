"""The sections of a report on networks that predict joints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure as Drawing

from pixelwise.data.people import people_alone
from pixelwise.data.person_windows import PersonWindow
from pixelwise.metrics.headline import Headline
from pixelwise.notebook import jpeg
from pixelwise.report.blocks import (
    Block,
    Column,
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
from pixelwise.report.cells import Bar, Cell, Number, Strong, Swatch
from pixelwise.report.figures import ACCENT, STYLE
from pixelwise.report.pictures import svg
from pixelwise.report.run_page import missing
from pixelwise.report.scores import definitions, headline_text, measured, other_numbers, tiles
from pixelwise.report.skeletons import LEFT, MIDDLE, RIGHT, draw_skeletons
from pixelwise.report.values import css, sentence
from pixelwise.tasks.evaluation import Evaluation
from pixelwise.tasks.pose.scores import HEAD_SHARE, PCK, PCKH, TORSO_CURVE, TORSO_SHARE, PoseScores

SIDE = 360  # pixels of the pictures on the page
PEOPLE = 2  # shown per picture at most
ROOM = 1.4  # side of the window that is shown around a person, relative to the box
TERMS = {
    "torso": "The distance from the left shoulder to the right hip of the true skeleton. If the data has no such "
    "joints, the longer side of the person's box takes its place.",
    "confidence of a joint": "The value of its heatmap at the peak. The network is trained for peaks of 1.",
    "stack": "An hourglass of the network. Each predicts heatmaps, which the next one refines; those of the last one "
    "are the prediction.",
}


def evaluation_sections(evaluation: Evaluation) -> list[Section]:
    """Sections with scores, examples, joints and definitions."""
    scores: PoseScores = evaluation.scores
    summary = evaluation.summary
    blocks: list[Block] = [
        Numbers(tiles(summary, scores.headlines, "not defined: no person with a torso or head was counted")),
        Text(sentence(summary["definition"]), soft=True),
        *other_numbers(summary, {*(one.key for one in scores.headlines), "pictures"}),
        _curves(scores),
    ]
    if len(summary["stacks"]) > 1:
        blocks += [
            Heading("From stack to stack"),
            _stacks(summary),
            Text("The heatmaps of each stack of this network, decoded and scored in the same way.", soft=True),
        ]
    return [
        Section("scores", "Scores", blocks),
        Section("examples", "Examples", _examples(evaluation)),
        Section("joints", "Joints", [_joints(summary), _joint_curves(scores)]),
        definitions(scores.headlines, TERMS),
    ]


def _joints(summary: Mapping[str, Any]) -> Table:
    """The scores of each joint."""
    joints: Mapping[str, Mapping[str, Any]] = summary["joints"]
    scored = [one for one in (PCK, PCKH) if one.key in summary]
    columns = [Column("joint"), Column("people", right=True)]
    for headline in scored:
        columns += [Column(headline.label, right=True), Column(width=24)]
    rows: list[tuple[Cell, ...]] = []
    for name, found in joints.items():
        cells: list[Cell] = [name.replace("_", " "), Number(found["people"])]
        for headline in scored:
            cells += [Number(found[headline.key], digits=4), Bar(found[headline.key], soft=headline is PCKH)]
        rows.append(tuple(cells))
    return Table(columns, rows)


def _stacks(summary: Mapping[str, Any]) -> Table:
    scored = [one for one in (PCK, PCKH) if one.key in summary]
    columns = [Column("stack"), *(Column(one.label, right=True) for one in scored)]
    rows: list[tuple[Cell, ...]] = [
        (f"{found['stack']}", *(Number(found[one.key], digits=4) for one in scored)) for found in summary["stacks"]
    ]
    return Table(columns, rows, compact=True)


def _curves(scores: PoseScores) -> Figures:
    """PCK and PCKh over their thresholds, one drawing each."""
    figures = [_over_thresholds(scores, "torso", PCK, TORSO_SHARE)]
    if PCKH in scores.headlines:
        figures.append(_over_thresholds(scores, "head", PCKH, HEAD_SHARE))
    return Figures(figures)


def _over_thresholds(scores: PoseScores, size: str, headline: Headline, marked: float) -> Figure:
    """Draws the mean over joints by threshold, one line per stack; the last stack's line is strong."""
    thresholds = np.linspace(0, (2.5 if size == "torso" else 2) * marked, 26)
    stacks = scores.stacks
    with matplotlib.rc_context(STYLE):
        figure = Drawing(figsize=(4.4, 3.0), layout="constrained")
        axes = figure.add_subplot()
        for stack in range(stacks):
            last = stack == stacks - 1
            values = [scores.score(size, each, stack)[0] for each in thresholds]
            axes.plot(
                thresholds,
                values,
                color=ACCENT,
                alpha=1.0 if last else 0.25 + 0.35 * stack / stacks,
                linewidth=1.8 if last else 1.1,
                label=f"stack {stack + 1}",
            )
        axes.axvline(marked, color="#888888", linewidth=0.8, linestyle="--")
        axes.set(xlabel=f"threshold, share of the {size}", ylabel="joints found", ylim=(0, 1), xlim=(0, thresholds[-1]))
        axes.set_title(f"{headline.label.partition('@')[0]} by threshold")
        axes.grid(visible=True)
        if stacks > 1:
            axes.legend(fontsize=8, loc="lower right")
    return Figure(svg(figure, f"{headline.key} over thresholds"))


def _joint_curves(scores: PoseScores) -> Figures:
    """Draws the PCK of each joint by threshold; left and right joints share a colour, and the right ones are dashed."""
    joints = scores.joints
    values = np.stack([scores.by_joint("torso", each)[0] for each in TORSO_CURVE])  # (T, J)
    pairs = {joint: number for number, pair in enumerate(joints.sides) for joint in pair}
    middle = [joint for joint in range(len(joints)) if joint not in pairs]
    colours = matplotlib.colormaps["tab10" if len(joints.sides) + len(middle) <= 10 else "tab20"]
    with matplotlib.rc_context(STYLE):
        figure = Drawing(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for joint, name in enumerate(joints.names):
            number = pairs.get(joint, len(joints.sides) + (middle.index(joint) if joint in middle else 0))
            axes.plot(
                TORSO_CURVE,
                values[:, joint],
                color=colours(number),
                linestyle="--" if joints.side_of(joint) == "right" else "-",
                linewidth=1.4,
                label=name.replace("_", " "),
            )
        axes.set(xlabel="threshold, share of the torso", ylabel="people", ylim=(0, 1), title="PCK by joint")
        axes.grid(visible=True)
        figure.legend(fontsize=8, loc="outside right upper")
    return Figures([Figure(svg(figure, "PCK by joint over thresholds"), form="wide")])


def _examples(evaluation: Evaluation) -> list[Block]:
    scores: PoseScores = evaluation.scores
    inference: Any = evaluation.predictor.inference
    records = {record.name: record for record in evaluation.dataset.split(evaluation.split)}
    blocks: list[Block] = []
    for title, some in scores.examples().items():
        blocks.append(Heading(title))
        for each in some:
            sample = evaluation.dataset.load(records[each.name], objects=True)
            people = people_alone(sample).instances
            found = inference.measured([inference.prepare_sample(sample)])[0]
            assert people is not None
            assert people.keypoints is not None
            for number in range(min(len(people), PEOPLE)):
                window = PersonWindow.around(people.boxes[number], SIDE, margin=ROOM)
                image, true = window.image(sample.image), people.keypoints[number]
                known = true[:, 2] > 0
                pictures = [
                    Picture(jpeg(drawn), (SIDE, SIDE), (name,), f"{name} in {each.name}")
                    for name, drawn in (
                        ("Truth", draw_skeletons(image, window.forward(true[None, :, :2]), known[None], scores.joints)),
                        (
                            "Found",
                            draw_skeletons(
                                image,
                                window.forward(found.positions[-1][number][None]),
                                np.ones((1, len(known)), bool),
                                scores.joints,
                            ),
                        ),
                    )
                ]
                caption = (Strong(each.name), " · joints of the picture within 0.2 of the torso ", Number(each.share))
                blocks.append(Panels(pictures, caption, columns=2, small=True))
    if not blocks:
        return [missing("No examples were kept in this run.")]
    sides = {"the person's left": LEFT, "the person's right": RIGHT, "middle": MIDDLE}
    return [Legend([Swatch(name, css(np.array(colour))) for name, colour in sides.items()]), *blocks]


def tables(summary: Mapping[str, Any]) -> list[Block]:
    """The scores of each joint and of all, as a terminal shows them."""
    columns = [(one.label, one.key) for one in (PCK, PCKH) if one.key in summary]
    numbers = [(label, summary[key]) for label, key in columns]
    weighted = [(label, summary[f"{key}_weighted"]) for label, key in columns]
    blocks: list[Block] = [_joints(summary)]
    if len(summary["stacks"]) > 1:
        blocks.append(_stacks(summary))
    return [
        *blocks,
        headline_text(numbers),
        headline_text(weighted, "weighted by people: "),
        measured(summary),
    ]
