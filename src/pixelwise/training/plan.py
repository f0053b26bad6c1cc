"""The plan: fills in what a recipe leaves open according to the data, with a reason for each value.

The facts about the data come from `pixelwise.data.fingerprint`; nothing here reads a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from pixelwise.catalog import METHODS, system, weights_fill
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.pictures import FULL_RANGE
from pixelwise.errors import UserError
from pixelwise.models.weights import read_weights
from pixelwise.nn.encoder import Encoder
from pixelwise.nn.freezing import TRUNK
from pixelwise.recipe.draft import Draft, Pace
from pixelwise.recipe.recipe import PlannedRecipe, Recipe
from pixelwise.tasks.base import Task
from pixelwise.training.recipes import build_planned, method_options

AVERAGED_SHARE = 0.03
"""Share of the steps over which weights are averaged."""
DEFAULT_HORIZON = 100
"""Steps over which weights are averaged if the number of steps is not known."""
VALIDATED_SHARE = 0.06
"""Share of the time that validations may take."""
FEWEST_VALIDATIONS = 5
"""If there is no time for so many, validations measure a part of the held-out pictures."""
FEWEST_VALIDATED = 1000
"""They measure no fewer pictures than this, so that chance hardly decides which weights are best."""
WARMUP_STEPS = 30
"""The shortest warm-up, in steps."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A complete recipe, and the reason for each derived value (`section.key` -> words)."""

    recipe: PlannedRecipe
    reasons: Mapping[str, str]


def make_plan(
    recipe: Recipe,
    facts: Fingerprint,
    task: Task,
    *,
    network: nn.Module,
    device: torch.device,
    pace: Pace | None = None,
) -> Plan:
    """Fills in everything that the recipe leaves open.

    Args:
        network: the recipe's network, which decides what sizes are possible.
        pace: how fast this machine trains, for a budget of minutes.

    Raises:
        UserError: the wrong number of class weights, weights that cannot be read, a frozen trunk without weights, or
            sizes that the network cannot take.
    """
    draft = Draft(recipe.model_dump(mode="json"), facts, network, device, pace)
    values, derive = draft.values, draft.derive
    values["task"] = task.name
    _method(draft, recipe)
    if values["train"]["minutes"] is None:
        pictures = facts.pictures["train"]
        epochs = default_epochs(task, pictures)
        why = f"{round(epochs * pictures):,} crops of {pictures:,} pictures; --minutes or --epochs set another budget"
        derive("train", "epochs", epochs, why)
    if not task.any_size:
        draft.refuse("train", "half_size", f"networks for the task {task.name} take pictures of one size")
    task.plan(draft)
    derive("train", "half_size", 0.0, "crops have one size throughout")
    derive("loss", "terms", dict(task.terms), f"the default for the task {task.name}")
    derive("loss", "class_weights", "none", "there are no classes to weight")
    weights = recipe.model.options.get("weights")
    if weights is None and recipe.optimizer.freeze == TRUNK:
        raise UserError(
            f"optimizer.freeze: all layers but the last would keep their random weights; give {recipe.model.name} "
            "weights (--set model.weights=FILE_OR_HUB_NAME, or set PIXELWISE_WEIGHTS to a folder of files that "
            "`pixelwise weights` lists), or leave freeze out."
        )
    if values["optimizer"]["name"] == "adamw":
        derive("optimizer", "lr", 2e-3, "AdamW with warm-up and cosine decay")
    elif values["optimizer"]["name"] == "rmsprop":
        derive("optimizer", "lr", 2.5e-4, "RMSprop, as Newell et al. train stacked hourglasses")
    else:
        derive("optimizer", "lr", 0.01, "SGD with momentum")
    if weights is not None and not weights_fill(recipe.model.name, read_weights(weights)):
        derive("optimizer", "encoder_lr_factor", 0.3, "pretrained layers need smaller steps than new ones")
        if isinstance(getattr(network, "encoder", None), Encoder):
            why = "the encoder's statistics come from many pictures; folded into its convolutions they cost no time"
            derive("train", "fixed_norms", True, why)
    else:
        start = "random weights" if weights is None else "trained weights"
        derive("optimizer", "encoder_lr_factor", 1.0, f"the whole network starts from {start}")
    derive("train", "fixed_norms", False, "batch norms use the statistics of these pictures")
    if values["train"]["fixed_norms"] and not isinstance(getattr(network, "encoder", None), Encoder):
        raise UserError(
            f"train.fixed_norms: {recipe.model.name} has no encoder with pretrained statistics; leave it out."
        )
    _normalisation(draft, recipe)
    _length(draft)
    return Plan(build_planned(values, "the plan"), draft.reasons)


