"""A network that was measured: the accumulator of its scores, and the results."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from pixelwise.data.dataset import Dataset
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.sample import Sample
from pixelwise.inference.predictor import Prediction, Predictor
from pixelwise.metrics.headline import Headline
from pixelwise.recipe.recipe import PlannedRecipe

P = TypeVar("P", bound=Prediction)


class Scores(ABC, Generic[P]):
    """Accumulates the scores of predictions, picture by picture: in validations, at the end of runs, in `evaluate`."""

    @property
    @abstractmethod
    def headlines(self) -> Sequence[Headline]:
        """The most important scores; the first one chooses the best weights."""

    @abstractmethod
    def update(self, prediction: P, sample: Sample) -> None:
        """Adds the prediction for one picture."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Adds the pictures that another accumulator has counted."""

    @abstractmethod
    def values(self) -> dict[str, float]:
        """The values by key of the headlines that validations log, including the first; NaN if undefined."""

    def margin(self) -> float:
        """The uncertainty of the first headline for this number of pictures: half of its 95 % interval over random
        choices of pictures (`metrics.bootstrap`); NaN if scores of single pictures are not kept."""
        return math.nan

    @abstractmethod
    def summary(self, split: str) -> dict[str, Any]:
        """All scores as plain JSON values, including `definition`; undefined values are None.

        Raises:
            UserError: nothing was counted.
        """


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A network that was measured on a split.

    Attributes:
        summary: the content of `metrics.json`, which depends on data and weights only.
        scores: the accumulator that the summary was computed from.
        seconds: seconds of prediction, without reading.
    """

    predictor: Predictor
    dataset: Dataset
    split: str
    summary: Mapping[str, Any]
    scores: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished training run: its settings, and the measurements with its best weights.

    Attributes:
        facts: facts about the data, with statistics of the training pictures.
        training: measured on a sample of the training pictures; None if there was no time or nothing to compare.
    """

    recipe: PlannedRecipe
    facts: Fingerprint
    validation: Evaluation
    training: Evaluation | None = None
