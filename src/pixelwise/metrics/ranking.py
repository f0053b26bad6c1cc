"""Top-k accuracy: how often a picture's class is among the k most probable ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class TopK:
    """Counts pictures by the rank of their class (Russakovsky et al., IJCV 2015, section 4.1, is k = 5)."""

    def __init__(self, most: int = 5) -> None:
        """Args:
            most: the largest k that is counted.

        Raises:
            ValueError: `most` is less than 1.
        """
        if most < 1:
            raise ValueError(f"{most} ranks, at least 1 expected")
        self.pictures = 0
        self._hits = np.zeros(most, np.int64)

    def update(self, probabilities: np.ndarray, truth: np.ndarray) -> None:
        """Adds pictures; among equally probable classes, the one with the lower id ranks first.

        Args:
            probabilities: (N, K), or any values in the same order.
            truth: (N,) class ids.

        Raises:
            ValueError: the shapes do not match.
        """
        if probabilities.ndim != 2 or truth.shape != probabilities.shape[:1]:
            raise ValueError(
                f"probabilities are {probabilities.shape} and classes {truth.shape}; (N, K) and (N,) expected"
            )
        own = np.take_along_axis(probabilities, truth[:, None], axis=1)
        lower = np.arange(probabilities.shape[1]) < truth[:, None]
        rank = (probabilities > own).sum(1) + ((probabilities == own) & lower).sum(1)
        self.pictures += len(truth)
        self._hits += (rank[:, None] <= np.arange(len(self._hits))).sum(0)

    def add(self, ranking: Sequence[int], truth: int) -> None:
        """Adds one picture.

        Args:
            ranking: class ids, the most probable first; classes that are not in it rank below.
        """
        self.pictures += 1
        if truth in ranking:
            self._hits[ranking.index(truth) :] += 1

    def merge(self, other: TopK) -> None:
        """Adds the pictures that another accumulator has counted.

        Raises:
            ValueError: the numbers of ranks differ.
        """
        if len(self._hits) != len(other._hits):
            raise ValueError(f"{len(self._hits)} and {len(other._hits)} ranks cannot be added")
        self.pictures += other.pictures
        self._hits += other._hits

    def accuracy(self, k: int) -> float:
        """The share of pictures whose class is among the k most probable ones; NaN without pictures.

        Raises:
            ValueError: this k was not counted.
        """
        if not 1 <= k <= len(self._hits):
            raise ValueError(f"top-{k} is not counted, 1 to {len(self._hits)} are")
        return float(self._hits[k - 1] / self.pictures) if self.pictures else float("nan")
