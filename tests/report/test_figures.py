"""Figures: what is drawn is what was counted, at any number of classes, and without pyplot."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pixelwise.metrics import Calibration, ConfusionMatrix, Headline
from pixelwise.report import figures

SCORES = (
    Headline("mean_iou", "mean IoU"),
    Headline("pixel_accuracy", "pixel accuracy"),
    Headline("psnr", "PSNR in dB", limits=(0, None)),
    Headline("fid", "FID", higher=False, limits=(0, None)),
)


def counted(classes: int) -> ConfusionMatrix:
    rng = np.random.default_rng(classes)
    confusion = ConfusionMatrix(classes, [f"kind {class_id}" for class_id in range(classes)])
    truth = rng.integers(0, max(classes - 1, 1), 4000)  # the last class is not in the truth
    confusion.update(np.where(rng.random(4000) < 0.7, truth, rng.integers(0, classes, 4000)), truth)
    return confusion


def test_confusion_shows_row_percentages() -> None:
    confusion = counted(3)
    axes = figures.confusion_figure(confusion).axes[0]
    counts = confusion.counts.numpy()
    expected = {
        (column, row, f"{100 * counts[row, column] / counts[row].sum():.0f}") for row in range(2) for column in range(3)
    }
    shown = {(*text.get_position(), text.get_text()) for text in axes.texts}
    assert {(x, y, text) for x, y, text in shown if text.isdigit()} == expected
    assert "not in the truth" in {text for _, _, text in shown}


@pytest.mark.parametrize("classes", [1, 2, 17, 32])
def test_every_class_is_named(classes: int) -> None:
    confusion = counted(classes)
    svg = figures.inline_svg(figures.confusion_figure(confusion), "a figure")
    assert all(f">kind {class_id}<" in svg for class_id in range(classes))


def test_svg_fits_into_a_page() -> None:
    svg = figures.inline_svg(figures.confusion_figure(counted(3)), 'a "figure"')
    assert svg.startswith('<svg role="img" aria-label="a &quot;figure&quot;"')
    assert "http" not in svg
    assert figures.INK not in svg
    assert "currentColor" in svg
    assert svg == figures.inline_svg(figures.confusion_figure(counted(3)), 'a "figure"')


def test_curves_need_entries() -> None:
    train = {"kind": "train", "step": 1, "loss": 0.5, "learning_rate": 0.1, "dice": 0.2}
    validation = {"kind": "validation", "step": 1, "mean_iou": 0.3}
    assert figures.loss_curve([validation]) is figures.score_curve([train], SCORES) is None
    assert figures.learning_rate_curve([train]) is None
    curves = (
        figures.loss_curve([train]),
        figures.score_curve([validation], SCORES),
        figures.learning_rate_curve([train] * 2),
    )
    assert all(curve is not None and figures.inline_svg(curve, "curve") for curve in curves)
    assert figures.loss_curve([{**train, "loss": float("nan")}]) is None


def test_players_have_a_figure_of_their_own_that_shows_negative_losses() -> None:
    terms = [{"adversarial": -3.0 - step, "discriminator_loss": 0.5, "l1": 0.1} for step in range(4)]
    log = [{"kind": "train", "step": step, "loss": 9.0, **one} for step, one in enumerate(terms)]
    drawn = figures.players_curve(log)
    assert drawn is not None
    low, high = drawn.axes[0].get_ylim()
    assert low <= -6
    assert high >= 0.5
    assert [line.get_label() for line in drawn.axes[0].get_lines()] == ["generator", "discriminator"]
    whole = figures.loss_curve(log)
    assert whole is not None
    assert [line.get_label() for line in whole.axes[0].get_lines()] == ["loss", "l1"]
    alone = [{key: value for key, value in entry.items() if key != "adversarial"} for entry in log]
    assert figures.players_curve(alone) is None
    assert "discriminator_loss" in [line.get_label() for line in figures.loss_curve(alone).axes[0].get_lines()]  # type: ignore[union-attr]


def validations(**scores: list[float]) -> list[dict[str, object]]:
    """A log with one entry per score."""
    return [
        {"kind": "validation", "step": 10 * step, **dict(zip(scores, values, strict=True))}
        for step, values in enumerate(zip(*scores.values(), strict=True), 1)
    ]


@pytest.mark.parametrize(
    ("log", "lines", "marked", "limits"),
    [
        # The first headline and the next one that was logged, the best entry of the first one marked.
        (
            validations(pixel_accuracy=[0.8, 0.9, 0.95], mean_iou=[0.2, 0.5, 0.4]),
            ["pixel accuracy", "mean IoU"],
            (20, 0.5),
            (0, 1),
        ),
        # Smaller is better: the best entry is the least.
        (validations(fid=[90.0, 30.0, 45.0]), ["FID"], (20, 30.0), (0, None)),
        # Scores with other limits do not share an axis; a headline without an entry is passed over.
        (validations(pixel_accuracy=[0.25, 0.5], psnr=[10.0, 20.0]), ["pixel accuracy"], (20, 0.5), (0, 1)),
        (validations(psnr=[10.0, 20.0], fid=[9.0, 5.0]), ["FID", "PSNR in dB"], (20, 20.0), (0, None)),
        # An undefined score is no point.
        (validations(mean_iou=[float("nan"), 0.25, 0.125]), ["mean IoU"], (20, 0.25), (0, 1)),
    ],
)
def test_the_score_curve(
    log: list[dict[str, object]], lines: list[str], marked: tuple[int, float], limits: tuple[float, float | None]
) -> None:
    figure = figures.score_curve(log, SCORES)
    assert figure is not None
    axes = figure.axes[0]
    assert [line.get_label() for line in axes.lines] == lines
    (note,) = axes.texts
    assert note.xy == marked  # type: ignore[attr-defined]
    assert note.get_text() == f"{marked[1]:.3f}"
    low, high = axes.get_ylim()
    assert low == limits[0]
    assert high == limits[1] or (limits[1] is None and high > marked[1])


def test_smoothing_keeps_lines() -> None:
    """A window that is cut alike on both sides of a straight line leaves its middle as it is."""
    line = np.linspace(3.0, -5.0, 200)
    smooth = figures._smoothed(line)
    assert smooth is not None
    np.testing.assert_allclose(smooth[5:-5], line[5:-5])
    assert figures._smoothed(line[:19]) is None


def test_reliability_says_what_was_counted() -> None:
    calibration = Calibration()
    for shown in (calibration, Calibration(3)):
        assert "ECE" in figures.inline_svg(figures.reliability_figure(shown), "reliability")
    calibration.update(np.array([0.2, 0.9]), np.array([False, True]))
    assert "ECE 0.150" in figures.inline_svg(figures.reliability_figure(calibration), "reliability")
    for unit in ("pixel", "picture"):
        assert figures.reliability_figure(calibration, unit).axes[1].get_ylabel() == f"% of {unit}s"


def test_pyplot_stays_out() -> None:
    code = "import sys, pixelwise.report.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
