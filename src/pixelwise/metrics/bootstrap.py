"""How much a score would vary with another choice of pictures, estimated by resampling them (Efron 1979)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

RESAMPLES = 500


def bootstrap_margin(score: Callable[[np.ndarray], np.ndarray], pictures: int) -> float:
    """Half the width of the 95 % percentile interval of a score over pictures drawn with replacement.

    With only a handful of pictures the interval is too narrow, since resamples contain only the pictures at hand.

    Args:
        score: maps (R, N), how often each picture counts in each of R resamples, to (R,) scores; NaN is left out.
        pictures: N, the number of pictures.

    Returns:
        NaN for fewer than two pictures, or where no resample has a score.
    """
    if pictures < 2:
        return float("nan")
    counts = np.random.default_rng(0).multinomial(pictures, np.full(pictures, 1 / pictures), size=RESAMPLES)
    scores = score(counts.astype(np.float64))
    scores = scores[np.isfinite(scores)]
    if not len(scores):
        return float("nan")
    low, high = np.quantile(scores, (0.025, 0.975))
    return float(high - low) / 2


def mean_margin(values: np.ndarray, weights: np.ndarray | None = None) -> float:
    """`bootstrap_margin` of the mean of one value per picture.

    Args:
        values: (N,); pictures whose value is NaN are left out.
        weights: (N,) how much each picture counts in the mean, such as its number of pixels; None for equal weights.
    """
    known = np.isfinite(values)
    values = values[known].astype(np.float64)
    weights = np.ones(len(values)) if weights is None else weights[known].astype(np.float64)
    return bootstrap_margin(
        lambda counts: counts @ (values * weights) / np.maximum(counts @ weights, 1e-300), len(values)
    )
