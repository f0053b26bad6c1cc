"""Decisions that the data asks for: what a recipe leaves open, filled in, each with its reason.

Facts come from `pixelwise.data.fingerprint`; nothing here reads a picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from pixelwise.data.augment import Augmentation
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.pictures import FULL_RANGE
from pixelwise.errors import UserError
from pixelwise.models.catalog import weights_fill
from pixelwise.models.weights import read_weights
from pixelwise.training.recipe import Recipe, build_recipe

CROP_SIDE = 384
"""Longest side of a crop on a CPU: larger views cost time without showing a network of this kind more context."""
VIEWS = 8000
"""Views that a training without a budget makes, within 5 to 400 passes: ten minutes or so of a small U-Net."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A complete recipe, and why each derived value is what it is (`section.key` -> words)."""

    recipe: Recipe
    reasons: Mapping[str, str]


def make_plan(recipe: Recipe, facts: Fingerprint, *, stride: int, device: torch.device) -> Plan:
    """Fills in everything that the recipe leaves open.

    Args:
        stride: of the network: crops are multiples of it where the pictures allow.

    Raises:
        UserError: class weights of the wrong number, or weights that cannot be read.
    """
    values = recipe.model_dump(mode="json")
    reasons: dict[str, str] = {}

    def derive(section: str, key: str, value: Any, why: str) -> None:
        if values[section][key] is None:
            values[section][key] = value
            reasons[f"{section}.{key}"] = why

    _crop_and_batch(values, facts, stride, device, derive)
    _views(values, facts, derive)
    _balance(values, facts, derive)
    weights = recipe.model.options.get("weights")
    if values["optimizer"]["name"] == "adamw":
        derive("optimizer", "lr", 2e-3, "AdamW with warm-up and cosine decay")
    else:
        derive("optimizer", "lr", 0.01, "SGD with momentum")
    if weights is not None and not weights_fill(recipe.model.name, read_weights(weights)):
        derive("optimizer", "encoder_lr_factor", 0.3, "a pretrained encoder needs smaller steps than a new decoder")
    else:
        start = "random weights" if weights is None else "trained weights"
        derive("optimizer", "encoder_lr_factor", 1.0, f"all of the network starts from {start}")
    _normalisation(values, recipe, facts, derive)
    if values["train"]["minutes"] is None:
        pictures = facts.pictures["train"]
        epochs = default_epochs(pictures)
        why = f"{round(epochs * pictures):,} views of {pictures:,} pictures; --minutes or --epochs set another"
        derive("train", "epochs", epochs, why)
    return Plan(build_recipe(values, "the plan"), reasons)


def default_epochs(pictures: int) -> float:
    """Passes over the training pictures where no budget was given."""
    return float(min(max(round(VIEWS / pictures), 5), 400))


def _crop_and_batch(values: dict[str, Any], facts: Fingerprint, stride: int, device: torch.device, derive: Any) -> None:
    limit = CROP_SIDE if device.type == "cpu" else 2 * CROP_SIDE
    sides = []
    for side in (facts.height[1], facts.width[1]):
        # A little below the picture's own size leaves the crop room to move.
        wanted = min(limit, side if side <= stride else max(stride, int(0.85 * side) // stride * stride))
        sides.append(max(wanted, 1))
    size = f"{facts.height[1]} x {facts.width[1]}"
    derive("augment", "crop", sides, f"pictures are {size} (median); a multiple of the network's stride {stride}")
    pixels = values["augment"]["crop"][0] * values["augment"]["crop"][1]
    budget = (1 << 20) if device.type == "cpu" else (1 << 22)
    batch = min(max(2 ** round(math.log2(max(budget / pixels, 1))), 2), 16)
    derive("train", "batch_size", batch, "about a megapixel a step, 2 to 16 views")


def _views(values: dict[str, Any], facts: Fingerprint, derive: Any) -> None:
    derive("augment", "scale", [0.7, 1.5], "objects come in sizes")
    derive("augment", "rotate", 5.0, "cameras tilt a little")
    derive("augment", "flip", "horizontal", "left and right are alike; set both where up and down are alike too")
    derive("augment", "elastic", 0.0, "shapes are taken to be rigid; about 10 for tissue and cells")
    colour = facts.form.channels == 3
    derive("augment", "brightness", 0.3, "light varies")
    derive("augment", "contrast", 0.3, "light varies")
    derive("augment", "saturation", 0.3 if colour else 0.0, "colours vary" if colour else "not RGB")
    for name, field in Augmentation.model_fields.items():
        if name not in {"crop", "scale"}:
            derive("augment", name, field.default, "off unless asked for")  # all that was not decided above


def _balance(values: dict[str, Any], facts: Fingerprint, derive: Any) -> None:
    shares = [count / max(sum(facts.class_pixels), 1) for count in facts.class_pixels if count]
    ratio = max(shares) / min(shares) if shares else 1.0
    if ratio > 4:
        why = f"the commonest class has {ratio:.0f} times the pixels of the rarest"
        derive("loss", "class_weights", "sqrt_median_frequency", why)
    else:
        derive("loss", "class_weights", "none", "the classes are about equally frequent")
    given = values["loss"]["class_weights"]
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


def _normalisation(values: dict[str, Any], recipe: Recipe, facts: Fingerprint, derive: Any) -> None:
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
    derive("normalize", "mean", [_six_digits(v) for v in mean], why)
    # A channel that is the same everywhere says nothing, whatever it is divided by.
    derive("normalize", "std", [_six_digits(v) if v > smallest else 1.0 for v in std], why)
    for key in ("mean", "std"):
        found = values["normalize"][key]
        if len(found) != channels:
            raise UserError(f"normalize.{key}: {len(found)} numbers found, {channels} expected, one a channel.")
    if min(values["normalize"]["std"]) <= 0:
        raise UserError(f"normalize.std: {values['normalize']['std']} found, but pictures are divided by it: above 0.")


def _six_digits(value: float) -> float:
    return float(f"{value:.6g}")
