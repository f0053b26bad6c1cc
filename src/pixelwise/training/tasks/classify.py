"""A class for each picture as a whole."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from pixelwise.data.dataset import Dataset
from pixelwise.data.fit import Centre, Cover
from pixelwise.data.loader import SampleCache, Transform
from pixelwise.data.sample import Sample
from pixelwise.errors import UserError
from pixelwise.methods.classification import Classification
from pixelwise.training.draft import Draft
from pixelwise.training.recipe import Recipe
from pixelwise.training.tasks.base import Task
from pixelwise.training.tasks.segment import light

SIDE = 224
"""Longest side of a view unless asked for: what published networks were trained with."""
SIGN_SIDE = 48
"""Grey pictures up to this are taken for signs (digits, letters): their mirror images are other signs or none."""


class Classify(Task):
    method = Classification
    data = "classify"
    views = 20_000
    measured_together = 64

    def check(self, recipe: Recipe, dataset: Dataset, cache: SampleCache) -> None:
        for split, least in (("train", 2), ("val", 1)):
            found = {record.class_id for record in dataset.split(split) if record.class_id is not None}
            if len(found) < least:
                held = f"all pictures of the split '{split}' are of the class '{dataset.class_names[min(found)]}'"
                if not found:
                    held = f"no picture of the split '{split}' has a class"
                raise UserError(
                    f"{dataset.root}: {held}, so there is nothing to tell apart; give two classes or more, each with "
                    "two pictures or more."
                )

    def plan(self, draft: Draft) -> None:
        for key in ("background", "objects"):
            draft.refuse("augment", key, "pictures sorted into classes have no masks")
        _size(draft)
        draft.derive_batch(8, 128, "pictures", steps=8)
        facts, derive = draft.facts, draft.derive
        if facts.form.channels == 1 and max(facts.height[1], facts.width[1]) <= SIGN_SIDE:
            derive("augment", "scale", [0.9, 1.1], "small grey pictures are taken for signs such as digits")
            derive("augment", "rotate", 8.0, "signs are written a little askew")
            derive("augment", "flip", "none", "the mirror image of a sign is another one, or none")
            derive("augment", "brightness", 0.0, "signs have their own black and white")
            derive("augment", "contrast", 0.0, "signs have their own black and white")
        else:
            derive("augment", "scale", [1.0, 1.6], "things come in sizes; the view always lies inside the picture")
            derive("augment", "rotate", 5.0, "cameras tilt a little")
            derive("augment", "flip", "horizontal", "left and right are alike; set none where they are not")
        light(draft)

    def prepared(self, recipe: Recipe, dataset: Dataset, cache: SampleCache) -> SampleCache:
        """Pictures are kept at the size that views of them are made from; all are read once."""
        cover = Cover(recipe.augment.complete().crop)
        if cache.prepare == cover:
            return cache
        cache = SampleCache(dataset, limit=cache.limit, prepare=cover)
        records = [record for split in ("train", "val") for record in dataset.split(split)]
        with ThreadPoolExecutor(thread_name_prefix="pixelwise-check") as pool:
            for _ in pool.map(cache.load, records):
                pass
        return cache

    def training_view(self, recipe: Recipe) -> Transform:
        return recipe.augment.complete()

    def measured_view(self, recipe: Recipe) -> Callable[[Sample], Sample] | None:
        return Centre(recipe.augment.complete().crop)

    def view(self, recipe: Recipe) -> tuple[int, int] | None:
        return recipe.augment.complete().crop


def _size(draft: Draft) -> None:
    """The view: a square of the pictures' own size, within what the network takes."""
    facts, network = draft.facts, draft.network
    window = getattr(network, "window", None)
    smallest = getattr(network, "smallest", 1)
    size = f"{facts.height[1]} x {facts.width[1]}"
    if window is not None:
        draft.derive("augment", "crop", list(window), "the one size that this network takes")
    else:
        own = min(facts.height[1], facts.width[1])
        # Below its stride the last map is a single place: batch norm there has hardly anything to go by.
        side = max(min(own, SIDE), smallest, *getattr(network, "feature_strides", ()))
        why = f"pictures are {size} (median)"
        if side != own:
            why += f"; {'at least' if side > own else 'at most'} {side} for time and this network"
        draft.derive("augment", "crop", [side, side], why)
    crop = draft.crop
    if window is not None and crop != tuple(window):
        raise UserError(
            f"augment.crop: {crop[0]} x {crop[1]} found, but this network takes {window[0]} x {window[1]} pixels and "
            "nothing else; leave it out."
        )
    if min(crop) < smallest:
        raise UserError(
            f"augment.crop: {crop[0]} x {crop[1]} found, but this network takes pictures of {smallest} x {smallest} "
            "pixels or more; set it larger (pictures are enlarged to it)."
        )
