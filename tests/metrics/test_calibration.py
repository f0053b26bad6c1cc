"""Calibration against the definition written as a loop, and its laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.metrics import Calibration


def ece_by_loop(confidence: np.ndarray, correct: np.ndarray, bins: int) -> float:
    """Guo et al. 2017, equations 1 to 3, as printed."""
    total = 0.0
    for b in range(1, bins + 1):
        inside = (confidence > (b - 1) / bins) & (confidence <= b / bins)
        if b == 1:
            inside |= confidence == 0
        if inside.any():
            total += inside.sum() / len(confidence) * abs(correct[inside].mean() - confidence[inside].mean())
    return total


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 200))
def test_equals_the_definition(seed: int, bins: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    confidence, correct = rng.random(count, dtype=np.float32), rng.random(count) < 0.7
    calibration = Calibration(bins)
    calibration.update(confidence, correct)
    assert calibration.ece() == pytest.approx(ece_by_loop(confidence.astype(np.float64), correct, bins), abs=1e-6)


def test_order_and_batches_do_not_matter_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(10_000, dtype=np.float32), rng.random(10_000) < 0.5
    whole, parts = Calibration(), Calibration()
    whole.update(confidence, correct)
    order = rng.permutation(10_000)
    for some in np.array_split(order, 17):
        part = Calibration()
        part.update(torch.from_numpy(confidence[some]), torch.from_numpy(correct[some]))
        parts.merge(part)
    assert parts.ece() == whole.ece()
    for column in ("confidence", "accuracy", "count"):
        np.testing.assert_array_equal(getattr(parts.table(), column), getattr(whole.table(), column))


def test_edges_and_empty_bins() -> None:
    calibration = Calibration(bins=4)
    calibration.update(np.array([0.0, 0.25, 0.26, 1.0]), np.array([False, True, True, True]))
    table = calibration.table()
    assert table.count.tolist() == [2, 1, 0, 1]
    assert table.accuracy.tolist()[:2] == [0.5, 1.0]
    assert table.confidence[:2] == pytest.approx([0.125, 0.26])
    assert np.isnan(table.accuracy[2])
    assert np.isnan(table.confidence[2])


def test_perfect_and_worst() -> None:
    perfect, worst = Calibration(), Calibration()
    perfect.update(torch.ones(2, 3), torch.ones(2, 3, dtype=torch.bool))
    worst.update(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool))
    assert perfect.ece() == 0
    assert worst.ece() == 1
    assert math.isnan(Calibration().ece())


def test_half_precision_confidences() -> None:
    calibration = Calibration()
    calibration.update(torch.tensor([0.5, 1.0], dtype=torch.bfloat16), torch.tensor([True, True]))
    assert calibration.ece() == 0.25


def test_misuse() -> None:
    calibration = Calibration()
    with pytest.raises(ValueError, match=r"0\.\.1, found 0 to 1\.5"):
        calibration.update(np.array([0.0, 1.5]), np.array([True, True]))
    with pytest.raises(ValueError, match=r"0\.\.1"):
        calibration.update(np.array([np.nan]), np.array([True]))
    with pytest.raises(ValueError, match="2 confidences but 1"):
        calibration.update(np.array([0.0, 0.5]), np.array([True]))
    with pytest.raises(ValueError, match="15 and 10 bins"):
        calibration.merge(Calibration(10))
    with pytest.raises(ValueError, match="0 bins"):
        Calibration(0)
    calibration.update(np.array([]), np.array([], bool))
    assert calibration.table().count.sum() == 0
