"""What a task is: everything that depends on what is learned from pictures, behind one contract."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from torch import Tensor, nn

from pixelwise.data.cache import SampleCache
from pixelwise.data.dataset import Dataset
from pixelwise.data.fingerprint import Fingerprint, Stock
from pixelwise.data.loader import Transform
from pixelwise.data.sample import Sample
from pixelwise.data.targets import Targets
from pixelwise.inference.predictor import Inference, InferenceOptions, Prediction, Predictor
from pixelwise.methods.base import Criterion, Forward
from pixelwise.metrics.headline import Headline
from pixelwise.models.spec import ModelSpec
from pixelwise.recipe.draft import Draft
from pixelwise.recipe.recipe import PlannedRecipe, Recipe
from pixelwise.report.blocks import Block, Section
from pixelwise.report.limits import Limit
from pixelwise.tasks.insight import Insight

P = TypeVar("P", bound=Prediction)
Snapshots = Callable[[str], Sequence[tuple[int, Path]]]
"""Name -> (step, file) of the pictures of that name that a run kept, in the order of the steps."""


class Scores(ABC, Generic[P]):
    """Accumulates how good predictions are, one picture at a time: in validation, at the end and in `evaluate`."""

    @property
    @abstractmethod
    def headlines(self) -> Sequence[Headline]:
        """The scores that stand for all others; the first one chooses the best weights."""

    @abstractmethod
    def update(self, prediction: P, sample: Sample) -> None:
        """Adds one picture."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Adds the pictures that another one has counted."""

    @abstractmethod
    def values(self) -> dict[str, float]:
        """The values by key of those headlines that validations log, the first one among them; NaN for what is
        undefined."""

    def margin(self) -> float:
        """By how much the first headline is uncertain for the number of pictures: half of its 95 % interval over other
        choices of pictures (`metrics.bootstrap`); NaN where single pictures are not kept."""
        return math.nan

    @abstractmethod
    def summary(self, split: str) -> dict[str, Any]:
        """Everything as plain JSON values, `definition` among them; what is undefined is None.

        Raises:
            UserError: nothing was counted.
        """


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A network measured on a split.

    Attributes:
        summary: what `metrics.json` holds; depends on data and weights alone.
        scores: what it was computed from.
        seconds: of prediction, without reading.
    """

    predictor: Predictor
    dataset: Dataset
    split: str
    summary: Mapping[str, Any]
    scores: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished training run: what was asked, and what was measured with its best weights.

    Attributes:
        facts: about the data, statistics of the training pictures.
        training: of a sample of the training pictures; None where there was no time for one, or nothing to compare.
    """

    recipe: PlannedRecipe
    facts: Fingerprint
    validation: Evaluation
    training: Evaluation | None = None


