"""From a recipe and a folder to a trained network: everything between the command line and the loop."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import pixelwise
from pixelwise import hardware
from pixelwise.atomic import write_text
from pixelwise.data.borders import WithBorderWeights
from pixelwise.data.dataset import Dataset
from pixelwise.data.fingerprint import Fingerprint, fingerprint
from pixelwise.data.formats import open_dataset
from pixelwise.data.loader import EvaluationLoader, SampleCache, TrainLoader, Transform
from pixelwise.distributed import barrier, rank, world_size
from pixelwise.errors import UserError
from pixelwise.losses import LossSum
from pixelwise.methods.supervised import Supervised
from pixelwise.models.catalog import MODELS, create_model
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.sync_batch_norm import synchronised
from pixelwise.training.checkpoint import has_checkpoint
from pixelwise.training.loop import Budget, Position, fit
from pixelwise.training.plan import class_weights, make_plan
from pixelwise.training.progress import Display, Silent
from pixelwise.training.recipe import Recipe, build_recipe, digest, to_yaml
from pixelwise.training.run import Run, create_run, open_run
from pixelwise.training.schedule import make_schedule

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Session:
    """A training that can start: a planned recipe, its data, read and found good, its method and its run folder."""

    recipe: Recipe
    dataset: Dataset
    facts: Fingerprint
    cache: SampleCache
    method: Supervised
    run: Run
    device: torch.device


Data = tuple[Dataset, Fingerprint, SampleCache]
"""Pictures and labels, facts about them, and what was read of them so far."""


def open_data(recipe: Recipe) -> Data:
    """The recipe's dataset and the facts about it, fit for training: every label is read before anything else happens.

    Raises:
        UserError: no data given, a file that cannot be used, or nothing to learn from or to measure by.
    """
    dataset = open_recipe_data(recipe)
    facts = fingerprint(dataset)
    cache = SampleCache(dataset, objects=recipe.loss.border_weight > 0)
    for split, what in (("train", "there is nothing to tell apart"), ("val", "nothing could be measured")):
        counts = cache.check(dataset.split(split))
        found = [name for name, pixels in zip(dataset.class_names, counts, strict=False) if pixels]
        if len(found) < (2 if split == "train" else 1):
            held = f"only '{found[0]}'" if found else "only void (255)"
            raise UserError(
                f"{dataset.root}: the masks of the split '{split}' hold {held}, so {what}; look at the masks "
                "(`pixelwise check` counts their values)."
            )
    return dataset, facts, cache


def open_recipe_data(recipe: Recipe) -> Dataset:
    """The recipe's dataset, split as the recipe says.

    Raises:
        UserError: no data given, or nothing there that can be read.
    """
    if recipe.data.path is None:
        raise UserError("no data: give a folder with --data (or data.path in the recipe).")
    return open_dataset(
        recipe.data.path, recipe.data.layout, val_fraction=recipe.data.val_fraction, seed=recipe.data.split_seed
    )


def start(recipe: Recipe, *, name: str, out: str | None, into: Run | None = None, data: Data | None = None) -> Session:
    """Checks everything, plans, and makes the run folder with the planned recipe in it.

    Nothing is written before all of data, weights and recipe have been found good.

    Args:
        into: an existing folder for the run, whatever else it holds, instead of a new one.
        data: what `open_data` gave for the same section of the recipe, to save its time.

    Raises:
        UserError: as `open_data`, `make_plan` and `create_model`.
    """
    dataset, facts, cache = data or open_data(recipe)
    device, wrap = engine()
    check_out(out if into is None else str(into.path))
    network = _network(recipe, facts)
    plan = make_plan(recipe, facts, stride=getattr(network, "stride", 1), device=device)
    values = plan.recipe.model_dump(mode="json")
    values["data"]["path"] = str(dataset.root.resolve())
    weights = values["model"].get("weights")
    if weights is not None and Path(weights).exists():
        values["model"]["weights"] = str(Path(weights).resolve())  # the run can be resumed from another folder
    values["provenance"] = {
        "recipe_digest": digest(build_recipe(values, "the plan")),
        "data_digest": facts.digest,
        "data": facts.to_dict(),
        "pixelwise": pixelwise.__version__,
        **hardware.describe(),
    }
    planned = build_recipe(values, "the plan")
    method = make_method(planned, facts, network, device, wrap)
    if rank() == 0:
        run = into or create_run(out, name, dataset.root)
        write_text(run.recipe_file, to_yaml(planned, plan.reasons))
    barrier()
    if rank() != 0:
        run = into or open_run(str(out))
    return Session(planned, dataset, facts, cache, method, run, device)


def check_out(out: str | None) -> None:
    """
    Raises:
        UserError: several processes, and no folder for all of them.
    """
    if world_size() > 1 and out is None:
        raise UserError("several processes need to agree on a run folder: give --out.")


def restart(run: Run) -> Session:
    """The session of an existing run, as its recipe says.

    Raises:
        UserError: the data is gone or fails its checks, or it or the recipe changed since the run was started.
    """
    recipe = run.recipe
    dataset, facts, cache = open_data(recipe)
    for what, found in (("recipe", digest(recipe)), ("data", facts.digest)):
        if recipe.provenance.get(f"{what}_digest") != found:
            raise UserError(
                f"{run.path}: the {what} changed since this run was started, so it cannot be resumed; undo the change, "
                f"or start a new run from its weights: pixelwise train {shlex.quote(str(run.recipe_file))} "
                f"--set model.weights={shlex.quote(str(run.path))} --out NEW_RUN"
            )
    device, wrap = engine()
    # A checkpoint holds every weight, so the pretrained file may be gone by now.
    network = _network(recipe, facts, pretrained=not has_checkpoint(run.path))
    return Session(recipe, dataset, facts, cache, make_method(recipe, facts, network, device, wrap), run, device)


def _network(recipe: Recipe, facts: Fingerprint, *, pretrained: bool = True) -> nn.Module:
    entry = MODELS.get(recipe.model.name)
    if entry is not None and entry.task != "segment":
        raise UserError(
            f"model {recipe.model.name}: a {entry.task} network cannot be trained on masks; see `pixelwise models`."
        )
    torch.manual_seed(recipe.train.seed)
    options = _options(recipe, facts)
    if not pretrained:
        options.pop("weights", None)
    return create_model(recipe.model.name, **options)


def _options(recipe: Recipe, facts: Fingerprint) -> dict[str, Any]:
    return {**recipe.model.options, "in_channels": facts.form.channels, "num_classes": len(facts.class_names)}


def engine() -> tuple[torch.device, Any]:
    """The device, and what wraps a network for data parallelism (nothing in a single process)."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=hardware.default_device().type == "cpu")
    return accelerator.device, accelerator.prepare_model if accelerator.num_processes > 1 else None


