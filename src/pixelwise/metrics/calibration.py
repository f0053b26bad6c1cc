"""Calibration: whether predictions made with a confidence of 90 % are right nine times in ten."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

UNIT = 1 << 24
"""Confidences are summed in integer units of 2^-24, the resolution of float32 below 1. The sums therefore do not depend
on the order of the pixels or on how they are batched."""


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationTable:
    """Contents of the bins, in ascending order of confidence.

    Attributes:
        confidence: (B,) float64 mean confidence of a bin's predictions, NaN for an empty bin.
        accuracy: (B,) float64 share of a bin's predictions that are right, NaN for an empty bin.
        count: (B,) int64 number of predictions in a bin.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray


class Calibration:
    """Counts predictions by confidence and by whether they are right (reliability diagram, ECE).

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, section 2. Bin b of B holds the confidences in
    ((b - 1) / B, b / B]; a confidence of 0 falls in the first.
    """

    def __init__(self, bins: int = 15) -> None:
        """Args:
            bins: number of bins B, all of equal width.

        Raises:
            ValueError: fewer than one bin.
        """
        if bins < 1:
            raise ValueError(f"{bins} bins, at least 1 expected")
        self.bins = bins
        self._count = np.zeros(bins, np.int64)
        self._right = np.zeros(bins, np.int64)
        self._confidence = np.zeros(bins, np.int64)

    def update(self, confidence: Tensor | np.ndarray, correct: Tensor | np.ndarray) -> None:
        """Adds predictions. The caller leaves void pixels out.

        Args:
            confidence: probability of the predicted class, 0..1, any shape.
            correct: booleans of the same shape.

        Raises:
            ValueError: the shapes differ, or a confidence lies outside 0..1.
        """
        given = torch.as_tensor(confidence).detach().flatten().double().cpu().numpy()
        right = torch.as_tensor(correct).detach().flatten().bool().cpu().numpy()
        if given.shape != right.shape:
            raise ValueError(f"{given.size} confidences but {right.size} results")
        if not given.size:
            return
        if not (given.min() >= 0 and given.max() <= 1):
            raise ValueError(f"confidences lie in 0..1, found {given.min():g} to {given.max():g}")
        which = np.clip(np.ceil(given * self.bins).astype(np.int64) - 1, 0, None)
        self._count += np.bincount(which, minlength=self.bins)
        self._right += np.bincount(which[right], minlength=self.bins)
        # Sums of integers in float64 are exact up to 2^53, which is enough for 2^29 pixels in one update.
        self._confidence += np.bincount(which, np.rint(given * UNIT), self.bins).astype(np.int64)

    def merge(self, other: Calibration) -> None:
        """Adds the predictions that another accumulator has counted.

        Raises:
            ValueError: the numbers of bins differ.
        """
        if self.bins != other.bins:
            raise ValueError(f"{self.bins} and {other.bins} bins cannot be added")
        self._count += other._count
        self._right += other._right
        self._confidence += other._confidence

    def table(self) -> CalibrationTable:
        """Mean confidence, accuracy and number of predictions of each bin."""
        filled = np.where(self._count, self._count, 1)
        empty = self._count == 0
        confidence = np.where(empty, np.nan, self._confidence / UNIT / filled)
        return CalibrationTable(confidence, np.where(empty, np.nan, self._right / filled), self._count.copy())

    def ece(self) -> float:
        """Expected calibration error (equation 3): the mean over predictions of |accuracy - confidence| of their bin.

        0 is perfect; NaN if nothing was counted.
        """
        total = int(self._count.sum())
        if not total:
            return float("nan")
        return float(np.abs(self._right - self._confidence / UNIT).sum() / total)
