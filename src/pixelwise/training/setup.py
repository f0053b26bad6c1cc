"""From a planned recipe to a network, what its file needs, and the method that teaches it."""

from __future__ import annotations

import torch
from torch import nn

from pixelwise import hardware
from pixelwise.catalog import METHODS, create_model
from pixelwise.data.dataset import UNLABELLED
from pixelwise.distributed import leave_at_exit, world_size
from pixelwise.errors import UserError
from pixelwise.methods.base import Forward, Method, Setup
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.fixed_norm import fix_encoder
from pixelwise.nn.freezing import freeze
from pixelwise.nn.sync_batch_norm import synchronised
from pixelwise.recipe.recipe import PlannedRecipe, Recipe
from pixelwise.training.opening import Data
from pixelwise.training.recipes import method_options

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def new_network(recipe: Recipe | PlannedRecipe, data: Data, *, pretrained: bool = True) -> nn.Module:
    torch.manual_seed(recipe.train.seed)
    options = data.task.network_options(recipe, data.facts)
    if not pretrained:
        options.pop("weights", None)
    return create_model(recipe.model.name, **options)


def engine() -> torch.device:
    """Joins the other processes of the run, if there are any, and returns the device."""
    from accelerate import Accelerator

    device = Accelerator(cpu=hardware.default_device().type == "cpu").device
    leave_at_exit()
    return device


def model_spec(recipe: PlannedRecipe, data: Data) -> ModelSpec:
    """What the trained network needs in addition to its weights."""
    task, facts = data.task, data.facts
    options = {key: value for key, value in task.network_options(recipe, facts).items() if key != "weights"}
    return ModelSpec(
        recipe.model.name,
        options,
        task.class_names(facts),
        facts.form,
        recipe.normalize.mean,
        recipe.normalize.std,
        notes=task.notes(recipe, facts),
        input_size=task.input_size(recipe),
        task=task.name,
    )


def make_method(recipe: PlannedRecipe, data: Data, network: nn.Module, device: torch.device) -> Method:
    """The method of a planned recipe, ready for the loop.

    Raises:
        UserError: a batch that is too small for the processes or for batch norm; nothing to freeze, or nothing left to
            train; a network that the method cannot train; or unlabelled pictures for a method that does not use them.
    """
    _check_batch(recipe, network)
    _check_streams(recipe)
    if world_size() > 1:
        network = synchronised(network)
    if recipe.train.fixed_norms:
        fix_encoder(network)
    frozen = [] if recipe.optimizer.freeze is None else freeze(network, recipe.optimizer.freeze)
    # Weights move into their final memory layout before the optimiser refers to them.
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    precision, task = recipe.train.precision, data.task
    forward = Forward(
        torch.tensor(recipe.normalize.mean, device=device)[:, None, None],
        torch.tensor(recipe.normalize.std, device=device)[:, None, None],
        device,
        hardware.preferred_dtype(device) if precision == "auto" else DTYPES[precision],
    )
    options = method_options(recipe.method.name, recipe.method.options, "the recipe")
    criterion = task.criterion(recipe, data.facts, network)
    logits = task.logits if task.gives_logits else None
    setup = Setup(network, recipe, options, forward, criterion, logits, task.targets, frozen)
    return METHODS[recipe.method.name](setup)


def _check_streams(recipe: PlannedRecipe) -> None:
    streams = METHODS[recipe.method.name].streams
    if recipe.data.unlabelled is not None and not any(UNLABELLED in stream.splits for stream in streams):
        able = ", ".join(
            name for name, each in METHODS.items() if any(UNLABELLED in stream.splits for stream in each.streams)
        )
        raise UserError(
            f"data.unlabelled: the method {recipe.method.name} does not use pictures without labels, so those in "
            f"{recipe.data.unlabelled} would change nothing; set method.name to a method that does ({able}), or leave "
            "them out."
        )


def _check_batch(recipe: PlannedRecipe, network: nn.Module) -> None:
    batch, crop = recipe.train.batch_size, recipe.crop
    if batch < world_size():
        raise UserError(f"train.batch_size: {batch} is less than the {world_size()} processes; set it larger.")
    stride = getattr(network, "stride", 1)
    kinds = {type(module) for module in network.modules()}
    if batch == 1 and nn.BatchNorm1d in kinds:
        raise UserError(
            f"train.batch_size: with a batch of 1, the batch norm of {recipe.model.name} has one value per unit; set "
            "it to 2 or more."
        )
    if batch == 1 and nn.BatchNorm2d in kinds and max(crop) <= stride:
        raise UserError(
            f"train.batch_size: with a batch of 1 and crops of {crop[1]} x {crop[0]} pixels, batch norm has one value "
            f"at the network's stride of {stride}; set it to 2 or more."
        )
