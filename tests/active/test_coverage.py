"""Greedy k-centre against an exhaustive one, and projections on principal components against numpy."""

from itertools import combinations

import numpy as np
import pytest
import torch

from pixelwise.active import coverage, k_centre, principal_subspace


def brute_force(features: np.ndarray, chosen: list[int], count: int) -> list[int]:
    """Greedy k-centre with the matrix of all distances."""
    distances = np.linalg.norm(features[:, None] - features[None], axis=-1)
    centres = list(chosen)
    if not centres:
        centres.append(int(np.linalg.norm(features - features.mean(0), axis=1).argmin()))
    while len(centres) < len(chosen) + count:
        nearest = distances[:, centres].min(axis=1)
        nearest[centres] = -1
        centres.append(int(nearest.argmax()))
    return centres[len(chosen) :]


@pytest.mark.parametrize("chosen", [[], [3], [0, 7, 11]])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_greedy_of_all_distances(chosen: list[int], seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(seed).normal(size=(23, 4))
    expected = brute_force(features, chosen, 9)
    assert k_centre(features, chosen, 9).tolist() == expected
    assert k_centre(torch.tensor(features), torch.tensor(chosen), 9).tolist() == expected
    monkeypatch.setattr(coverage, "ROWS", 5)
    assert k_centre(features, chosen, 9).tolist() == expected


@pytest.mark.parametrize("seed", range(4))
def test_the_largest_distance_is_at_most_twice_the_smallest_possible(seed: int) -> None:
    features = np.random.default_rng(seed).normal(size=(12, 2))
    distances = np.linalg.norm(features[:, None] - features[None], axis=-1)
    best = min(distances[:, list(centres)].min(axis=1).max() for centres in combinations(range(12), 3))
    found = distances[:, k_centre(features, [], 3)].min(axis=1).max()
    assert found <= 2 * best + 1e-9


def test_equal_pictures_are_each_chosen_once() -> None:
    found = k_centre(np.zeros((5, 2)), [1], 4)
    assert sorted(found.tolist()) == [0, 2, 3, 4]
    assert k_centre(np.zeros((5, 2)), [], 0).tolist() == []


def test_nothing_is_drawn_at_random() -> None:
    features = np.random.default_rng(0).normal(size=(30, 3))
    torch.manual_seed(1)
    first = k_centre(features, [], 5)
    torch.manual_seed(2)
    assert np.array_equal(first, k_centre(features, [], 5))
    order = np.random.default_rng(1).permutation(30)
    assert order[k_centre(features[order], [], 5)].tolist() == first.tolist()


def test_no_matrix_of_all_distances_is_made() -> None:
    # 200,000 pictures: all distances would take 320 GB.
    features = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0))
    assert len(set(k_centre(features, [0], 3).tolist())) == 3


@pytest.mark.parametrize(
    ("features", "chosen", "count", "words"),
    [
        (np.zeros(3), [], 1, r"\(N, F\) expected"),
        (np.array([[np.nan]]), [], 1, "NaN"),
        (np.zeros((3, 1)), [3], 1, "0 to 2 expected"),
        (np.zeros((3, 1)), [0], 3, "0 to 2 expected"),
    ],
)
def test_bad_input_is_refused(features: np.ndarray, chosen: list[int], count: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        k_centre(features, chosen, count)


def test_the_subspace_keeps_the_distances_of_features_that_span_only_it() -> None:
    generator = np.random.default_rng(0)
    low = generator.normal(size=(40, 3)) * (3, 2, 1)
    directions = np.linalg.qr(generator.normal(size=(20, 3)))[0]
    found = principal_subspace(low @ directions.T + 5, share=1 - 1e-9)
    assert found.shape == (40, 3)
    assert torch.cdist(found, found).numpy() == pytest.approx(
        np.linalg.norm(low[:, None] - low[None], axis=-1), abs=1e-6
    )


def test_the_subspace_is_the_smallest_that_holds_the_share_of_the_variance() -> None:
    features = np.random.default_rng(0).normal(size=(50, 6)) * (9, 7, 5, 3, 2, 1)
    singular = np.linalg.svd(features - features.mean(0), compute_uv=False)
    held = np.cumsum(singular**2) / np.sum(singular**2)
    for share in (0.3, 0.8, 0.95):
        assert principal_subspace(features, share).shape[1] == int(np.argmax(held >= share)) + 1
    assert principal_subspace(np.ones((4, 3))).shape == (4, 1)
