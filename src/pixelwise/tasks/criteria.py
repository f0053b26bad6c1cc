"""Classification losses with the settings of a recipe, for several tasks."""

from __future__ import annotations

from collections.abc import Mapping

from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.sample import VOID
from pixelwise.losses import LossSum
from pixelwise.recipe.recipe import PlannedRecipe


def class_loss(
    recipe: PlannedRecipe,
    terms: Mapping[str, float],
    facts: Fingerprint,
    ignore_index: int = VOID,
) -> LossSum:
    """The weighted sum of classification losses.

    Args:
        terms: name in `losses.LOSSES` -> factor.
        ignore_index: the class id that the losses ignore.
    """
    return LossSum(
        terms,
        class_weights=class_weights(recipe, facts),
        label_smoothing=recipe.loss.label_smoothing,
        focal_gamma=recipe.loss.focal_gamma,
        ignore_index=ignore_index,
        lovasz_per_image=recipe.loss.lovasz_per_image,
        lovasz_only_present=recipe.loss.lovasz_only_present,
    )


def class_weights(recipe: PlannedRecipe, facts: Fingerprint) -> tuple[float, ...] | None:
    """The weights that a planned recipe's `loss.class_weights` stands for; None for equal weights."""
    wanted = recipe.loss.class_weights
    if wanted == "none":
        return None
    if isinstance(wanted, tuple):
        return wanted
    if wanted == "sqrt_median_frequency":
        return facts.sqrt_median_frequency_weights()
    return facts.median_frequency_weights()
