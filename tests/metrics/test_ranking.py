"""Top-k against scikit-learn, and its law for ties."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from pixelwise.metrics.ranking import TopK


@pytest.mark.parametrize("k", [1, 2, 5])
def test_equal_to_scikit_learn_in_batches_of_any_size(k: int) -> None:
    rng = np.random.default_rng(k)
    scores, truth = rng.random((101, 8)), rng.integers(0, 8, 101)
    ranks = TopK(5)
    for start, end in ((0, 1), (1, 50), (50, 101)):
        ranks.update(scores[start:end], truth[start:end])
    assert ranks.accuracy(k) == pytest.approx(top_k_accuracy_score(truth, scores, k=k, labels=range(8)))


def test_of_equal_scores_the_lower_id_comes_first() -> None:
    ranks = TopK(3)
    ranks.update(np.full((3, 3), 0.5), np.array([0, 1, 2]))
    assert [ranks.accuracy(k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])


def test_nothing_counted_and_wrong_use() -> None:
    assert np.isnan(TopK().accuracy(1))
    with pytest.raises(ValueError, match="top-6 is not counted"):
        TopK(5).accuracy(6)
    with pytest.raises(ValueError, match=r"\(N, K\) and \(N,\) expected"):
        TopK().update(np.zeros((3, 2)), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="at least 1"):
        TopK(0)