class Task(ABC):
    """One thing that can be asked of a picture, or one way to do it.

    Attributes:
        name: as `pixelwise models --task` takes it.
        needs: words of `data.dataset.KNOWLEDGE` that a dataset must know; none for what needs no labels.
        hint: how to get there from other data, the end of a sentence.
        targets: the labels of a batch; None for pictures alone.
        terms: the loss unless a recipe names another: name -> factor.
        losses: the names that a recipe may use; none where networks bring their own loss.
        gives_logits: whether networks answer class logits, see `logits`.
        decided_options: of a network's constructor, those that the data decides rather than a recipe.
        paper_options: of constructors, with which sizes of networks are listed.
        crops: how many are seen by a run without a budget.
        validation_batch: samples that are validated together.
        options: what prediction takes.
        any_size: whether the same at half the size teaches a network as well.
        predicts, samples: whether `pixelwise predict` and `pixelwise sample` have something to do.
        explains: whether there is an answer for a picture that `pixelwise explain` could trace back to its pixels.
        again: of the commands that a report suggests: a reason and flags to evaluate once more with; None for nothing.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    hint: ClassVar[str]
    targets: ClassVar[type[Targets] | None]
    terms: ClassVar[Mapping[str, float]] = MappingProxyType({})
    losses: ClassVar[frozenset[str]] = frozenset()
    decided_options: ClassVar[frozenset[str]] = frozenset({"in_channels", "num_classes"})
    gives_logits: ClassVar[bool] = False
    paper_options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    crops: ClassVar[int]
    validation_batch: ClassVar[int]
    options: ClassVar[type[InferenceOptions]]
    any_size: ClassVar[bool] = False
    predicts: ClassVar[bool] = True
    samples: ClassVar[bool] = False
    explains: ClassVar[bool] = True
    again: ClassVar[tuple[str, str] | None] = None

    # The network and its data.

    def network_options(self, recipe: Recipe | PlannedRecipe, facts: Fingerprint) -> dict[str, Any]:
        """The keywords of the network's constructor: those of the recipe, and `decided_options`."""
        decided = {"in_channels": facts.form.channels, "num_classes": len(facts.class_names)}
        return {**recipe.model.options, **decided}

    def class_names(self, facts: Fingerprint) -> tuple[str, ...]:
        """`ModelSpec.class_names`."""
        return facts.class_names

    def cache(self, recipe: Recipe | PlannedRecipe, dataset: Dataset) -> SampleCache:
        """Where samples are kept once they are read."""
        return SampleCache(dataset)

    @abstractmethod
    def check(self, dataset: Dataset, stock: Stock) -> None:
        """Finds out whether there is something to learn and to measure by.

        Raises:
            UserError: there is not.
        """

    # The plan.

    @abstractmethod
    def plan(self, draft: Draft) -> None:
        """Decides how pictures are cropped and augmented, how many go into a step, and whatever else is the task's.

        Raises:
            UserError: pictures or labels that the network cannot take.
        """

    def prepared(self, recipe: PlannedRecipe, dataset: Dataset, cache: SampleCache) -> SampleCache:
        """The cache for a planned recipe: the same one if it serves, with what it already holds.

        Raises:
            UserError: a picture that cannot be read.
        """
        return cache

    def training_transform(self, recipe: PlannedRecipe) -> Transform:
        """What makes random crops of samples."""
        return recipe.augment

    def validation_transform(self, recipe: PlannedRecipe) -> Callable[[Sample], Sample] | None:
        """What is done to a sample to be validated; None for nothing."""
        return None

    def validation_pieces(self, recipe: PlannedRecipe) -> Callable[[Sample], Iterator[Sample]] | None:
        """The parts of a sample that it is validated by; None for the sample itself."""
        return None

    def companions(  # noqa: B027 (most tasks need nothing)
        self, recipe: PlannedRecipe, dataset: Dataset, cache: SampleCache, folder: Path
    ) -> None:
        """Writes what `scores` needs beside the network into the run's folder, unless it is there."""

    # Teaching and measuring.

    @abstractmethod
    def criterion(self, recipe: PlannedRecipe, facts: Fingerprint, network: nn.Module) -> Criterion | None:
        """What is minimised between answers and targets; None for networks that bring their own loss."""

    def logits(self, answer: Any) -> Tensor:
        """Of what a network answers the class logits (N, K, ...)."""
        raise NotImplementedError(f"networks of the task '{self.name}' answer no class logits")

    @abstractmethod
    def scores(
        self, spec: ModelSpec, folder: Path, recipe: PlannedRecipe | None = None, options: Any = None
    ) -> Scores[Any]:
        """An empty accumulator.

        Args:
            folder: of the run, or of the model file: what `companions` put there may be needed.
            recipe: of a run whose validations are to be counted, quickly; None for a complete evaluation.
            options: of the prediction, as `evaluation_options` gave them.
        """

    def evaluation_options(self, dataset: Dataset, options: Any) -> Any:
        """The options of prediction for an evaluation, completed from what the data knows.

        Raises:
            UserError: options that ask for what the data does not know.
        """
        return options

    def answers(self, spec: ModelSpec) -> tuple[str, ...]:
        """Names of the maps or logits that a network answers: those of the classes."""
        return spec.class_names

    @abstractmethod
    def predictions(
        self, spec: ModelSpec, forward: Forward, network: nn.Module, samples: Sequence[Sample], images: Tensor
    ) -> Sequence[Prediction]:
        """What a network in evaluation mode predicts for samples of one size, in validation.

        Args:
            images: of the samples, (N, C, H, W) in the units of the files, on the network's device.
        """

    def snapshots(self, network: nn.Module) -> Mapping[str, np.ndarray]:
        """Pictures (H, W, 3) uint8 that show how far the training is, by name; kept at each validation."""
        return {}

    def predict_flags(self, summary: Mapping[str, Any]) -> str:
        """What a report suggests that `pixelwise predict` be told, each flag after a space.

        Args:
            summary: of the scores on the validation pictures.
        """
        return ""

    # What ships.

    def recommended(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Entries of `ModelSpec.notes` that were chosen on the validation pictures, for the shipped model.

        Args:
            summary: of the scores on them.
        """
        return {}

    def view(self, recipe: PlannedRecipe) -> tuple[int, int] | None:
        """`ModelSpec.view`: height and width that pictures are brought to; None for any size."""
        return None

    def notes(self, recipe: PlannedRecipe, facts: Fingerprint) -> dict[str, Any]:
        """`ModelSpec.notes`: what prediction needs beside the rest of the spec."""
        return {}

    @abstractmethod
    def inference(self, network: nn.Module, spec: ModelSpec, options: Any) -> Inference:
        """How a network is asked about pictures of any size and kind.

        Raises:
            UserError: options that are impossible, or a network of another task.
        """

    def write_samples(self, network: nn.Module, spec: ModelSpec, out: Path, *, count: int, seed: int) -> list[Path]:
        """Pictures that the network makes, written as one sheet and a file for each; only where `samples`.

        Raises:
            UserError: a result that exists already.
        """
        raise NotImplementedError(f"networks of the task '{self.name}' make no pictures")

    def fit(self, spec: ModelSpec) -> Callable[[np.ndarray], np.ndarray] | None:
        """What brings a picture (H, W, C) to the size that the network looks at; None where any size will do."""
        return None

    def insight(self, network: nn.Module, spec: ModelSpec) -> Insight | None:
        """How `pixelwise explain` looks into a network; None for those that answer class logits."""
        return None

    # What people look at.

    @abstractmethod
    def sections(
        self,
        evaluation: Evaluation,
        baselines: Mapping[str, float | None],
        snapshots: Snapshots,
    ) -> list[Section]:
        """The sections of the report that are about the answers.

        Args:
            baselines: the first headline's value for what was not learned by this run, by name.
            snapshots: the pictures that the method `snapshots` gave while training.
        """

    def compared(self, training: Evaluation, validation: Evaluation) -> tuple[float, float]:
        """The first headline on training and on validation pictures, as far as they can be compared; NaN where not."""
        key = validation.scores.headlines[0].key
        first, second = (each.summary.get(key) for each in (training, validation))
        return (math.nan if first is None else first), (math.nan if second is None else second)

    def limits(self, outcome: Outcome) -> list[Limit]:
        """What limits the result, as far as it depends on the task; `training.limits` has what every task has."""
        return []

    @abstractmethod
    def tables(self, summary: Mapping[str, Any]) -> list[Block]:
        """A summary as it is printed."""
