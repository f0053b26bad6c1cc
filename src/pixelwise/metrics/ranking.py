"""How many pictures' classes are among the first few that a classifier names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class TopK:
    """Counts pictures by the rank of their class (Russakovsky et al., IJCV 2015, section 4.1, is k = 5)."""

    def __init__(self, most: int = 5) -> None:
        """Args:
            most: the largest k.

        Raises:
            ValueError: none.
        """
        if most < 1:
            raise ValueError(f"{most} ranks, at least 1 expected")
        self.pictures = 0
        self._hits = np.zeros(most, np.int64)

    def update(self, probabilities: np.ndarray, truth: np.ndarray) -> None:
        """Adds pictures; of classes that are equally probable the one of the lower id comes first.

        Args:
            probabilities: (N, K), or any scores that rise with them.
            truth: (N,) class ids.

        Raises:
            ValueError: shapes that do not fit.
        """
        if probabilities.ndim != 2 or truth.shape != probabilities.shape[:1]:
            raise ValueError(f"scores {probabilities.shape} and classes {truth.shape} are not of the same pictures")
        own = np.take_along_axis(probabilities, truth[:, None], axis=1)
        lower = np.arange(probabilities.shape[1]) < truth[:, None]
        rank = (probabilities > own).sum(1) + ((probabilities == own) & lower).sum(1)
        self.pictures += len(truth)
        self._hits += (rank[:, None] <= np.arange(len(self._hits))).sum(0)

    def add(self, ranking: Sequence[int], truth: int) -> None:
        """Adds one picture.

        Args:
            ranking: class ids, the most probable first; those that are not among them rank below.
        """
        self.pictures += 1
        if truth in ranking:
            self._hits[ranking.index(truth) :] += 1

    def merge(self, other: TopK) -> None:
        """Adds the pictures that another one has counted.

        Raises:
            ValueError: another number of ranks.
        """
        if len(self._hits) != len(other._hits):
            raise ValueError(f"{len(self._hits)} and {len(other._hits)} ranks cannot be added")
        self.pictures += other.pictures
        self._hits += other._hits

    def accuracy(self, k: int) -> float:
        """The share of pictures whose class is among the first k; NaN if there are none.

        Raises:
            ValueError: a k that is not counted.
        """
        if not 1 <= k <= len(self._hits):
            raise ValueError(f"top-{k} is not counted, 1 to {len(self._hits)} are")
        return float(self._hits[k - 1] / self.pictures) if self.pictures else float("nan")
