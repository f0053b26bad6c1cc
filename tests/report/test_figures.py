"""Figures: what is drawn is what was counted, at any number of classes, and without pyplot."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pixelwise.data.draw import palette
from pixelwise.metrics import Calibration, ConfusionMatrix
from pixelwise.report import figures


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
    for figure in (figures.confusion_figure(confusion), figures.class_bars(confusion, palette(classes))):
        svg = figures.inline_svg(figure, "a figure")
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
    assert figures.loss_curve([validation]) is figures.score_curve([train]) is None
    assert figures.learning_rate_curve([train]) is None
    curves = figures.loss_curve([train]), figures.score_curve([validation]), figures.learning_rate_curve([train] * 2)
    assert all(curve is not None and figures.inline_svg(curve, "curve") for curve in curves)
    assert figures.loss_curve([{**train, "loss": float("nan")}]) is None


def test_smoothing_keeps_lines() -> None:
    """A window that is cut alike on both sides of a straight line leaves its middle as it is."""
    line = np.linspace(3.0, -5.0, 200)
    smooth = figures._smoothed(line)
    assert smooth is not None
    np.testing.assert_allclose(smooth[5:-5], line[5:-5])
    assert figures._smoothed(line[:19]) is None


def test_reliability_and_legend_can_be_drawn() -> None:
    calibration = Calibration()
    for shown in (calibration, Calibration(3)):
        assert "ECE" in figures.inline_svg(figures.reliability_figure(shown), "reliability")
    calibration.update(np.array([0.2, 0.9]), np.array([False, True]))
    assert "ECE 0.150" in figures.inline_svg(figures.reliability_figure(calibration), "reliability")
    assert ">cat<" in figures.inline_svg(figures.legend(["dog", "cat"], palette(2)), "legend")


def test_contact_sheet() -> None:
    images = [np.full((10, 20, 3), value, np.uint8) for value in (10, 20, 30)] + [np.full((40, 40, 3), 40, np.uint8)]
    sheet = figures.contact_sheet(images, columns=2, gap=2)
    assert sheet.shape == (2 * 12 + 2, 2 * 22 + 2, 3)
    assert (sheet[2:12, 24:44] == 20).all()
    assert (sheet[14:24, 24:34] == 40).all()  # shrunk to the height of the first
    assert (sheet[14:24, 34:] == 255).all()


def test_pyplot_stays_out() -> None:
    code = "import sys, pixelwise.report; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
