"""The task of classifying objects and predicting the boxes around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import Tensor, nn

from pixelwise.data.cache import SampleCache
from pixelwise.data.dataset import Dataset
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.loader import Transform
from pixelwise.data.object_windows import SIDES, ObjectWindows
from pixelwise.data.objects import ObjectCrops, Stretch, boxes_alone, largest_first
from pixelwise.data.sample import Sample
from pixelwise.data.stock import Stock
from pixelwise.errors import UserError
from pixelwise.losses import LOSSES
from pixelwise.losses.boxes import BOX_LOSSES
from pixelwise.methods.base import Criterion, Forward
from pixelwise.models.detect.localizer import Localisation
from pixelwise.models.spec import ModelSpec
from pixelwise.recipe.draft import Draft
from pixelwise.recipe.recipe import PlannedRecipe, Recipe
from pixelwise.report.blocks import Block, Section
from pixelwise.report.limits import Limit
from pixelwise.tasks.base import Snapshots, Task
from pixelwise.tasks.detect.criterion import ClassAndBox, LocalisationTargets
from pixelwise.tasks.detect.inference import BoxInference, BoxPrediction, DetectOptions, ranked_boxes
from pixelwise.tasks.detect.scores import BoxScores
from pixelwise.tasks.evaluation import Evaluation, Outcome
from pixelwise.tasks.limits import missed_classes
from pixelwise.tasks.object_data import HINT, check_objects

LONGEST = 192
"""Longer side in pixels of a training crop of a whole picture, unless the recipe sets it."""
MAX_SCALES = 6  # as many as in the paper
FARTHEST = 4.0  # largest shorter side of an enlarged picture, in windows: searching larger ones takes too long
STEP = 1.35  # factor between scales; an object fits windows over nearly twice that range


class Detect(Task):
    """Base of the tasks of networks that learn from objects with a class and a box."""

    name = "detect"
    needs = frozenset({"objects"})
    hint = HINT
    targets = LocalisationTargets
    terms = MappingProxyType({"cross_entropy": 1.0, "box_l2": 1.0})
    losses = frozenset({*LOSSES, *BOX_LOSSES})
    gives_logits = True
    paper_options = MappingProxyType({"num_classes": 1000})
    validation_batch = 16
    options = DetectOptions
    searches = False
    """Whether the networks look for all objects of a picture instead of its one main object."""

    def cache(self, recipe: Recipe | PlannedRecipe, dataset: Dataset) -> SampleCache:
        return SampleCache(dataset, objects=True, prepare=(boxes_alone,))

    def check(self, dataset: Dataset, stock: Stock) -> None:
        check_objects(dataset, stock)

    def criterion(self, recipe: PlannedRecipe, facts: Fingerprint, network: nn.Module) -> Criterion:
        return ClassAndBox(recipe, facts, per_class=bool(network.per_class))

    def logits(self, answer: Localisation) -> Tensor:
        return answer.logits

    def scores(
        self, spec: ModelSpec, folder: Path, recipe: PlannedRecipe | None = None, options: Any = None
    ) -> BoxScores:
        terms = None if recipe is None else recipe.loss.terms
        confidence = float(spec.notes.get("confidence", 0.0)) if self.searches and recipe is None else None
        return BoxScores(spec.class_names, terms=terms, confidence=confidence)

    def predictions(
        self, spec: ModelSpec, forward: Forward, network: nn.Module, samples: Sequence[Sample], images: Tensor
    ) -> list[BoxPrediction]:
        answer = forward(network, images)
        found = []
        for logits, boxes, sample in zip(answer.logits, answer.boxes, samples, strict=True):
            ranked = ranked_boxes(network, logits, boxes)
            found.append(BoxPrediction(*ranked, (), sample.image))
        return found

    def _plan(self, draft: Draft) -> None:
        """Plans what does not depend on whether the network sees whole pictures or windows."""
        values, derive = draft.values, draft.derive
        network: Any = draft.network
        if not network.num_boxes:
            raise UserError(
                f"model.regression: {values['model']['name']} predicts no boxes without its regression network; set "
                "model.regression=true."
            )
        draft.refuse("augment", "background", "backgrounds are replaced by means of masks, which are not kept here")
        draft.refuse("augment", "objects", f"{values['model']['name']} chooses its crops by itself")
        terms = values["loss"]["terms"]
        if terms is not None and BOX_LOSSES.keys().isdisjoint(terms):
            derive("optimizer", "freeze", list(network.box_branch), "the loss has no term for boxes")
        elif terms is not None and BOX_LOSSES.keys() >= terms.keys():
            why = "the loss has no term for classes; boxes are learned on fixed maps"
            derive("optimizer", "freeze", list(network.class_branch), why)
        derive("loss", "class_weights", "none", "the pixels of a class do not tell how many objects it has")
        derive("augment", "rotate", 0.0, "the box around a rotated box is too wide; cameras hardly tilt")
        derive("augment", "elastic", 0.0, "the box around a bent box is too wide")
        derive("augment", "flip", "horizontal", "left and right are alike; set none if they are not")
        draft.derive_light()

    def input_size(self, recipe: PlannedRecipe) -> tuple[int, int]:
        return recipe.crop

    def predict_flags(self, summary: Mapping[str, Any]) -> str:
        return " --overlay"

    def inference(self, network: nn.Module, spec: ModelSpec, options: DetectOptions) -> BoxInference:
        return BoxInference(network, spec, options)

    def fit(self, spec: ModelSpec) -> Callable[[np.ndarray], np.ndarray] | None:
        return None if spec.input_size is None else Stretch(spec.input_size).image

    def sections(
        self, evaluation: Evaluation, baselines: Mapping[str, float | None], snapshots: Snapshots
    ) -> list[Section]:
        from pixelwise.tasks.detect import report

        return report.evaluation_sections(evaluation)

    def limits(self, outcome: Outcome) -> list[Limit]:
        """A finding for classes that are never predicted right for the largest object, if the loss has such a term."""
        objects = outcome.facts.objects
        if objects is None or BOX_LOSSES.keys() >= outcome.recipe.loss.terms.keys():
            return []
        return missed_classes(outcome.validation.scores.confusion, objects.count, ("object", "objects"))

    def tables(self, summary: Mapping[str, Any]) -> list[Block]:
        from pixelwise.tasks.detect import report

        return report.tables(summary)


class WholePictures(Detect):
    """Task of networks that see the whole picture at once (`Localizer`)."""

    crops = 10_000

    def plan(self, draft: Draft) -> None:
        height, width = draft.facts.height[1], draft.facts.width[1]
        scale = min(1.0, LONGEST / max(height, width))
        stride = getattr(draft.network, "stride", 1)
        sides = [max(round(scale * side / stride), 1) * stride for side in (height, width)]
        draft.derive(
            "augment",
            "crop",
            sides,
            f"pictures are {height} x {width} (median); whole pictures are resized to at most about {LONGEST} to save "
            f"time, and to a multiple of the network's stride {stride}",
        )
        draft.derive_batch(8, 128, "pictures", steps=4)
        draft.derive("augment", "scale", [1.0, 1.3], "objects vary in size; the crop always lies inside the picture")
        self._plan(draft)

    def prepared(self, recipe: PlannedRecipe, dataset: Dataset, cache: SampleCache) -> SampleCache:
        """A cache that keeps pictures at the size of a crop."""
        return cache.then(boxes_alone, Stretch(recipe.crop))

    def training_transform(self, recipe: PlannedRecipe) -> Transform:
        return ObjectCrops(recipe.augment)

    def validation_transform(self, recipe: PlannedRecipe) -> Callable[[Sample], Sample]:
        return largest_first


class Windows(Detect):
    """Task of networks that see one window of a picture (`OverFeat`)."""

    crops = 100_000
    validation_batch = 64
    searches = True

    def plan(self, draft: Draft) -> None:
        facts, values, derive = draft.facts, draft.values, draft.derive
        window = draft.network.window
        assert isinstance(window, tuple)
        assert facts.objects is not None
        derive("augment", "crop", list(window), "the network's window")
        if draft.crop != window:
            found = " x ".join(map(str, draft.crop))
            raise UserError(
                f"augment.crop: {found} found, but this network takes windows of {window[0]} x {window[1]} pixels; "
                "leave it out."
            )
        draft.derive_batch(16, 128, "windows", steps=1)
        derive("augment", "scale", [1.0, 1.0], "windows are cut at several scales already")
        small, _, large = facts.objects.sides
        why = f"at these scales most objects, {small:.2f} to {large:.2f} of a picture's shorter side, fill a window"
        derive("windows", "scales", search_scales(window[0], facts.objects.sides), why)
        if min(values["windows"]["scales"]) < window[0]:
            raise UserError(
                f"windows.scales: {min(values['windows']['scales'])} found, but a picture must not be smaller than the "
                f"network's window, {window[0]} pixels; set larger scales."
            )
        self._plan(draft)

    def training_transform(self, recipe: PlannedRecipe) -> Transform:
        return self._windows(recipe)

    def validation_pieces(self, recipe: PlannedRecipe) -> Callable[[Sample], Iterator[Sample]]:
        return self._windows(recipe).fixed

    def notes(self, recipe: PlannedRecipe, facts: Fingerprint) -> dict[str, Any]:
        return {"scales": list(recipe.windows.scales), "confidence": recipe.windows.confidence}

    def _windows(self, recipe: PlannedRecipe) -> ObjectWindows:
        return ObjectWindows(recipe.crop[0], recipe.windows.scales, recipe.windows.background, recipe.augment)


def search_scales(window: int, sides: tuple[float, float, float]) -> list[int]:
    """Shorter sides of the picture, in pixels, at which objects fill windows as in training; largest objects first.

    Args:
        sides: longer sides of small, median and large objects, as shares of their picture's shorter side.
    """
    fill = math.sqrt(SIDES[0] * SIDES[1])
    farthest = FARTHEST * window
    low, high = (min(max(window / (fill * side), window), farthest) for side in (sides[2], sides[0]))
    count = min(math.ceil(math.log(high / low) / math.log(STEP) - 1e-9) + 1, MAX_SCALES)
    return [round(scale) for scale in np.geomspace(low, high, count)]
