"""A class for each pixel."""

from __future__ import annotations

from collections.abc import Callable

from pixelwise.data.augment import Augmentation
from pixelwise.data.borders import WithBorderWeights
from pixelwise.data.dataset import Dataset
from pixelwise.data.draw import background_class
from pixelwise.data.loader import SampleCache, Transform
from pixelwise.data.one_object import with_objects
from pixelwise.data.sample import Sample
from pixelwise.data.shapes import ShapeCoding
from pixelwise.errors import UserError
from pixelwise.methods.supervised import Supervised
from pixelwise.training.draft import Draft
from pixelwise.training.recipe import Recipe
from pixelwise.training.tasks.base import Task

CROP_SIDE = 384
"""Longest side of a crop on a CPU: larger views cost time without showing a network of this kind more context."""


class Segment(Task):
    method = Supervised
    data = "segment"
    views = 8000  # ten minutes or so of a small U-Net
    measured_together = 4

    def cache(self, recipe: Recipe, dataset: Dataset) -> SampleCache:
        return SampleCache(dataset, objects=recipe.loss.border_weight > 0)

    def check(self, recipe: Recipe, dataset: Dataset, cache: SampleCache) -> None:
        """Every label is read; see `Task.check`."""
        for split, what in (("train", "there is nothing to tell apart"), ("val", "nothing could be measured")):
            counts = cache.check(dataset.split(split))
            found = [name for name, pixels in zip(dataset.class_names, counts, strict=False) if pixels]
            if len(found) < (2 if split == "train" else 1):
                held = f"only '{found[0]}'" if found else "only void (255)"
                if isinstance(dataset.coding, ShapeCoding) and dataset.coding.bare_boxes:
                    raise UserError(
                        f"{dataset.root}: the split '{split}' has boxes without outlines, which do not say what pixels "
                        f"are, and beside them {held}; train a network that finds objects (`pixelwise models --task "
                        "detect`), or draw outlines."
                    )
                raise UserError(
                    f"{dataset.root}: the masks of the split '{split}' hold {held}, so {what}; look at the masks "
                    "(`pixelwise check` counts their values)."
                )

    def plan(self, draft: Draft) -> None:
        facts, derive = draft.facts, draft.derive
        stride = getattr(draft.network, "stride", 1)
        limit = CROP_SIDE if draft.device.type == "cpu" else 2 * CROP_SIDE
        sides = []
        for side in (facts.height[1], facts.width[1]):
            # A little below the picture's own size leaves the crop room to move.
            wanted = min(limit, side if side <= stride else max(stride, int(0.85 * side) // stride * stride))
            sides.append(max(wanted, 1))
        size = f"{facts.height[1]} x {facts.width[1]}"
        derive("augment", "crop", sides, f"pictures are {size} (median); a multiple of the network's stride {stride}")
        draft.derive_batch(2, 16, "views")
        derive("augment", "scale", [0.7, 1.5], "objects come in sizes")
        derive("augment", "rotate", 5.0, "cameras tilt a little")
        derive("augment", "flip", "horizontal", "left and right are alike; set both where up and down are alike too")
        derive("augment", "elastic", 0.0, "shapes are taken to be rigid; about 10 for tissue and cells")
        if draft.values["augment"]["objects"]:
            alone = background_class(facts.class_names) is not None
            why = f"class 0 is '{facts.class_names[0]}'" + ("" if alone else ", which is something by itself")
            derive("augment", "alone", alone, why)
        light(draft)

    def prepared(self, recipe: Recipe, dataset: Dataset, cache: SampleCache) -> SampleCache:
        """Where views are filled by objects, these are found once."""
        if not recipe.augment.complete().objects or cache.prepare is with_objects:
            return cache
        return SampleCache(dataset, limit=cache.limit, objects=True, prepare=with_objects)

    def training_view(self, recipe: Recipe) -> Transform:
        views = recipe.augment.complete()
        if recipe.loss.border_weight > 0:
            return WithBorderWeights(views, recipe.loss.border_weight, recipe.loss.border_sigma)
        return views

    def measured_view(self, recipe: Recipe) -> Callable[[Sample], Sample] | None:
        return None

    def view(self, recipe: Recipe) -> tuple[int, int] | None:
        return None


def light(draft: Draft) -> None:
    """How light and colours vary, and nothing else that was not decided."""
    derive = draft.derive
    colour = draft.facts.form.channels == 3
    derive("augment", "brightness", 0.3, "light varies")
    derive("augment", "contrast", 0.3, "light varies")
    derive("augment", "saturation", 0.3 if colour else 0.0, "colours vary" if colour else "not RGB")
    for name, field in Augmentation.model_fields.items():
        if name not in {"crop", "scale"}:
            derive("augment", name, field.default, "off unless asked for")
