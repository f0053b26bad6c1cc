"""Margins by resampling, against the formulas that they stand for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pixelwise.metrics.bootstrap import bootstrap_margin, mean_margin
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.tasks.segment.scores import SegmentScores


def test_the_margin_of_a_share_is_that_of_the_normal_approximation() -> None:
    right = np.array([1.0] * 70 + [0.0] * 30)
    assert mean_margin(right) == pytest.approx(1.96 * math.sqrt(0.7 * 0.3 / 100), rel=0.1)


def test_four_times_the_pictures_halve_it() -> None:
    values = np.random.default_rng(1).normal(size=100)
    assert mean_margin(np.tile(values, 4)) == pytest.approx(mean_margin(values) / 2, rel=0.1)


def test_pictures_without_a_value_are_left_out_and_weights_count() -> None:
    values = np.array([0.0, 1.0, math.nan])
    assert mean_margin(values) == mean_margin(values[:2])
    assert mean_margin(np.array([0.0, 1.0, 5.0]), np.array([1.0, 1.0, 0.0])) <= 0.5
    assert mean_margin(np.array([3.0] * 10)) == 0


def test_what_cannot_be_resampled_has_none() -> None:
    assert math.isnan(mean_margin(np.array([1.0])))
    assert math.isnan(mean_margin(np.zeros(0)))
    assert math.isnan(bootstrap_margin(lambda times: np.full(len(times), math.nan), 5))


def test_the_margin_of_masks_is_that_of_resampled_confusion_matrices() -> None:
    draw = np.random.default_rng(0)
    scores, matrices = SegmentScores(("a", "b", "c")), []
    for _ in range(12):
        own = ConfusionMatrix(3)
        own.counts = torch.from_numpy(draw.integers(0, 50, (3, 3)))
        own.counts[2] = 0  # the third class is in no truth, but is predicted
        matrices.append(own)
        scores._counts.append(torch.stack([own.counts.diagonal(), own.true_pixels, own.predicted_pixels]).numpy())

    def resampled(times: np.ndarray) -> np.ndarray:
        found = []
        for row in times.astype(int):
            whole = ConfusionMatrix(3)
            whole.counts = sum(count * matrix.counts for count, matrix in zip(row.tolist(), matrices, strict=True))
            found.append(whole.mean_iou())
        return np.array(found)

    assert scores.margin() == pytest.approx(bootstrap_margin(resampled, 12))
    assert math.isnan(SegmentScores(("a", "b")).margin())
