"""What a training needs that depends on what is learned; everything else is the session's and the loop's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pixelwise.data.dataset import Dataset
from pixelwise.data.loader import SampleCache, Transform
from pixelwise.data.objects import ObjectFacts
from pixelwise.data.sample import Sample
from pixelwise.losses import LossSum
from pixelwise.methods.supervised import Supervised
from pixelwise.training.draft import Draft
from pixelwise.training.recipe import Recipe


class Task(ABC):
    """One of the tasks of `models.catalog.Entry`, or one way to do it.

    Attributes:
        method: how networks of the task are taught.
        data: what `Dataset.task` must be.
        views: of a training without a budget.
        measured_together: samples of a batch in validation.
    """

    method: type[Supervised]
    data: str
    views: int
    measured_together: int

    def cache(self, recipe: Recipe, dataset: Dataset) -> SampleCache:
        """Where samples are kept once they are read."""
        return SampleCache(dataset)

    @abstractmethod
    def check(self, recipe: Recipe, dataset: Dataset, cache: SampleCache) -> ObjectFacts | None:
        """Whether there is something to learn and to measure by.

        Returns:
            Facts about the objects of the training pictures, where the task is about objects.

        Raises:
            UserError: there is not, or a label cannot be used.
        """

    @abstractmethod
    def plan(self, draft: Draft) -> None:
        """Decides what is seen of a picture and how many go into a step.

        Raises:
            UserError: pictures that the network cannot take.
        """

    @abstractmethod
    def prepared(self, recipe: Recipe, dataset: Dataset, cache: SampleCache) -> SampleCache:
        """The cache for a planned recipe: the same one if it serves, with what it already holds.

        Raises:
            UserError: a picture that cannot be read.
        """

    def loss(self, recipe: Recipe, class_weights: tuple[float, ...] | None) -> Any:
        """What the method takes as its loss."""
        return class_loss(recipe, recipe.loss.terms or {}, class_weights, self.method.ignore_index)

    @abstractmethod
    def training_view(self, recipe: Recipe) -> Transform:
        """What makes random views of samples."""

    @abstractmethod
    def measured_view(self, recipe: Recipe) -> Callable[[Sample], Sample] | None:
        """What is done to a sample to be measured; None for nothing."""

    def measured_pieces(self, recipe: Recipe) -> Callable[[Sample], Iterator[Sample]] | None:
        """The parts of a sample that it is measured by; None for large windows side by side."""
        return None

    @abstractmethod
    def view(self, recipe: Recipe) -> tuple[int, int] | None:
        """`ModelSpec.view`."""

    def notes(self, recipe: Recipe) -> dict[str, Any]:
        """`ModelSpec.notes`."""
        return {}


def class_loss(
    recipe: Recipe, terms: Mapping[str, float], class_weights: tuple[float, ...] | None, ignore_index: int
) -> LossSum:
    """The sum of those losses of classes, as a recipe sets them."""
    return LossSum(
        terms,
        class_weights=class_weights,
        label_smoothing=recipe.loss.label_smoothing,
        focal_gamma=recipe.loss.focal_gamma,
        ignore_index=ignore_index,
        lovasz_per_image=recipe.loss.lovasz_per_image,
        lovasz_only_present=recipe.loss.lovasz_only_present,
    )
