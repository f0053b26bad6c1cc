"""Decisions that the data asks for: what a recipe leaves open, filled in, each with its reason.

Facts come from `pixelwise.data.fingerprint`; nothing here reads a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.pictures import FULL_RANGE
from pixelwise.errors import UserError
from pixelwise.models.catalog import MODELS, weights_fill
from pixelwise.models.weights import read_weights
from pixelwise.nn.freezing import TRUNK
from pixelwise.training.draft import Draft
from pixelwise.training.recipe import Recipe, build_recipe, default_terms
from pixelwise.training.tasks import task_of


@dataclass(frozen=True, slots=True)
class Plan:
    """A complete recipe, and why each derived value is what it is (`section.key` -> words)."""

    recipe: Recipe
    reasons: Mapping[str, str]


def make_plan(recipe: Recipe, facts: Fingerprint, *, network: nn.Module, device: torch.device) -> Plan:
    """Fills in everything that the recipe leaves open.

    Args:
        network: the recipe's: what sizes suit it.

    Raises:
        UserError: class weights of the wrong number, weights that cannot be read, a frozen trunk without weights, or
            sizes that the network cannot take.
    """
    task = task_of(recipe.model.name)
    draft = Draft(recipe.model_dump(mode="json"), facts, network, device)
    values, derive = draft.values, draft.derive
    task.plan(draft)
    derive("loss", "terms", default_terms(values), f"what suits networks that {MODELS[recipe.model.name].task}")
    _balance(draft)
    weights = recipe.model.options.get("weights")
    if weights is None and recipe.optimizer.freeze == TRUNK:
        raise UserError(
            f"optimizer.freeze: all but the last layer would stay as random as it is; give {recipe.model.name} weights "
            "(--set model.weights=FILE_OR_HUB_NAME, see `pixelwise weights`), or leave freeze out."
        )
    if values["optimizer"]["name"] == "adamw":
        derive("optimizer", "lr", 2e-3, "AdamW with warm-up and cosine decay")
    else:
        derive("optimizer", "lr", 0.01, "SGD with momentum")
    if weights is not None and not weights_fill(recipe.model.name, read_weights(weights)):
        derive("optimizer", "encoder_lr_factor", 0.3, "what is pretrained needs smaller steps than what is new")
    else:
        start = "random weights" if weights is None else "trained weights"
        derive("optimizer", "encoder_lr_factor", 1.0, f"all of the network starts from {start}")
    _normalisation(draft, recipe)
    if values["train"]["minutes"] is None:
        pictures = facts.pictures["train"]
        epochs = default_epochs(recipe, pictures)
        why = f"{round(epochs * pictures):,} views of {pictures:,} pictures; --minutes or --epochs set another"
        derive("train", "epochs", epochs, why)
    return Plan(build_recipe(values, "the plan"), draft.reasons)


def default_epochs(recipe: Recipe, pictures: int) -> float:
    """Passes over the training pictures where no budget was given: 5 to 400."""
    views = task_of(recipe.model.name).views
    return float(min(max(round(views / pictures), 5), 400))


def _balance(draft: Draft) -> None:
    facts = draft.facts
    shares = [count / max(sum(facts.class_pixels), 1) for count in facts.class_pixels if count]
    ratio = max(shares) / min(shares) if shares else 1.0
    if ratio > 4:
        why = f"the commonest class is {ratio:.0f} times as frequent as the rarest"
        draft.derive("loss", "class_weights", "sqrt_median_frequency", why)
    else:
        draft.derive("loss", "class_weights", "none", "the classes are about equally frequent")
    given = draft.values["loss"]["class_weights"]
    if isinstance(given, list) and len(given) != len(facts.class_names):
        raise UserError(
            f"loss.class_weights: {len(given)} weights found, {len(facts.class_names)} expected, one for each class "
            f"({', '.join(facts.class_names)})."
        )


def class_weights(recipe: Recipe, facts: Fingerprint) -> tuple[float, ...] | None:
    """The weights that a planned recipe's `loss.class_weights` stands for; None for equal ones."""
    wanted = recipe.loss.class_weights
    if wanted is None or wanted == "none":
        return None
    if isinstance(wanted, tuple):
        return wanted
    if wanted == "sqrt_median_frequency":
        return facts.sqrt_median_frequency_weights()
    return facts.median_frequency_weights()


def _normalisation(draft: Draft, recipe: Recipe) -> None:
    facts, settings = draft.facts, draft.values["normalize"]
    weights = recipe.model.options.get("weights")
    channels = facts.form.channels
    mean, std, why = facts.mean, facts.std, "of the training pictures"
    if weights is not None and channels in (1, 3) and facts.form.dtype in FULL_RANGE:
        file = read_weights(weights)
        if file.mean is not None and file.std is not None and len(file.mean) in (3, channels):
            scale = FULL_RANGE[facts.form.dtype] / FULL_RANGE["uint8"]
            mean, std = (
                tuple(scale * v for v in (part if len(part) == channels else (sum(part) / len(part),)))
                for part in (file.mean, file.std)
            )
            why = "what the pretrained weights were trained with"
    smallest = 1e-6 * FULL_RANGE.get(facts.form.dtype, max(map(abs, mean)))
    draft.derive("normalize", "mean", [_six_digits(v) for v in mean], why)
    # A channel that is the same everywhere says nothing, whatever it is divided by.
    draft.derive("normalize", "std", [_six_digits(v) if v > smallest else 1.0 for v in std], why)
    for key in ("mean", "std"):
        found = settings[key]
        if len(found) != channels:
            raise UserError(f"normalize.{key}: {len(found)} numbers found, {channels} expected, one a channel.")
    if min(settings["std"]) <= 0:
        raise UserError(f"normalize.std: {settings['std']} found, but pictures are divided by it: above 0.")


def _six_digits(value: float) -> float:
    return float(f"{value:.6g}")
