"""Losses of classes as a recipe sets them; what several tasks share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pixelwise.data.sample import VOID
from pixelwise.losses import LossSum
from pixelwise.recipe.recipe import PlannedRecipe


def class_loss(
    recipe: PlannedRecipe,
    terms: Mapping[str, float],
    class_weights: Sequence[float] | None,
    ignore_index: int = VOID,
) -> LossSum:
    """The weighted sum of losses of classes.

    Args:
        terms: name in `losses.LOSSES` -> factor.
        ignore_index: the id of what is not trained on.
    """
    return LossSum(
        terms,
        class_weights=class_weights,
        label_smoothing=recipe.loss.label_smoothing,
        focal_gamma=recipe.loss.focal_gamma,
        ignore_index=ignore_index,
        lovasz_per_image=recipe.loss.lovasz_per_image,
        lovasz_only_present=recipe.loss.lovasz_only_present,
    )
