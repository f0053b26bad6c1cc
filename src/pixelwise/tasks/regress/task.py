"""The task of predicting a number per pixel: depth, height, density, distance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.data.dataset import Dataset
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.loader import windows
from pixelwise.data.sample import Sample
from pixelwise.data.stock import Stock
from pixelwise.data.targets import ValueTargets
from pixelwise.errors import UserError
from pixelwise.losses.values import VALUE_LOSSES
from pixelwise.methods.base import Criterion, Forward
from pixelwise.models.spec import ModelSpec
from pixelwise.recipe.draft import Draft
from pixelwise.recipe.recipe import PlannedRecipe, Recipe
from pixelwise.report.blocks import Block, Section
from pixelwise.tasks.base import Snapshots, Task
from pixelwise.tasks.crops import plan_dense_crop
from pixelwise.tasks.evaluation import Evaluation
from pixelwise.tasks.regress.inference import RegressInference, RegressOptions, ValuePrediction, rescaled
from pixelwise.tasks.regress.scores import RegressScores


class Regress(Task):
    """Regression by any dense network with one output.

    Long et al., CVPR 2015, describe the network; Lempitsky 2010 describes regression of densities.

    Networks learn values as standard deviations from their mean, so that losses and learning rates mean the same for
    metres and for micrometres; predictions are in the data's unit.
    """

    name = "regress"
    needs = frozenset({"values"})
    hint = "add a map of numbers per picture (docs/data.md)"
    targets = ValueTargets
    terms = MappingProxyType({"huber": 1.0})
    losses = frozenset(VALUE_LOSSES)
    crops = 8000
    validation_batch = 4
    options = RegressOptions

    def network_options(self, recipe: Recipe | PlannedRecipe, facts: Fingerprint) -> dict[str, Any]:
        return {**recipe.model.options, "in_channels": facts.form.channels, "num_classes": 1}

    def class_names(self, facts: Fingerprint) -> tuple[str, ...]:
        return ()

    def check(self, dataset: Dataset, stock: Stock) -> None:
        for split, what in (("train", "there is nothing to learn"), ("val", "nothing could be measured")):
            facts = stock.values[split]
            if facts is None:
                raise UserError(
                    f"{dataset.root}: no pixel of the split '{split}' has a value, so {what}; add maps to some of its "
                    "pictures, or move pictures there from another split."
                )
            if split == "train" and facts.std == 0:
                raise UserError(
                    f"{dataset.root}: every pixel of the split 'train' has the value {facts.mean:g}, so {what}; check "
                    "the maps."
                )

    def plan(self, draft: Draft) -> None:
        derive = draft.derive
        for key in ("background", "objects"):
            draft.refuse("augment", key, "maps of numbers have no classes")
        plan_dense_crop(draft, 2, 16)
        derive("augment", "scale", [1.0, 1.0], "magnifying a picture may change its true values")
        derive("augment", "rotate", 5.0, "cameras tilt a little")
        derive("augment", "flip", "horizontal", "left and right are alike; set both if up and down are alike too")
        derive("augment", "elastic", 0.0, "bending a picture may change its true values")
        draft.derive_light()

    def validation_pieces(self, recipe: PlannedRecipe) -> Callable[[Sample], Iterator[Sample]]:
        return windows

    def criterion(self, recipe: PlannedRecipe, facts: Fingerprint, network: nn.Module) -> Criterion:
        terms = recipe.loss.terms
        assert facts.values is not None
        mean, std = facts.values.mean, facts.values.std

        def criterion(answer: Tensor, targets: ValueTargets) -> dict[str, Tensor]:
            standardised = (targets.values - mean) / std
            values = {name: VALUE_LOSSES[name](answer, standardised) for name in terms}
            return {**values, "loss": torch.stack([terms[name] * value for name, value in values.items()]).sum()}

        return criterion

    def scores(
        self, spec: ModelSpec, folder: Path, recipe: PlannedRecipe | None = None, options: Any = None
    ) -> RegressScores:
        return RegressScores(spec.notes.get("unit", ""), spec.notes.get("name", ""))

    def predictions(
        self, spec: ModelSpec, forward: Forward, network: nn.Module, samples: Sequence[Sample], images: Tensor
    ) -> list[ValuePrediction]:
        answers = forward(network, images).float().cpu().numpy()[:, 0]
        return [
            ValuePrediction(rescaled(own, spec), spec.notes.get("unit", ""), sample.image)
            for own, sample in zip(answers, samples, strict=True)
        ]

    def notes(self, recipe: PlannedRecipe, facts: Fingerprint) -> dict[str, Any]:
        assert facts.values is not None
        values = facts.values
        return {
            "mean": values.mean,
            "std": values.std,
            "low": values.low,
            "high": values.high,
            "name": values.name,
            "unit": values.unit,
        }

    def output_names(self, spec: ModelSpec) -> tuple[str, ...]:
        return (spec.notes.get("name") or "value",)

    def predict_flags(self, summary: Mapping[str, Any]) -> str:
        return " --overlay"

    def inference(self, network: nn.Module, spec: ModelSpec, options: RegressOptions) -> RegressInference:
        return RegressInference(network, spec, options)

    def sections(
        self, evaluation: Evaluation, baselines: Mapping[str, float | None], snapshots: Snapshots
    ) -> list[Section]:
        from pixelwise.tasks.regress import report

        return report.evaluation_sections(evaluation, baselines)

    def tables(self, summary: Mapping[str, Any]) -> list[Block]:
        from pixelwise.tasks.regress import report

        return report.tables(summary)
