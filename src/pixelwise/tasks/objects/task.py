"""The task of finding every object of a picture: its class, its box, and its outline if the network predicts one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from pixelwise.data.augment import Augmentation
from pixelwise.data.cache import SampleCache
from pixelwise.data.dataset import Dataset
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.loader import Transform
from pixelwise.data.objects import Stretch, box_areas
from pixelwise.data.sample import Sample
from pixelwise.data.stock import Stock
from pixelwise.data.targets import ObjectTargets
from pixelwise.errors import UserError
from pixelwise.methods.base import Criterion, Forward
from pixelwise.models.spec import ModelSpec
from pixelwise.recipe.draft import Draft
from pixelwise.recipe.recipe import PlannedRecipe, Recipe
from pixelwise.report.blocks import Block, Section
from pixelwise.tasks.base import Snapshots, Task
from pixelwise.tasks.crops import plan_dense_crop
from pixelwise.tasks.evaluation import Evaluation
from pixelwise.tasks.insight import Insight
from pixelwise.tasks.object_data import HINT, check_objects
from pixelwise.tasks.objects.inference import (
    ObjectInference,
    ObjectOptions,
    ObjectPrediction,
    limit_by_area,
    prediction_of,
)
from pixelwise.tasks.objects.scores import ObjectScores

LARGEST_ANCHORS = (32, 64, 128, 256, 512)
"""Sides in pixels of the anchors of the published networks, whose pictures have a shorter side of 800 pixels."""


class FindObjects(Task):
    """Task of networks that predict the boxes of all objects (`FasterRCNN`)."""

    name = "detect"
    needs = frozenset({"objects"})
    hint = HINT
    targets = ObjectTargets
    paper_options = MappingProxyType({"num_classes": 91})
    crops = 8000
    validation_batch = 1
    final_validations = 2.0
    options = ObjectOptions
    masks: ClassVar[bool] = False
    """Whether the networks predict masks as well."""

    def network_options(self, recipe: Recipe | PlannedRecipe, facts: Fingerprint) -> dict[str, Any]:
        plain = super().network_options(recipe, facts)
        return {**{key: value for key, (value, _) in self._derived(recipe.model.options, facts).items()}, **plain}

    def _derived(self, options: Mapping[str, Any], facts: Fingerprint) -> dict[str, tuple[Any, str]]:
        """Options of the network that follow from its weights and the data unless the recipe sets them, and why."""
        pretrained = options.get("weights") is not None
        found: dict[str, tuple[Any, str]] = {
            "frozen_norms": (
                pretrained,
                "a step has few pictures; the encoder's weights come with statistics of many pictures"
                if pretrained
                else "random weights have no statistics yet",
            )
        }
        return {**found, **self._proposal_options(facts)}

    def _proposal_options(self, facts: Fingerprint) -> dict[str, tuple[Any, str]]:
        """Those options that decide how a network proposes regions."""
        found: dict[str, tuple[Any, str]] = {}
        if facts.objects is not None:
            sides = facts.objects.sides
            why = f"the longer side of most objects is {sides[0]:.2f} to {sides[2]:.2f} of a picture's shorter side"
            found["anchor_sizes"] = (anchor_sizes(facts), why)
        return found

    def cache(self, recipe: Recipe | PlannedRecipe, dataset: Dataset) -> SampleCache:
        return SampleCache(dataset, objects=True, prepare=(objects_alone,))

    def check(self, dataset: Dataset, stock: Stock) -> None:
        check_objects(dataset, stock)

    def plan(self, draft: Draft) -> None:
        plan_dense_crop(
            draft, 2, self._largest_batch(draft), share=1.0
        )  # large crops, since a crop's edge changes the boxes that it cuts
        draft.derive("augment", "scale", [0.7, 1.5], "objects vary in size")
        for key, (value, why) in self._derived(draft.values["model"], draft.facts).items():
            if key not in draft.values["model"]:
                draft.values["model"][key] = value
                draft.reasons[f"model.{key}"] = why
        fixed = draft.values["model"]["frozen_norms"]
        why = (
            "frozen batch norms are merged into the convolutions at no cost"
            if fixed
            else "batch norms adapt to these pictures"
        )
        draft.derive("train", "fixed_norms", fixed, why)
        self._plan(draft)

    def _largest_batch(self, draft: Draft) -> int:
        """The most crops that a step may have."""
        return 16

    def _plan(self, draft: Draft) -> None:
        """Plans what does not depend on whether the network sees crops or whole pictures."""
        derive = draft.derive
        draft.refuse(
            "augment", "background", "backgrounds are replaced by means of class masks, which are not kept here"
        )
        draft.refuse("augment", "objects", f"{draft.values['model']['name']} learns from all objects of a crop")
        tilt = (5.0, "cameras tilt a little") if self.masks else (0.0, "the box around a rotated box is too wide")
        derive("augment", "rotate", *tilt)
        derive("augment", "elastic", 0.0, "shapes are assumed to be rigid")
        derive("augment", "flip", "horizontal", "left and right are alike; set none if they are not")
        derive("loss", "class_weights", "none", "the network brings its own loss")
        draft.derive_light()

    def training_transform(self, recipe: PlannedRecipe) -> Transform:
        return ObjectCrops(recipe.augment)

    def criterion(self, recipe: PlannedRecipe, facts: Fingerprint, network: nn.Module) -> Criterion | None:
        return None

    def scores(
        self, spec: ModelSpec, folder: Path, recipe: PlannedRecipe | None = None, options: Any = None
    ) -> ObjectScores:
        return ObjectScores(spec.class_names, masks=self.masks)

    def predictions(
        self, spec: ModelSpec, forward: Forward, network: nn.Module, samples: Sequence[Sample], images: Tensor
    ) -> list[ObjectPrediction]:
        limit_by_area(network, spec)
        found = forward(network, images)
        return [prediction_of(own, spec.class_names, sample.image) for own, sample in zip(found, samples, strict=True)]

    def predict_flags(self, summary: Mapping[str, Any]) -> str:
        return " --overlay" + (" --instances masks" if self.masks else "")

    def recommended(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        found = summary["recommended"]
        return {} if found is None else {"confidence": found["confidence"]}

    def notes(self, recipe: PlannedRecipe, facts: Fingerprint) -> dict[str, Any]:
        return {"crop": list(recipe.crop)}

    def inference(self, network: nn.Module, spec: ModelSpec, options: ObjectOptions) -> ObjectInference:
        return ObjectInference(network, spec, options)

    def fit(self, spec: ModelSpec) -> Callable[[np.ndarray], np.ndarray]:
        if spec.input_size is not None:
            return Stretch(spec.input_size).image
        from pixelwise.tasks.objects.insight import middle

        return middle

    def insight(self, network: nn.Module, spec: ModelSpec) -> Insight:
        from pixelwise.tasks.objects.region_insight import RegionInsight

        return RegionInsight(network, spec)

    def sections(
        self, evaluation: Evaluation, baselines: Mapping[str, float | None], snapshots: Snapshots
    ) -> list[Section]:
        from pixelwise.tasks.objects import report

        return report.evaluation_sections(evaluation)

    def tables(self, summary: Mapping[str, Any]) -> list[Block]:
        from pixelwise.tasks.objects import report

        return report.tables(summary)


class GridObjects(FindObjects):
    """Task of networks that see the whole picture at one size (`YOLOv1`) and have no class for the background."""

    paper_options = MappingProxyType({"num_classes": 20})
    validation_batch = 16

    def network_options(self, recipe: Recipe | PlannedRecipe, facts: Fingerprint) -> dict[str, Any]:
        decided = {"in_channels": facts.form.channels, "num_classes": max(len(facts.class_names) - 1, 1)}
        return {**recipe.model.options, **decided}

    def plan(self, draft: Draft) -> None:
        window: Any = draft.network.window
        draft.derive("augment", "crop", list(window), "the network's input size; whole pictures are stretched to it")
        if draft.crop != window:
            found = " x ".join(map(str, draft.crop))
            raise UserError(
                f"augment.crop: {found} found, but this network takes pictures of {window[0]} x {window[1]} pixels; "
                "leave it out, or set model.size."
            )
        draft.derive_batch(8, 64, "pictures", steps=4)
        draft.derive("augment", "scale", [1.0, 1.3], "objects vary in size; a crop always lies inside the picture")
        self._plan(draft)

    def prepared(self, recipe: PlannedRecipe, dataset: Dataset, cache: SampleCache) -> SampleCache:
        """A cache that keeps pictures at the network's input size."""
        return cache.then(objects_alone, Stretch(recipe.crop))

    def input_size(self, recipe: PlannedRecipe) -> tuple[int, int]:
        return recipe.crop

    def insight(self, network: nn.Module, spec: ModelSpec) -> Insight:
        from pixelwise.tasks.objects.grid_insight import GridInsight

        return GridInsight(network, spec)


