"""Classes of objects and boxes around them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pixelwise.data.dataset import Dataset
from pixelwise.data.loader import SampleCache, Transform, prefetch
from pixelwise.data.object_windows import SIDES, ObjectWindows
from pixelwise.data.objects import ObjectFacts, ObjectViews, Stretch, aimed, boxes_alone, object_facts
from pixelwise.data.sample import Sample
from pixelwise.errors import UserError
from pixelwise.losses.boxes import BOX_LOSSES, LocalisationLoss
from pixelwise.methods.localisation import ClassAndBox
from pixelwise.training.draft import Draft
from pixelwise.training.recipe import Recipe
from pixelwise.training.tasks.base import Task, class_loss
from pixelwise.training.tasks.segment import light

LONGEST = 192
"""Longer side of a view of a whole picture unless asked for."""
MOST_SCALES = 6  # as many as the paper's
FARTHEST = 4.0  # of the shorter side of an enlarged picture, in windows: beyond, searching takes too long
STEP = 1.35  # between scales; an object fits windows of nearly twice that range


class Detect(Task):
    """What all networks need that learn from objects with a class and a box."""

    method = ClassAndBox
    data = "segment"
    measured_together = 16

    def cache(self, recipe: Recipe, dataset: Dataset) -> SampleCache:
        return SampleCache(dataset, objects=True, prepare=boxes_alone)

    def check(self, recipe: Recipe, dataset: Dataset, cache: SampleCache) -> ObjectFacts:
        """Every label is read; see `Task.check`."""
        facts = {}
        for split, what in (("train", "there is nothing to find"), ("val", "nothing could be measured")):
            facts[split] = object_facts(prefetch(cache.load, dataset.split(split)), len(dataset.class_names))
            if facts[split] is None and dataset.coding.kind in {"ids", "binary"}:
                raise UserError(
                    f"{dataset.root}: the masks say which pixels are of a class, but not which objects there are, and "
                    f"{recipe.model.name} learns from objects; write them as COCO, where every connected region of a "
                    f"class is one (pixelwise convert {dataset.root} --to coco --out DIR), or see docs/data.md."
                )
            if facts[split] is None:
                raise UserError(f"{dataset.root}: no object in the pictures of the split '{split}', so {what}.")
        assert facts["train"] is not None
        return facts["train"]

    def loss(self, recipe: Recipe, class_weights: tuple[float, ...] | None) -> LocalisationLoss:
        terms = recipe.loss.terms or {}
        boxes = {name: factor for name, factor in terms.items() if name in BOX_LOSSES}
        classes = {name: factor for name, factor in terms.items() if name not in BOX_LOSSES}
        ignored = self.method.ignore_index
        return LocalisationLoss(class_loss(recipe, classes, class_weights, ignored) if classes else None, boxes)

    def _plan(self, draft: Draft) -> None:
        """What does not depend on what is looked at."""
        values, derive = draft.values, draft.derive
        network: Any = draft.network
        if not network.num_boxes:
            raise UserError(
                f"model.regression: {values['model']['name']} gives no boxes without its regression network; set "
                "model.regression=true."
            )
        draft.refuse("augment", "background", "backgrounds are replaced by means of masks, which are not kept here")
        draft.refuse("augment", "objects", f"{values['model']['name']} chooses by itself what is in a view")
        terms = values["loss"]["terms"]
        if terms is not None and BOX_LOSSES.keys().isdisjoint(terms):
            derive("optimizer", "freeze", list(network.box_branch), "there is no loss of boxes")
        elif terms is not None and BOX_LOSSES.keys() >= terms.keys():
            why = "there is no loss of classes; boxes are learned on maps that stay as they are"
            derive("optimizer", "freeze", list(network.class_branch), why)
        derive("loss", "class_weights", "none", "how often a class is the object does not follow from its pixels")
        derive("augment", "rotate", 0.0, "the box around a turned box is too wide; cameras hardly tilt")
        derive("augment", "elastic", 0.0, "boxes of what is bent are too wide")
        derive("augment", "flip", "horizontal", "left and right are alike; set none where they are not")
        light(draft)

    def view(self, recipe: Recipe) -> tuple[int, int] | None:
        return recipe.augment.complete().crop


class WholePictures(Detect):
    """For networks that see the whole picture at once (`Localizer`)."""

    views = 10_000

    def plan(self, draft: Draft) -> None:
        height, width = draft.facts.height[1], draft.facts.width[1]
        scale = min(1.0, LONGEST / max(height, width))
        stride = getattr(draft.network, "stride", 1)
        sides = [max(round(scale * side / stride), 1) * stride for side in (height, width)]
        draft.derive(
            "augment",
            "crop",
            sides,
            f"pictures are {height} x {width} (median); at most about {LONGEST} for time, a multiple of the network's "
            f"stride {stride}, and all of a picture is brought to it",
        )
        draft.derive_batch(8, 128, "pictures", steps=4)
        draft.derive("augment", "scale", [1.0, 1.3], "things come in sizes; the view always lies inside the picture")
        self._plan(draft)

    def prepared(self, recipe: Recipe, dataset: Dataset, cache: SampleCache) -> SampleCache:
        """Pictures are kept at the size of a view."""
        stretch = Stretch(recipe.augment.complete().crop)
        if cache.prepare == stretch:
            return cache
        return SampleCache(dataset, limit=cache.limit, objects=True, prepare=stretch)

    def training_view(self, recipe: Recipe) -> Transform:
        return ObjectViews(recipe.augment.complete())

    def measured_view(self, recipe: Recipe) -> Callable[[Sample], Sample] | None:
        return aimed


class Windows(Detect):
    """For networks that see one window of a picture (`OverFeat`)."""

    views = 100_000
    measured_together = 64

    def plan(self, draft: Draft) -> None:
        facts, values, derive = draft.facts, draft.values, draft.derive
        window = draft.network.window
        assert isinstance(window, tuple)
        assert facts.objects is not None
        derive("augment", "crop", list(window), "the network's window")
        if draft.crop != window:
            found = " x ".join(map(str, draft.crop))
            raise UserError(
                f"augment.crop: {found} found, but this network looks at windows of {window[0]} x {window[1]} pixels; "
                "leave it out."
            )
        draft.derive_batch(16, 128, "windows", steps=1)
        derive("augment", "scale", [1.0, 1.0], "windows come in sizes by themselves")
        small, _, large = facts.objects.sides
        why = f"at these most objects, {small:.2f} to {large:.2f} of a picture's shorter side, fill a window"
        derive("windows", "scales", search_scales(window[0], facts.objects.sides), why)
        if min(values["windows"]["scales"]) < window[0]:
            raise UserError(
                f"windows.scales: {min(values['windows']['scales'])} found, but a picture must not be smaller than the "
                f"network's window, {window[0]} pixels; set larger ones."
            )
        self._plan(draft)

    def prepared(self, recipe: Recipe, dataset: Dataset, cache: SampleCache) -> SampleCache:
        return cache

    def training_view(self, recipe: Recipe) -> Transform:
        return self._windows(recipe)

    def measured_view(self, recipe: Recipe) -> Callable[[Sample], Sample] | None:
        return None

    def measured_pieces(self, recipe: Recipe) -> Callable[[Sample], Iterator[Sample]] | None:
        return self._windows(recipe).fixed

    def notes(self, recipe: Recipe) -> dict[str, Any]:
        assert recipe.windows.scales is not None
        return {"scales": list(recipe.windows.scales), "confidence": recipe.windows.confidence}

    def _windows(self, recipe: Recipe) -> ObjectWindows:
        views = recipe.augment.complete()
        assert recipe.windows.scales is not None
        return ObjectWindows(views.crop[0], recipe.windows.scales, recipe.windows.background, views)


def search_scales(window: int, sides: tuple[float, float, float]) -> list[int]:
    """Shorter sides in pixels at which objects fill windows as in training, from the largest objects to the smallest.

    Args:
        sides: longer sides of objects as shares of their picture's shorter side: small, middle, large.
    """
    fill = math.sqrt(SIDES[0] * SIDES[1])
    farthest = FARTHEST * window
    low, high = (min(max(window / (fill * side), window), farthest) for side in (sides[2], sides[0]))
    count = min(math.ceil(math.log(high / low) / math.log(STEP) - 1e-9) + 1, MOST_SCALES)
    return [round(scale) for scale in np.geomspace(low, high, count)]
