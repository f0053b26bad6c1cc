"""KID against the double sum that defines it and torchmetrics; the Fréchet distance of Gaussians in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import linalg

from pixelwise.metrics import kid
from pixelwise.metrics.kid import (
    diversity,
    frechet_distance,
    gaussian_frechet_distance,
    jackknife_error,
    kernel_distance,
)


def features(seed: int, count: int, dimensions: int = 5, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (count, dimensions)).astype(np.float32)


def test_the_double_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = features(0, 23), features(1, 17, shift=0.5)

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a.astype(float) @ b.astype(float) / 5 + 1) ** 3)

    expected = -2 * np.mean([k(a, b) for a in x for b in y])
    for rows in (x, y):
        pairs = [k(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
        expected += np.mean(pairs)
    assert kernel_distance(x, y).mean == pytest.approx(expected)
    monkeypatch.setattr(kid, "ROWS", 4)
    assert kernel_distance(x, y).mean == pytest.approx(expected)


def test_equal_to_torchmetrics() -> None:
    poly_mmd = pytest.importorskip("torchmetrics.image.kid").poly_mmd
    x, y = features(0, 40), features(1, 40, shift=0.3)
    expected = poly_mmd(torch.tensor(x).double(), torch.tensor(y).double())
    assert kernel_distance(x, y).mean == pytest.approx(float(expected))


def test_unbiased_and_larger_for_what_is_farther() -> None:
    estimates = [kernel_distance(features(2 * s, 30), features(2 * s + 1, 30)).mean for s in range(200)]
    assert abs(np.mean(estimates)) < 3 * np.std(estimates) / np.sqrt(200)
    assert min(estimates) < 0
    far = [kernel_distance(features(0, 300), features(1, 300, shift=shift)).mean for shift in (0, 0.3, 1)]
    assert far[0] < 0.05 < far[1] < far[2]


def test_subsets() -> None:
    x, y = features(0, 400), features(1, 300, shift=0.5)
    whole, some = kernel_distance(x, y), kernel_distance(x, y, subsets=100, subset_size=100)
    assert some == kernel_distance(x, y, subsets=100, subset_size=100)
    assert some != kernel_distance(x, y, subsets=100, subset_size=100, seed=1)
    assert some.mean == pytest.approx(whole.mean, abs=3 * some.deviation / 10)
    assert np.isnan(whole.deviation)
    assert kernel_distance(x, y, subsets=3, subset_size=1000).mean == pytest.approx(whole.mean)
    assert kernel_distance(x, y, subsets=3, subset_size=1000).deviation == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_gaussians() -> None:
    assert gaussian_frechet_distance(np.ones(1), np.eye(1) * 4, np.zeros(1), np.eye(1) * 9) == pytest.approx(2)
    a, b = np.array([1.0, 4.0, 0.0]), np.array([9.0, 1.0, 4.0])  # diagonal: the sum of (sqrt a - sqrt b)^2
    assert gaussian_frechet_distance(np.zeros(3), np.diag(a), np.array([1.0, 2, 0]), np.diag(b)) == pytest.approx(14)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(150, 6)) @ rng.normal(size=(6, 6)) + 1
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(s + t - 2 * linalg.sqrtm(s @ t).real)
    assert frechet_distance(x, y) == pytest.approx(expected)
    assert frechet_distance(y, x) == pytest.approx(expected)


def test_frechet_distance_is_zero_for_identical_sets_and_never_nan() -> None:
    x = features(0, 200)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)
    assert kernel_distance(x, x.copy()).mean < 0  # the pairs of a picture with itself are only in the mixed term
    few = features(0, 3, 64)  # rank 2 of 64
    for other in (few, np.zeros((4, 64), np.float32), features(1, 2, 64), np.ones((2, 64)) * 1e6):
        assert frechet_distance(few, other) >= 0
    assert np.isfinite(frechet_distance(features(0, 5, 1), features(1, 5, 1)))


def test_wrong_use() -> None:
    for measure in (kernel_distance, frechet_distance):
        with pytest.raises(ValueError, match="expected"):
            measure(np.zeros((3, 4)), np.zeros((3, 5)))
        with pytest.raises(ValueError, match="at least 2"):
            measure(np.zeros((1, 4)), np.zeros((3, 4)))
    with pytest.raises(ValueError, match="subsets"):
        kernel_distance(np.zeros((3, 4)), np.zeros((3, 4)), subsets=2, subset_size=1)


def test_the_error_of_a_mean_is_that_of_statistics() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 1)), rng.normal(size=(400, 1))
    found = [
        jackknife_error(lambda a, b: float(a.mean() - b.mean()), *(rng.normal(size=(400, 1)) for _ in range(2)))
        for _ in range(50)
    ]
    assert np.mean(found) == pytest.approx(math.sqrt(2 / 400), rel=0.15)
    assert math.isnan(jackknife_error(lambda a, b: 0.0, x[:29], y))


def test_the_error_covers_the_distance_of_two_samples() -> None:
    expected = kernel_distance(features(0, 5000), features(1, 5000, shift=0.5)).mean
    errors = []
    for seed in range(2, 42, 2):
        x, y = features(seed, 300), features(seed + 1, 300, shift=0.5)
        error = jackknife_error(lambda a, b: kernel_distance(a, b).mean, x, y)
        errors.append((kernel_distance(x, y).mean - expected) / error)
    assert np.abs(errors).max() < 5
    assert 0.5 < np.std(errors) < 2


def test_diversity_is_1_for_equal_spread_and_0_for_equal_rows() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 4))
    assert diversity(rows, rows) == pytest.approx(1)
    assert diversity(0.5 * rows + 7, rows) == pytest.approx(0.5)
    assert diversity(np.repeat(rows[:1], 9, 0), rows) == 0