def _length(draft: Draft) -> None:
    """Derives what depends on the number of steps: averaging, warm-up and validations."""
    train, schedule, pace = draft.values["train"], draft.values["schedule"], draft.pace
    steps = None if draft.crops is None else max(draft.crops / train["batch_size"], 1)
    if train["ema_decay"] == "auto":
        horizon = DEFAULT_HORIZON if steps is None else min(max(AVERAGED_SHARE * steps, 10), 1000)
        train["ema_decay"] = float(f"{1 - 1 / horizon:.3g}")
        words = "" if steps is None else f" of about {steps:,.0f}"
        draft.reasons["train.ema_decay"] = f"an average over the last {horizon:,.0f} steps{words}"
    if schedule["warmup"] is None:
        warmup = 0.1 if steps is None else min(max(0.1, WARMUP_STEPS / steps), 0.3)
        draft.derive("schedule", "warmup", round(warmup, 3), "share of the run, so that the first steps do no harm")
    if pace is None:
        draft.derive("train", "validations", 10, "ten points of the curve")
        draft.derive("train", "validated_share", 1.0, "all held-out pictures")
    else:
        _validations(draft, pace)


def _validations(draft: Draft, pace: Pace) -> None:
    """Derives how many validations a budget of minutes affords, and how many pictures they measure."""
    train = draft.values["train"]
    affordable = VALIDATED_SHARE * pace.seconds / max(pace.validation_seconds, 1e-9)  # with all held-out pictures
    pictures, why = pace.held_out, "all held-out pictures"
    if affordable < FEWEST_VALIDATIONS and pictures > FEWEST_VALIDATED:
        pictures = max(round(affordable / FEWEST_VALIDATIONS * pictures), FEWEST_VALIDATED)
        why = f"{pictures:,} of {pace.held_out:,} held-out pictures, which would take {pace.validation_seconds:.0f} s"
    draft.derive("train", "validated_share", round(pictures / max(pace.held_out, 1), 4), why)
    share = train["validated_share"]
    number = min(max(int(affordable / share + 1e-9), 2), 10)
    why = f"a validation takes about {share * pace.validation_seconds:.1f} s; all of them take at most 6 % of the time"
    draft.derive("train", "validations", number, why)


def _method(draft: Draft, recipe: Recipe) -> None:
    """Derives the method and all of its options."""
    name = recipe.method.name or system(recipe.model.name).method
    if recipe.method.name is None:
        draft.reasons["method.name"] = f"the default for {recipe.model.name}"
    options = method_options(name, recipe.method.options, "the recipe")
    draft.values["method"] = {"name": name, **options.model_dump(mode="json")}
    METHODS[name].plan(draft)


def default_epochs(task: Task, pictures: int) -> float:
    """Epochs of a run without a given budget: 5 to 400."""
    return float(min(max(round(task.crops / pictures), 5), 400))


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
            why = "the normalisation that the pretrained weights were trained with"
    smallest = 1e-6 * FULL_RANGE.get(facts.form.dtype, max(map(abs, mean)))
    draft.derive("normalize", "mean", [_six_digits(v) for v in mean], why)
    # A channel that is the same everywhere carries no information, whatever it is divided by.
    draft.derive("normalize", "std", [_six_digits(v) if v > smallest else 1.0 for v in std], why)
    for key in ("mean", "std"):
        found = settings[key]
        if len(found) != channels:
            raise UserError(f"normalize.{key}: {len(found)} numbers found, {channels} expected, one per channel.")
    if min(settings["std"]) <= 0:
        raise UserError(
            f"normalize.std: {settings['std']} found, but pictures are divided by these numbers; all must be above 0."
        )


def _six_digits(value: float) -> float:
    return float(f"{value:.6g}")
