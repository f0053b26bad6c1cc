"""Plots of a run as matplotlib figures, without the global state of pyplot: curves, confusion, calibration.

Lines and text have one colour that `inline_svg` replaces by `currentColor`, and backgrounds are transparent, so that
a page can show the same figure in light and dark mode.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pixelwise.metrics import Calibration, ConfusionMatrix, Headline

INK = "#1b1d23"
ACCENT = "#2f7fd0"
SECOND = "#d9772b"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "grid.alpha": 0.15,
    "grid.color": INK,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
}
NO_LOSS = frozenset({"kind", "step", "epoch", "seconds", "loss", "learning_rate", "pictures_per_second"})

PLAYERS = {"adversarial": "generator", "discriminator_loss": "discriminator"}
"""Terms of the loss that two players have of each other -> the player."""

Log = Sequence[Mapping[str, Any]]


def inline_svg(figure: Figure, label: str) -> str:
    """The figure as an `<svg>` element for an HTML page; the same figure gives the same text.

    Args:
        figure: a figure of this module.
        label: what the figure shows, for screen readers; unique on the page.
    """
    stream = io.StringIO()
    # matplotlib hashes its ids. With the label as salt, two figures on one page have different ids.
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": label}), warnings.catch_warnings():
        # Text stays text, so the browser can draw class names in scripts that matplotlib's font lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(stream, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.03)
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)  # HTML needs no namespaces, and the page holds no addresses
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # several figures on one page would share the id `figure_1`
    return svg.replace(INK, "currentColor").replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _by_step(axes: Axes, title: str, limits: tuple[float | None, float | None]) -> None:
    axes.set(title=title, xlabel="step", ylim=limits)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.grid(visible=True)


def loss_curve(log: Log) -> Figure | None:
    """Training loss by step and its terms, smoothed if there are many entries; None without entries."""
    entries = [entry for entry in log if entry.get("kind") == "train" and _number(entry.get("loss")) is not None]
    if not entries:
        return None
    steps = np.array([entry["step"] for entry in entries])
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(4.0, 2.5)
        losses = np.array([entry["loss"] for entry in entries], float)
        smooth = _smoothed(losses)
        drawn_apart = PLAYERS.keys() if PLAYERS.keys() <= entries[0].keys() else ()
        parts = [
            name
            for name, value in entries[0].items()
            if _is_term(name) and name not in drawn_apart and _number(value) is not None
        ]
        if smooth is None:
            axes.plot(steps, losses, color=ACCENT, marker="o", markersize=3, linewidth=1.4, label="loss")
        else:
            axes.plot(steps, losses, color=ACCENT, alpha=0.3, linewidth=0.8)
            axes.plot(steps, smooth, color=ACCENT, linewidth=1.8, label="loss (smoothed)" if parts else "loss")
        for part, style in zip(parts, ("--", ":", "-.", (0, (5, 1, 1, 1))), strict=False):
            values = np.array([_number(entry.get(part)) for entry in entries], float)
            shown = _smoothed(values)
            axes.plot(
                steps, values if shown is None else shown, color=INK, alpha=0.7, linewidth=1, ls=style, label=part
            )
        if parts:
            axes.legend(fontsize=8)
        _by_step(axes, "Training loss", (min(0, float(losses.min())), None))
    return figure


def players_curve(log: Log) -> Figure | None:
    """The generator's and the discriminator's losses of each other by step, smoothed if there are many entries.

    Returns:
        The figure, or None if the log does not hold `PLAYERS`.
    """
    entries = [entry for entry in log if entry.get("kind") == "train" and PLAYERS.keys() <= entry.keys()]
    if not entries:
        return None
    steps = np.array([entry["step"] for entry in entries])
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(4.0, 2.5)
        for (key, label), colour in zip(PLAYERS.items(), (ACCENT, SECOND), strict=True):
            losses = np.array([entry[key] for entry in entries], float)
            smooth = _smoothed(losses)
            if smooth is not None:
                axes.plot(steps, losses, color=colour, alpha=0.25, linewidth=0.8)
            axes.plot(steps, losses if smooth is None else smooth, color=colour, linewidth=1.6, label=label)
        axes.legend(fontsize=8)
        lowest = min(entry[key] for entry in entries for key in PLAYERS)  # below 0 for Wasserstein losses
        _by_step(axes, "Generator against discriminator", (min(0.0, lowest), None))
    return figure


def _is_term(name: str) -> bool:
    """Whether an entry of the log is a term of the loss."""
    return name not in NO_LOSS and not name.endswith("gradient_norm")


def score_curve(log: Log, headlines: Sequence[Headline]) -> Figure | None:
    """The task's first headline on the validation split by step, with its best value marked.

    Headlines that were never logged are skipped. The next logged headline is drawn as well if it has the same limits
    and unit.

    Returns:
        The figure, or None if no headline was logged.
    """
    validations = [entry for entry in log if entry.get("kind") == "validation"]
    logged = [one for one in headlines if any(_number(entry.get(one.key)) is not None for entry in validations)]
    if not logged:
        return None
    first = logged[0]
    beside = [other for other in logged[1:2] if (other.limits, other.unit) == (first.limits, first.unit)]
    entries = [entry for entry in validations if _number(entry.get(first.key)) is not None]
    steps = [entry["step"] for entry in entries]
    scores = [float(entry[first.key]) for entry in entries]
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(4.0, 2.5)
        marker = "o" if len(entries) < 40 else ""
        for other in beside:
            values = np.array([_number(entry.get(other.key)) for entry in entries], float)
            axes.plot(steps, values, color=SECOND, linewidth=1.2, label=other.label, marker=marker, markersize=3)
        axes.plot(steps, scores, color=ACCENT, linewidth=1.8, label=first.label, marker=marker, markersize=3)
        best = first.best(scores)
        assert best is not None
        axes.annotate(
            f"{scores[best]:.3f}",
            (steps[best], scores[best]),
            xytext=(0, -12 if first.higher else 6),
            ha="center",
            textcoords="offset points",
        )
        axes.legend(fontsize=8, loc="lower right" if first.higher else "best")
        _by_step(axes, "Validation", first.limits)
    return figure


def learning_rate_curve(log: Log) -> Figure | None:
    """The learning rate by step; None if it was logged less than twice."""
    entries = [
        entry for entry in log if entry.get("kind") == "train" and _number(entry.get("learning_rate")) is not None
    ]
    if len(entries) < 2:
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(4.0, 2.5)
        axes.plot([e["step"] for e in entries], [e["learning_rate"] for e in entries], color=ACCENT, linewidth=1.4)
        _by_step(axes, "Learning rate", (0, None))
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    return figure


def confusion_figure(confusion: ConfusionMatrix) -> Figure:
    """Which class (column) each true class (row) was predicted as, in percent of the row; readable up to 32 classes."""
    counts = confusion.counts.numpy()
    rows = counts.sum(1, keepdims=True)
    shares = np.divide(counts, rows, out=np.full(counts.shape, np.nan), where=rows > 0)
    number = confusion.num_classes
    side = 1.2 + number * (0.42 if number <= 16 else 0.26)
    clear, full = (*to_rgb(ACCENT), 0.0), (*to_rgb(ACCENT), 1.0)
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(side + 0.6, side)
        edges = np.arange(number + 1) - 0.5
        colours = LinearSegmentedColormap.from_list("share", [clear, full])
        axes.pcolormesh(edges, edges, np.nan_to_num(shares), cmap=colours, vmin=0, vmax=1, edgecolors="none")
        axes.set_xticks(range(number), confusion.class_names, rotation=90 if number > 2 else 0)
        axes.set_yticks(range(number), confusion.class_names)
        axes.tick_params(length=0, labelsize=8 if number <= 16 else 7)
        axes.set(xlabel="predicted", ylabel="true", xlim=(edges[0], edges[-1]), ylim=(edges[-1], edges[0]), aspect=1)
        axes.spines[:].set_visible(False)
        axes.hlines(edges, edges[0], edges[-1], color=INK, alpha=0.12, linewidth=0.5)
        axes.vlines(edges, edges[0], edges[-1], color=INK, alpha=0.12, linewidth=0.5)
        for row, column in np.ndindex(shares.shape) if number <= 16 else ():
            share = shares[row, column]
            if share >= 0.005:
                ink = "white" if share > 0.55 else INK
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=ink)
        for row in np.flatnonzero(rows == 0):
            axes.text(number / 2 - 0.5, int(row), "not in the truth", ha="center", va="center", fontsize=7, alpha=0.6)
    return figure


def reliability_figure(calibration: Calibration, unit: str = "pixel") -> Figure:
    """Accuracy by confidence (Guo et al. 2017, figure 1), above the share of predictions in each bin.

    Args:
        calibration: the counts.
        unit: what has a confidence: `pixel`, `picture`.
    """
    table = calibration.table()
    width = 1 / calibration.bins
    centres = (np.arange(calibration.bins) + 0.5) * width
    total = max(int(table.count.sum()), 1)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.0, 3.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=INK, alpha=0.5, linewidth=1, linestyle="--", label="confidence = accuracy")
        upper.bar(centres, np.nan_to_num(table.accuracy), width * 0.92, color=ACCENT, label="accuracy")
        upper.plot(table.confidence, table.accuracy, color=SECOND, marker="o", markersize=3, linestyle="none")
        upper.set(title=f"Calibration: ECE {calibration.ece():.3f}", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        upper.legend(fontsize=8, loc="upper left")
        lower.bar(centres, table.count / total * 100, width * 0.92, color=INK, alpha=0.45)
        lower.set(xlabel="confidence", ylabel=f"% of {unit}s")
    return figure


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value == value else None


def _smoothed(values: np.ndarray) -> np.ndarray | None:
    """Moving average over a twentieth of the entries, with a shorter window at both ends; None for fewer than 20."""
    if len(values) < 20:
        return None
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(len(values))
    low, high = np.maximum(ends - half, 0), np.minimum(ends + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)
