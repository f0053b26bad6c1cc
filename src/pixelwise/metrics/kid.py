"""Distances between generated and real pictures, measured on two sets of features: KID and the Fréchet distance.

Features come from a classifier that was trained on the data. With Inception's features the Fréchet distance is the
published FID (Heusel et al., NeurIPS 2017). Inception's features mean little for digits, where a classifier trained on
digits takes its place. Two distances are comparable only if the same network computed their features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

ROWS = 1024
"""Rows of a kernel matrix that are in memory at once."""


class KernelDistance(NamedTuple):
    """KID: mean and standard deviation over subsets; the deviation is NaN for a single estimate from all features."""

    mean: float
    deviation: float


def kernel_distance(
    features: np.ndarray, others: np.ndarray, *, subsets: int = 0, subset_size: int = 1000, seed: int = 0
) -> KernelDistance:
    """Kernel inception distance (Bińkowski et al., ICLR 2018): an unbiased squared maximum mean discrepancy (MMD).

    The kernel is (x.y / D + 1)^3 (section 3.1). If both sets come from the same distribution, the estimate has
    expectation 0, so it may be negative. Unlike the Fréchet distance, it is not biased by the number of pictures.

    Args:
        features, others: (M, D) and (N, D), at least two rows each.
        subsets: number of pairs of random subsets to average over, as published values do; 0 for a single estimate from
            all rows.
        subset_size: rows per subset; all rows if there are fewer.
        seed: seed of the random subsets.

    Raises:
        ValueError: the shapes do not match, or there are too few rows.
    """
    x, y = _checked(features, others)
    if subsets == 0:
        return KernelDistance(_mmd2(x, y), float("nan"))
    if subsets < 0 or subset_size < 2:
        raise ValueError(f"{subsets} subsets of {subset_size} rows; at least 1 subset of at least 2 rows expected")
    rng = np.random.default_rng(seed)
    estimates = [
        _mmd2(*(rows[rng.choice(len(rows), min(subset_size, len(rows)), replace=False)] for rows in (x, y)))
        for _ in range(subsets)
    ]
    return KernelDistance(float(np.mean(estimates)), float(np.std(estimates)))


def jackknife_error(
    distance: Callable[[np.ndarray, np.ndarray], float], features: np.ndarray, others: np.ndarray, parts: int = 10
) -> float:
    """The standard error of a distance over random choices of pictures, by the delete-a-group jackknife.

    The distance is computed once without each of `parts` equal parts of both sets (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, equation 11.5).

    Args:
        features, others: (M, D) and (N, D), with at least three rows per part.

    Returns:
        NaN if there are fewer rows.
    """
    if min(len(features), len(others)) < 3 * parts:
        return float("nan")
    left = [
        distance(*(rows[np.arange(len(rows)) % parts != part] for rows in (features, others))) for part in range(parts)
    ]
    return float(np.sqrt((parts - 1) * np.var(left)))


def diversity(features: np.ndarray, others: np.ndarray) -> float:
    """How far the rows of one set differ from each other, as a share of how far the rows of the other set do.

    It is the ratio of the root mean square distances between two rows: 1 if both sets vary equally, 0 if all rows of
    the first are equal, as those of a collapsed generator are.

    Args:
        features, others: (M, D) and (N, D), at least two rows each.
    """
    x, y = _checked(features, others)
    return float(np.sqrt(x.var(0, ddof=1).sum() / max(y.var(0, ddof=1).sum(), 1e-30)))


def frechet_distance(features: np.ndarray, others: np.ndarray) -> float:
    """The Fréchet distance between the Gaussians with the two sets' means and covariances (Heusel et al., 2017, eq. 6).

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)). The distance falls as the number of pictures grows, so compare only
    distances measured on equal numbers of pictures.

    Args:
        features, others: (M, D) and (N, D), at least two rows each.

    Raises:
        ValueError: the shapes do not match, or there are too few rows.
    """
    x, y = _checked(features, others)
    covariances = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (x, y))
    return gaussian_frechet_distance(x.mean(0), next(covariances), y.mean(0), next(covariances))


def gaussian_frechet_distance(
    mean: np.ndarray, covariance: np.ndarray, other_mean: np.ndarray, other_covariance: np.ndarray
) -> float:
    """The Fréchet distance between two Gaussians; at least 0, and never NaN.

    The trace of (S1 S2)^(1/2) is the sum of the square roots of the eigenvalues of A S2 A, which is symmetric, with
    A = S1^(1/2). With fewer pictures than features the covariances are singular. Rounding then makes some of their
    eigenvalues negative; these count as 0.

    Args:
        mean, other_mean: (D,).
        covariance, other_covariance: (D, D), symmetric.
    """
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    product = root @ other_covariance @ root
    overlap = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(min=0)).sum()
    distance = np.square(mean - other_mean).sum() + np.trace(covariance) + np.trace(other_covariance) - 2 * overlap
    return max(float(distance), 0.0)


def _mmd2(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate (Gretton et al., JMLR 2012, equation 3)."""
    within = [
        (_kernel_sum(rows, rows) - float((((rows * rows).sum(1) / rows.shape[1] + 1) ** 3).sum()))
        / (len(rows) * (len(rows) - 1))
        for rows in (x, y)
    ]
    return sum(within) - 2 * _kernel_sum(x, y) / (len(x) * len(y))


def _kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
    """The sum of (x.y / D + 1)^3 over all pairs of rows."""
    return sum(float(((x[start : start + ROWS] @ y.T / x.shape[1] + 1) ** 3).sum()) for start in range(0, len(x), ROWS))


def _checked(features: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if features.ndim != 2 or others.ndim != 2 or features.shape[1] != others.shape[1]:
        raise ValueError(f"features are {features.shape} and {others.shape}; (M, D) and (N, D) expected")
    if min(len(features), len(others)) < 2:
        raise ValueError(f"{len(features)} and {len(others)} rows of features, at least 2 each expected")
    return features.astype(np.float64), others.astype(np.float64)