def model_spec(recipe: Recipe, facts: Fingerprint) -> ModelSpec:
    """What the trained network needs beside its weights."""
    assert recipe.normalize.mean is not None
    assert recipe.normalize.std is not None
    options = {key: value for key, value in _options(recipe, facts).items() if key != "weights"}
    return ModelSpec(
        recipe.model.name, options, facts.class_names, facts.form, recipe.normalize.mean, recipe.normalize.std
    )


def make_method(
    recipe: Recipe, facts: Fingerprint, network: nn.Module, device: torch.device, wrap: Callable[..., nn.Module] | None
) -> Supervised:
    """Network, loss and optimiser of a planned recipe, ready for the loop.

    Raises:
        UserError: a batch that is too small for the processes, or for batch norm.
    """
    _check_batch(recipe, network)
    spec = model_spec(recipe, facts)
    if world_size() > 1:
        network = synchronised(network)
    # Weights move into their final memory layout before the optimiser takes hold of them.
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    precision = recipe.train.precision
    return Supervised(
        network,
        loss=LossSum(
            recipe.loss.terms,
            class_weights=class_weights(recipe, facts),
            label_smoothing=recipe.loss.label_smoothing,
            focal_gamma=recipe.loss.focal_gamma,
            lovasz_per_image=recipe.loss.lovasz_per_image,
            lovasz_only_present=recipe.loss.lovasz_only_present,
        ),
        optimizer=make_optimizer(recipe, network),
        schedule=make_schedule(recipe.schedule.name, warmup=recipe.schedule.warmup, final=recipe.schedule.final),
        class_names=facts.class_names,
        mean=spec.mean,
        std=spec.std,
        clip_norm=recipe.optimizer.clip_norm,
        ema_decay=recipe.train.ema_decay,
        swa_start=recipe.train.swa_start,
        device=device,
        dtype=hardware.preferred_dtype(device) if precision == "auto" else DTYPES[precision],
        wrap=wrap,
    )


