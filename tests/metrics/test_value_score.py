"""Scores of per-pixel regression against scikit-learn, in any order and in any grouping of pictures."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from pixelwise.metrics.values import ValueScore


def pictures(offset: float = 0.0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Predictions and truths of different sizes and levels, a third void, one picture void throughout."""
    rng = np.random.default_rng(0)
    pairs = []
    for height, width in ((5, 7), (1, 1), (12, 3), (6, 6)):
        truth = (offset + rng.normal(rng.normal(0, 3), 1, (height, width))).astype(np.float32)
        predicted = (truth + rng.normal(0.2, 0.5, truth.shape)).astype(np.float32)
        truth[rng.random(truth.shape) < 0.3] = np.nan
        pairs.append((predicted, truth))
    pairs.append((np.ones((2, 2), np.float32), np.full((2, 2), np.nan, np.float32)))
    return pairs


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_equal_to_scikit_learn_over_all_known_pixels(offset: float) -> None:
    pairs = pictures(offset)
    score, first, second = ValueScore(), ValueScore(), ValueScore()
    for at, (predicted, truth) in enumerate(pairs):
        score.update(predicted, truth)
        (first if at % 2 else second).update(predicted, truth)
    first.merge(second)
    first.merge(ValueScore())
    known = np.concatenate([~np.isnan(truth).ravel() for _, truth in pairs])
    predicted, truth = (np.concatenate([p[i].ravel() for p in pairs])[known].astype(np.float64) for i in (0, 1))
    for each in (score, first):
        assert each.pixels == known.sum()
        assert each.mae() == pytest.approx(mean_absolute_error(truth, predicted))
        assert each.rmse() == pytest.approx(root_mean_squared_error(truth, predicted))
        assert each.r2() == pytest.approx(r2_score(truth, predicted))


def test_count_error_by_hand() -> None:
    """Two pictures with 3 and 1 objects, of which 2 and 2.5 are predicted; a void pixel counts in neither sum."""
    score = ValueScore(density=True)
    score.update(np.array([[1.0, 1.0, 9.0]]), np.array([[1.0, 2.0, np.nan]]))
    score.update(np.array([[2.5]]), np.array([[1.0]]))
    assert score.count_error() == pytest.approx((1 + 1.5) / 2)
    assert score.summary("val")["count_error"] == pytest.approx(1.25)
    assert "count_error" not in ValueScore().summary()


def test_the_mean_scores_zero_and_what_does_not_vary_has_no_r2() -> None:
    score = ValueScore(unit="m")
    score.update(np.full((1, 4), 2.5), np.array([[1.0, 2.0, 3.0, 4.0]]))
    assert score.r2() == pytest.approx(0)
    flat = ValueScore()
    flat.update(np.ones((2, 2)), np.ones((2, 2)))
    summary = flat.summary()
    assert summary["r2"] is None
    assert (summary["mae"], summary["rmse"], summary["pixels"], summary["pictures"]) == (0, 0, 4, 1)
    assert "in m," in score.summary("val")["definition"]
    assert "4 pixels with a known value in 1 pictures of the val split" in score.summary("val")["definition"]


def test_nothing_counted_and_wrong_use() -> None:
    empty = ValueScore(density=True).summary()
    assert all(empty[name] is None for name in ("mae", "rmse", "r2", "count_error"))
    with pytest.raises(ValueError, match="but true values are"):
        ValueScore().update(np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="cannot be added"):
        ValueScore(unit="m").merge(ValueScore(unit="mm"))
