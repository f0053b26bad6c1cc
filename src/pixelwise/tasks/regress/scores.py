"""Scores of predicted numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelwise.data.sample import Sample
from pixelwise.metrics.bootstrap import mean_margin
from pixelwise.metrics.headline import Headline
from pixelwise.metrics.values import ValueScore
from pixelwise.tasks.evaluation import Scores
from pixelwise.tasks.regress.inference import ValuePrediction

HEADLINES = (
    Headline(
        "mae",
        "mean absolute error",
        higher=False,
        definition="The mean over pixels of the difference between predicted and true value, without its sign (MAE), "
        "in the values' unit.",
        limits=(0.0, None),
    ),
    Headline(
        "rmse",
        "RMSE",
        higher=False,
        definition="The square root of the mean squared error over pixels, in the values' unit. Large errors dominate "
        "it.",
        limits=(0.0, None),
    ),
    Headline(
        "r2",
        "R²",
        definition="The share of the true values' variance that the prediction explains: 1 is perfect, and predicting "
        "their mean everywhere scores 0.",
        limits=(None, 1.0),
    ),
)


@dataclass(frozen=True, slots=True)
class PictureError:
    """The mean absolute error of one picture; NaN for a picture without values."""

    name: str
    mae: float
    pixels: int


class RegressScores(Scores[ValuePrediction]):
    """Accumulates errors over all pixels with a known value.

    Args:
        unit, name: unit and name of the values. For the name `density` the sum of a map is a count, and its error is
            measured too.

    Attributes:
        errors: the accumulated errors of all pixels.
        pictures: errors of single pictures, in the order of the updates.
    """

    headlines: Sequence[Headline] = HEADLINES

    def __init__(self, unit: str = "", name: str = "") -> None:
        self._kind = {"unit": unit, "density": name == "density"}
        self.errors = ValueScore(**self._kind)  # type: ignore[arg-type]
        self.pictures: list[PictureError] = []

    def update(self, prediction: ValuePrediction, sample: Sample) -> None:
        assert sample.values is not None
        own = ValueScore(**self._kind)  # type: ignore[arg-type]
        own.update(prediction.values, sample.values)
        self.errors.merge(own)
        self.pictures.append(PictureError(sample.name, own.mae(), own.pixels))

    def merge(self, other: RegressScores) -> None:
        self.errors.merge(other.errors)
        self.pictures += other.pictures

    def values(self) -> dict[str, float]:
        return {"mae": self.errors.mae(), "rmse": self.errors.rmse(), "r2": self.errors.r2()}

    def margin(self) -> float:
        return mean_margin(
            np.array([one.mae for one in self.pictures]), np.array([one.pixels for one in self.pictures])
        )

    def summary(self, split: str) -> dict[str, Any]:
        return {"split": split, **self.errors.summary(split), "pictures": len(self.pictures)}

    def examples(self, each: int = 3) -> list[tuple[str, list[PictureError]]]:
        """The best, the middle and the worst few pictures, without repetition and without pictures that lack values."""
        ranked = sorted((one for one in self.pictures if not np.isnan(one.mae)), key=lambda one: one.mae)
        if len(ranked) <= 3 * each:
            return [("Examples", ranked)] if ranked else []
        middle = (len(ranked) - each) // 2
        return [("Best", ranked[:each]), ("Middle", ranked[middle : middle + each]), ("Worst", ranked[-each:])]