class OutlineObjects(FindObjects):
    """Task of networks that predict the masks of all objects (`MaskRCNN`)."""

    needs = frozenset({"outlines"})
    masks = True


def anchor_sizes(facts: Fingerprint) -> list[int]:
    """Sides in pixels of the anchors of the five levels, each twice the one before.

    They are the published sides, halved until the finest is no longer than the small objects of the data.
    """
    assert facts.objects is not None
    small = facts.objects.sides[0] * min(facts.height[1], facts.width[1])
    sizes = list(LARGEST_ANCHORS)
    while sizes[0] > max(small, 8):
        sizes = [size // 2 for size in sizes]
    return sizes


def objects_alone(sample: Sample) -> Sample:
    """Removes the mask from a sample, and notes the whole box of each object, to compare it with its part in a crop."""
    objects = sample.instances
    if objects is not None:
        objects = replace(objects, extents=objects.boxes.astype(np.float32))
    return replace(sample, mask=None, instances=objects)


MIN_VISIBLE = 0.2
"""Least share of a box's area that must lie in a crop for the object to count there."""


@dataclass(frozen=True, slots=True)
class ObjectCrops:
    """Random crops of samples with their objects, whose boxes are clipped to the crop.

    An object without an outline counts if a fifth of its box lies in the crop. An outlined object counts if at least
    one of its pixels does.
    """

    augment: Augmentation

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        crop = self.augment(sample, rng)
        objects = crop.instances
        if objects is None or objects.ids is not None or objects.extents is None:
            return crop
        kept = box_areas(objects.boxes) >= MIN_VISIBLE * box_areas(objects.extents)
        return replace(crop, instances=objects.select(kept))