def _check_batch(recipe: Recipe, network: nn.Module) -> None:
    batch, crop = recipe.train.batch_size, recipe.augment.complete().crop
    assert batch is not None
    if batch < world_size():
        raise UserError(f"train.batch_size: {batch} is less than the {world_size()} processes; set it larger.")
    stride = getattr(network, "stride", 1)
    normalises = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    if batch == 1 and normalises and max(crop) <= stride:
        raise UserError(
            f"train.batch_size: a batch of 1 with views of {crop[1]} x {crop[0]} pixels leaves batch norm one value at "
            f"the network's stride of {stride}; set it to 2 or more."
        )


def make_optimizer(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """Decay on weights alone (biases and norms are vectors), and the encoder's own rate."""
    settings = recipe.optimizer
    assert settings.lr is not None
    assert settings.encoder_lr_factor is not None
    encoder = getattr(network, "encoder", None)
    inside = set() if encoder is None else {id(parameter) for parameter in encoder.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        groups.setdefault((id(parameter) in inside, parameter.dim() > 1), []).append(parameter)
    parameters = [
        {
            "params": members,
            "lr": settings.lr * (settings.encoder_lr_factor if in_encoder else 1.0),
            "weight_decay": settings.weight_decay if is_weight else 0.0,
        }
        for (in_encoder, is_weight), members in sorted(groups.items(), reverse=True, key=lambda item: item[0])
    ]
    if settings.name == "sgd":
        return torch.optim.SGD(parameters, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)
    return torch.optim.AdamW(parameters, lr=settings.lr, fused=True)


def execute(session: Session, display: Display) -> Position:
    """Runs the loop to the end of the budget.

    Raises:
        Interrupted, TrainingDiverged, UserError: as `fit`.
    """
    recipe, dataset, train = session.recipe, session.dataset, session.recipe.train
    assert train.batch_size is not None
    hardware.keep_freed_memory()
    records = dataset.split("train")
    shared = {"rank": rank(), "processes": world_size()}
    views: Transform = recipe.augment.complete()
    if recipe.loss.border_weight > 0:
        views = WithBorderWeights(views, recipe.loss.border_weight, recipe.loss.border_sigma)
    loader = TrainLoader(session.cache, records, views, batch_size=train.batch_size, seed=train.seed, **shared)
    validation = EvaluationLoader(session.cache, dataset.split("val"), **shared)
    steps = None if train.epochs is None else max(round(train.epochs * len(records) / train.batch_size), 1)
    budget = Budget(steps, train.minutes, train.validations, train.patience)
    if steps is not None:
        budget = Budget(steps, None, min(train.validations, steps), train.patience)
    return fit(
        session.method,
        loader,
        validation,
        run=session.run,
        budget=budget,
        spec=model_spec(recipe, session.facts),
        display=display if rank() == 0 else Silent(),
        device=session.device,
    )
