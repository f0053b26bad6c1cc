"""How a budget is spent on candidates that were measured: by their scores, by their features, or by both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from pixelwise.active.coverage import farthest_first, principal_subspace
from pixelwise.active.uncertainty import gumbel_power


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Candidates of a pool.

    Attributes:
        scores: (N,) float64, large ones first.
        features: (N, F); None for strategies that do not compare features.
        labelled: (L, F), the features of what is labelled already, which count as chosen.
    """

    scores: np.ndarray
    features: np.ndarray | None = None
    labelled: np.ndarray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Selected:
    """The chosen candidates.

    Attributes:
        indices: (B,) in the order of their ranks.
        values: (B,) the number by which each was chosen.
        distances: (B,) the distance of each from the nearest candidate chosen before or labelled, if features decided;
            infinite for the first if nothing was chosen before.
    """

    indices: np.ndarray
    values: np.ndarray
    distances: np.ndarray | None = None


Select = Callable[[Measured, int, int], Selected]
"""(candidates, budget, seed) -> the chosen ones. The budget is at most the number of candidates."""


def top(measured: Measured, budget: int, seed: int) -> Selected:
    """The largest scores; of equal ones the first."""
    indices = np.argsort(-measured.scores, kind="stable")[:budget]
    return Selected(indices, measured.scores[indices])


def power(measured: Measured, budget: int, seed: int) -> Selected:
    """A sample without replacement in proportion to the scores (Kirsch et al., TMLR 2023), see `gumbel_power`."""
    noisy = gumbel_power(torch.from_numpy(measured.scores.clip(min=0)), seed=seed).numpy()
    indices = np.argsort(-noisy, kind="stable")[:budget]
    return Selected(indices, measured.scores[indices])


def random(measured: Measured, budget: int, seed: int) -> Selected:
    """A sample without replacement in which all have the same chance."""
    indices = np.random.default_rng(seed).permutation(len(measured.scores))[:budget]
    return Selected(indices, np.full(len(indices), np.nan))


def cover(measured: Measured, budget: int, seed: int) -> Selected:
    """Greedy k-centre in the space of the features, see `coverage.k_centre`."""
    points, labelled = _points(measured)
    return _farthest(torch.from_numpy(points), labelled, budget)


def cover_subspace(measured: Measured, budget: int, seed: int) -> Selected:
    """Greedy k-centre in the low-dimensional space that the features span, see `coverage.principal_subspace`."""
    points, labelled = _points(measured)
    return _farthest(principal_subspace(points), labelled, budget)


def mixed(measured: Measured, budget: int, seed: int) -> Selected:
    """Greedy k-centre in the subspace of the features, with each distance multiplied by the candidate's score.

    A candidate is chosen if it is uncertain and unlike everything labelled or chosen before. (Zhdanov, 2019,
    arXiv:1901.05954, section 4, combines the two by weighted k-means of a shortlist.)
    """
    points, labelled = _points(measured)
    weights = np.concatenate([np.zeros(labelled), measured.scores.clip(min=0)])
    indices, distances = farthest_first(principal_subspace(points), range(labelled), budget, weights)
    return Selected(indices - labelled, measured.scores[indices - labelled], distances)


def _points(measured: Measured) -> tuple[np.ndarray, int]:
    """The features of what is labelled, then of the candidates, and the number of the former."""
    assert measured.features is not None
    labelled = measured.features[:0] if measured.labelled is None else measured.labelled
    return np.concatenate([labelled, measured.features]), len(labelled)


def _farthest(points: torch.Tensor, labelled: int, budget: int) -> Selected:
    """Greedy k-centre, where the first `labelled` points are centres already; indices are those of the others."""
    indices, distances = farthest_first(points, range(labelled), budget)
    return Selected(indices - labelled, distances, distances)
