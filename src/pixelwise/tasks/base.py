"""The contract of a task, which covers everything that depends on what a network learns from pictures."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from pixelwise.data.cache import SampleCache
from pixelwise.data.dataset import Dataset
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.loader import Transform
from pixelwise.data.record import Record
from pixelwise.data.sample import Sample
from pixelwise.data.stock import Stock
from pixelwise.data.targets import Targets
from pixelwise.inference.predictor import Inference, InferenceOptions, Prediction
from pixelwise.methods.base import Criterion, Forward
from pixelwise.models.spec import ModelSpec
from pixelwise.recipe.draft import Draft
from pixelwise.recipe.recipe import PlannedRecipe, Recipe
from pixelwise.report.blocks import Block, Section
from pixelwise.report.limits import Limit
from pixelwise.tasks.evaluation import Evaluation, Outcome, Scores
from pixelwise.tasks.insight import Insight
from pixelwise.tasks.labelling import Asked, Known
from pixelwise.tasks.sampling import SampleRequest

Snapshots = Callable[[str], Sequence[tuple[int, Path]]]
"""Name -> (step, file) of the snapshots with this name that a run saved, in the order of the steps."""


class Task(ABC):
    """One task, such as segmentation or classification, or one way to do it.

    Attributes:
        name: the name for `pixelwise models --task`.
        needs: words of `data.codings.KNOWLEDGE` that a dataset must know; empty if the task needs no labels.
        hint: how to prepare other data for this task, as the end of a sentence.
        layouts: layouts that are chosen wherever they are possible, since the task needs what they hold
            (`data.formats.open_dataset`).
        targets: the class of a batch's targets; None if batches have pictures only.
        terms: the default loss terms: name -> factor.
        losses: the names of losses that a recipe may use; empty if networks implement their own loss.
        gives_logits: whether networks output class logits, see `logits`.
        decided_options: options of a network's constructor that the data decides, not a recipe.
        paper_options: options of constructors with which the sizes of networks are listed.
        crops: how many crops a run without a budget sees.
        validation_batch: how many samples are validated together.
        final_validations: the time that the measurement at the end of a run takes, in validations: it may be more
            thorough than a validation, and includes some training pictures.
        options: the options of prediction.
        keeps_last: whether the weights of the last validation are kept instead of those with the best score, since no
            score says how good pictures look.
        any_size: whether a network can also be trained on crops at half their height and width.
        predicts: whether `pixelwise predict` works for this task.
        samples: the kinds of `tasks.sampling.SampleRequest` that `pixelwise sample` makes; empty for none.
        compares: whether `pixelwise evaluate --against` works: whether scores say for single pictures how unlike the
            training pictures they are.
        explains: whether networks have an output that `pixelwise explain` can trace back to pixels.
        label_units: what `pixelwise suggest` can ask to label, the default first: words of `tasks.labelling.UNITS`;
            empty for tasks whose networks have no strategies.
        references: classical methods that learn from pictures with and without labels, by name, with a description of
            each; empty for none.
        gather: what people do to have more training pictures, as the first word of a sentence.
        again: a reason and the flags for another evaluation, for the commands that a report suggests; None for none.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    hint: ClassVar[str]
    layouts: ClassVar[tuple[str, ...]] = ()
    targets: ClassVar[type[Targets] | None]
    terms: ClassVar[Mapping[str, float]] = MappingProxyType({})
    losses: ClassVar[frozenset[str]] = frozenset()
    decided_options: ClassVar[frozenset[str]] = frozenset({"in_channels", "num_classes"})
    gives_logits: ClassVar[bool] = False
    paper_options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    crops: ClassVar[int]
    validation_batch: ClassVar[int]
    final_validations: ClassVar[float] = 4.0
    options: ClassVar[type[InferenceOptions]]
    keeps_last: ClassVar[bool] = False
    any_size: ClassVar[bool] = False
    predicts: ClassVar[bool] = True
    samples: ClassVar[frozenset[str]] = frozenset()
    compares: ClassVar[bool] = False
    explains: ClassVar[bool] = True
    label_units: ClassVar[tuple[str, ...]] = ()
    references: ClassVar[Mapping[str, str]] = MappingProxyType({})
    gather: ClassVar[str] = "Label"
    again: ClassVar[tuple[str, str] | None] = None

    # The network and its data.

    def network_options(self, recipe: Recipe | PlannedRecipe, facts: Fingerprint) -> dict[str, Any]:
        """The keywords of the network's constructor: the options of the recipe, and `decided_options`."""
        decided = {"in_channels": facts.form.channels, "num_classes": len(facts.class_names)}
        return {**recipe.model.options, **decided}

    def arranged(self, dataset: Dataset, options: Mapping[str, Any]) -> Dataset:
        """The dataset as a network with these options takes it.

        Raises:
            UserError: an impossible option.
        """
        return dataset

    def class_names(self, facts: Fingerprint) -> tuple[str, ...]:
        """`ModelSpec.class_names`."""
        return facts.class_names

    def cache(self, recipe: Recipe | PlannedRecipe, dataset: Dataset) -> SampleCache:
        """The cache that keeps samples after they are read."""
        return SampleCache(dataset)

    @abstractmethod
    def check(self, dataset: Dataset, stock: Stock) -> None:
        """Checks that the data has something to learn from and something to measure on.

        Raises:
            UserError: it does not.
        """

    # The plan.

    @abstractmethod
    def plan(self, draft: Draft) -> None:
        """Decides how pictures are cropped and augmented, the batch size, and all other settings of the task.

        Raises:
            UserError: pictures or labels that the network cannot take.
        """

    def prepared(self, recipe: PlannedRecipe, dataset: Dataset, cache: SampleCache) -> SampleCache:
        """The cache for a planned recipe: the given cache if it is suitable, with what it already holds.

        Raises:
            UserError: a picture that cannot be read.
        """
        return cache

    def training_records(self, dataset: Dataset, records: Sequence[Record]) -> Sequence[Record]:
        """The labelled pictures to draw from: without pictures that have nothing to learn from; others may repeat."""
        return records

    def training_transform(self, recipe: PlannedRecipe) -> Transform:
        """The function that makes random crops of samples."""
        return recipe.augment

    def validation_transform(self, recipe: PlannedRecipe) -> Callable[[Sample], Sample] | None:
        """The function that prepares a sample for validation; None for no change."""
        return None

    def validation_pieces(self, recipe: PlannedRecipe) -> Callable[[Sample], Iterator[Sample]] | None:
        """The function that splits a sample into the parts that are validated; None for the sample itself."""
        return None

    def companions(  # noqa: B027 (most tasks need nothing)
        self, recipe: PlannedRecipe, dataset: Dataset, cache: SampleCache, folder: Path
    ) -> None:
        """Writes what `scores` needs in addition to the network into the run's folder, unless it is there."""

    # Training and measuring.

    @abstractmethod
    def criterion(self, recipe: PlannedRecipe, facts: Fingerprint, network: nn.Module) -> Criterion | None:
        """The loss between outputs and targets; None for networks that implement their own loss."""

    def logits(self, answer: Any) -> Tensor:
        """The class logits (N, K, ...) in the output of a network."""
        raise NotImplementedError(f"networks of the task '{self.name}' have no class logits")

    @abstractmethod
    def scores(
        self, spec: ModelSpec, folder: Path, recipe: PlannedRecipe | None = None, options: Any = None
    ) -> Scores[Any]:
        """An empty accumulator.

        Args:
            folder: the folder of the run or of the model file, with the files of `companions`.
            recipe: the recipe of a run, for a quick validation; None for a complete evaluation.
            options: the options of prediction that `evaluation_options` returned.
        """

    def evaluation_options(self, dataset: Dataset, options: Any) -> Any:
        """The options of prediction for an evaluation, completed with the help of the dataset.

        Raises:
            UserError: options that need labels which the dataset does not have.
        """
        return options

    def reference_score(self, name: str, dataset: Dataset, recipe: PlannedRecipe) -> float:
        """The first headline of one of the `references` on the split `val`, after it learned from the other pictures.

        Args:
            recipe: that of a network with which it is compared; it sees no more of the pictures.
        """
        raise NotImplementedError(f"the task '{self.name}' has no classical references")

    def output_names(self, spec: ModelSpec) -> tuple[str, ...]:
        """The names of the maps or logits that a network outputs: the names of the classes."""
        return spec.class_names

    @abstractmethod
    def predictions(
        self, spec: ModelSpec, forward: Forward, network: nn.Module, samples: Sequence[Sample], images: Tensor
    ) -> Sequence[Prediction]:
        """The predictions of a network in evaluation mode for samples of one size, in validation.

        Args:
            images: the pictures of the samples, (N, C, H, W) in the units of the files, on the network's device.
        """

    def snapshots(self, network: nn.Module) -> Mapping[str, np.ndarray]:
        """Pictures (H, W, 3) uint8 by name that show how far the training is; saved at each validation."""
        return {}

    def predict_flags(self, summary: Mapping[str, Any]) -> str:
        """The flags of `pixelwise predict` that a report suggests, each after a space.

        Args:
            summary: the scores on the validation pictures.
        """
        return ""

    # What ships.

    def recommended(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Entries of `ModelSpec.notes` for the shipped model that are chosen on the validation pictures.

        Args:
            summary: the scores on the validation pictures.
        """
        return {}

    def input_size(self, recipe: PlannedRecipe) -> tuple[int, int] | None:
        """`ModelSpec.input_size`: the height and width that pictures are resized to; None for any size."""
        return None

    def notes(self, recipe: PlannedRecipe, facts: Fingerprint) -> dict[str, Any]:
        """`ModelSpec.notes`: what prediction needs in addition to the rest of the spec."""
        return {}

    @abstractmethod
    def inference(self, network: nn.Module, spec: ModelSpec, options: Any) -> Inference:
        """The inference that predicts pictures of any size and kind with a network.

        Raises:
            UserError: impossible options, or a network of another task.
        """

    def write_samples(
        self, network: nn.Module, spec: ModelSpec, out: Path, request: SampleRequest
    ) -> tuple[list[Path], str]:
        """Writes pictures that the network makes, as one sheet and one file per picture; only for kinds in `samples`.

        Returns:
            The sheet and the single pictures, and a sentence on how to read the sheet.

        Raises:
            UserError: a result that exists already, or a given picture that cannot be read.
        """
        raise NotImplementedError(f"networks of the task '{self.name}' make no pictures")

    def fit(self, spec: ModelSpec) -> Callable[[np.ndarray], np.ndarray] | None:
        """The function that resizes a picture (H, W, C) to the input size of the network; None for any size."""
        return None

    def insight(self, network: nn.Module, spec: ModelSpec) -> Insight | None:
        """How `pixelwise explain` looks into a network; None for networks that output class logits."""
        return None

    def prepare_labels(self, asked: Sequence[Asked], spec: ModelSpec, out: Path) -> list[str]:
        """Writes pictures and label files into a new folder, so that a person labels only what is asked; only if there
        are `label_units`.

        Returns:
            What to do with the files, in sentences.
        """
        raise NotImplementedError(f"the task '{self.name}' has no label files to prepare")

    def write_known(self, dataset: Dataset, splits: Mapping[str, Sequence[Known]], out: Path) -> str:
        """Writes a dataset in which only some labels of another one are known, into a new folder; only if there are
        `label_units`.

        Args:
            splits: split -> its pictures.

        Returns:
            The name of the layout.
        """
        raise NotImplementedError(f"the task '{self.name}' has no partly labelled pictures")

    # The report.

    @abstractmethod
    def sections(
        self,
        evaluation: Evaluation,
        baselines: Mapping[str, float | None],
        snapshots: Snapshots,
    ) -> list[Section]:
        """The sections of the report about the predictions.

        Args:
            baselines: the headline score of each baseline by name.
            snapshots: the pictures that the method `snapshots` returned during training.
        """

    def compared(self, training: Evaluation, validation: Evaluation) -> tuple[float, float]:
        """The first headline on training and on validation pictures; NaN if they cannot be compared."""
        key = validation.scores.headlines[0].key
        first, second = (each.summary.get(key) for each in (training, validation))
        return (math.nan if first is None else first), (math.nan if second is None else second)

    def against(self, own: Evaluation, other: Evaluation) -> dict[str, Any]:
        """How well scores separate other pictures from held-out ones; only if the task `compares`."""
        raise NotImplementedError(f"the task '{self.name}' has no scores of single pictures")

    def limits(self, outcome: Outcome) -> list[Limit]:
        """Findings on what limits the result that depend on the task; `training.limits` has those of every task."""
        return []

    @abstractmethod
    def tables(self, summary: Mapping[str, Any]) -> list[Block]:
        """A summary as tables for printing."""
