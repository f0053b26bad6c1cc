"""What a training needs that depends on what is learned; everything else is the session's and the loop's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from pixelwise.data.dataset import Dataset
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.loader import SampleCache, Transform
from pixelwise.data.sample import Sample
from pixelwise.methods.supervised import Supervised
from pixelwise.training.recipe import Recipe


class Derive(Protocol):
    """Fills in what a recipe leaves open."""

    def __call__(self, section: str, key: str, value: Any, why: str) -> None: ...


class Task(ABC):
    """One of the tasks of `models.catalog.Entry`.

    Attributes:
        method: how networks of the task are taught.
        views: of a training without a budget.
        measured_together: samples of a batch in validation.
    """

    method: type[Supervised]
    views: int
    measured_together: int

    @abstractmethod
    def check(self, recipe: Recipe, dataset: Dataset, cache: SampleCache) -> None:
        """Whether there is something to learn and to measure by.

        Raises:
            UserError: there is not, or a label cannot be used.
        """

    @abstractmethod
    def plan(
        self,
        recipe: Recipe,
        values: dict[str, Any],
        facts: Fingerprint,
        network: nn.Module,
        device: torch.device,
        derive: Derive,
    ) -> None:
        """Decides what is seen of a picture and how many go into a step. `values` is the recipe so far.

        Raises:
            UserError: pictures that the network cannot take.
        """

    @abstractmethod
    def prepared(self, recipe: Recipe, dataset: Dataset, cache: SampleCache) -> SampleCache:
        """The cache for a planned recipe: the same one if it serves, with what it already holds.

        Raises:
            UserError: a picture that cannot be read.
        """

    @abstractmethod
    def training_view(self, recipe: Recipe) -> Transform:
        """What makes random views of samples."""

    @abstractmethod
    def measured_view(self, recipe: Recipe) -> Callable[[Sample], Sample] | None:
        """What is done to a sample to be measured; None for nothing."""

    @abstractmethod
    def view(self, recipe: Recipe) -> tuple[int, int] | None:
        """`ModelSpec.view`."""
