"""Scores of per-pixel regression: MAE, RMSE, R², and the count error of density maps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


class ValueScore:
    """Accumulates the errors of per-pixel regression over a dataset, in float64.

    Scores are dataset-level: every pixel with a known value has the same weight, whichever picture it belongs to. The
    variance of the true values is kept as count, mean and sum of squared deviations (Chan, Golub & LeVeque, 1979), so
    that R² is exact even if the values are far from 0.

    Attributes:
        unit: unit of the values, for the definition; may be empty.
        density: whether the sum of a map is a number of objects; the summary then includes the count error.
        pixels: number of pixels that were counted.
        pictures: number of pictures with at least one known value.
    """

    def __init__(self, *, unit: str = "", density: bool = False) -> None:
        self.unit = unit
        self.density = density
        self.pixels = self.pictures = 0
        self._absolute = self._squared = self._count_errors = 0.0
        self._mean = self._deviations = 0.0  # of the true values

    def update(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Adds one picture.

        Args:
            predicted: (H, W) values.
            truth: (H, W) values, NaN where they are unknown.

        Raises:
            ValueError: the shapes differ.
        """
        if predicted.shape != truth.shape:
            raise ValueError(f"predicted values are {predicted.shape} but true values are {truth.shape}")
        counted = ~np.isnan(truth)
        values, true = predicted[counted].astype(np.float64), truth[counted].astype(np.float64)
        if not true.size:
            return
        errors = values - true
        mean = float(true.mean())
        self._absolute += float(np.abs(errors).sum())
        self._squared += float(np.square(errors).sum())
        self._count_errors += abs(float(values.sum()) - float(true.sum()))
        self.pictures += 1
        self._add_truth(true.size, mean, float(np.square(true - mean).sum()))

    def merge(self, other: ValueScore) -> None:
        """Adds the pictures that another accumulator has counted.

        Raises:
            ValueError: the units differ, or only one of the two counts densities.
        """
        if (self.unit, self.density) != (other.unit, other.density):
            raise ValueError(f"scores of values in '{self.unit}' and in '{other.unit}' cannot be added")
        self._absolute += other._absolute
        self._squared += other._squared
        self._count_errors += other._count_errors
        self.pictures += other.pictures
        self._add_truth(other.pixels, other._mean, other._deviations)

    def mae(self) -> float:
        """The mean absolute error over pixels, in the unit of the values; NaN if none was counted."""
        return self._absolute / self.pixels if self.pixels else math.nan

    def rmse(self) -> float:
        """The root of the mean squared error over pixels, in the unit of the values; NaN if none was counted."""
        return math.sqrt(self._squared / self.pixels) if self.pixels else math.nan

    def r2(self) -> float:
        """R², 1 minus the sum of squared errors over the sum of squared deviations of the true values from their mean.

        1 is perfect; predicting the mean of the true values everywhere scores 0. NaN if the true values do not vary.
        """
        return 1 - self._squared / self._deviations if self._deviations > 0 else math.nan

    def count_error(self) -> float:
        """The mean over pictures of |predicted sum - true sum|, where sums run over the pixels with a known value.

        For density maps this is the mean error of a picture's object count (Lempitsky & Zisserman, NeurIPS 2010). NaN
        if no picture was counted.
        """
        return self._count_errors / self.pictures if self.pictures else math.nan

    def summary(self, split: str | None = None) -> dict[str, Any]:
        """All scores as plain JSON values; undefined scores are None.

        Args:
            split: name of the pictures' split (`val`), for the definition.
        """
        scores = {"mae": self.mae(), "rmse": self.rmse(), "r2": self.r2()}
        of_split = f" of the {split} split" if split else ""
        unit = f", in {self.unit}" if self.unit else ""
        definition = (
            f"over all {self.pixels:,} pixels with a known value in {self.pictures} pictures{of_split}: mean absolute "
            f"error (MAE) and root mean squared error (RMSE){unit}, and R², the share of the true values' variance "
            "that is predicted"
        )
        if self.density:
            scores["count_error"] = self.count_error()
            definition += "; count error: the mean over pictures of |sum of the predicted map - sum of the true map|"
        return {
            **{name: None if math.isnan(score) else score for name, score in scores.items()},
            "pixels": self.pixels,
            "pictures": self.pictures,
            "definition": definition,
        }

    def _add_truth(self, count: int, mean: float, deviations: float) -> None:
        """Combines the moments of the true values with those of further pixels."""
        together = self.pixels + count
        if not together:
            return
        step = mean - self._mean
        self._deviations += deviations + step * step * self.pixels * count / together
        self._mean += step * count / together
        self.pixels = together
