"""From a recipe and a folder to a trained network: everything between the command line and the loop."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import pixelwise
from pixelwise import hardware
from pixelwise.atomic import write_text
from pixelwise.data.dataset import Dataset
from pixelwise.data.fingerprint import Fingerprint, fingerprint
from pixelwise.data.formats import open_dataset
from pixelwise.data.loader import EvaluationLoader, SampleCache, TrainLoader
from pixelwise.distributed import barrier, rank, world_size
from pixelwise.errors import UserError
from pixelwise.methods.supervised import Supervised
from pixelwise.models.catalog import MODELS, create_model
from pixelwise.models.spec import ModelSpec
from pixelwise.models.weights import forget_weights
from pixelwise.nn.encoder import Classifier
from pixelwise.nn.freezing import freeze
from pixelwise.nn.sync_batch_norm import synchronised
from pixelwise.training.checkpoint import has_checkpoint
from pixelwise.training.loop import Budget, Position, fit
from pixelwise.training.plan import class_weights, make_plan
from pixelwise.training.progress import Display, Silent
from pixelwise.training.recipe import Recipe, build_recipe, digest, to_yaml
from pixelwise.training.run import Run, create_run, open_run
from pixelwise.training.schedule import make_schedule
from pixelwise.training.tasks import Task, task_of

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


_MISMATCH = {
    "classify": "{root}: the pictures are sorted into classes and have no masks, but {model} labels pixels; train a "
    "classifier (`pixelwise models --task classify`), or add masks.",
    "detect": "{root}: the pictures are sorted into classes as a whole, but {model} learns where objects are; train a "
    "classifier (`pixelwise models --task classify`), or add outlines or masks of objects (docs/data.md).",
    "segment": "{root}: the pictures have masks, but {model} tells the class of a picture as a whole; train a network "
    "that labels pixels (`pixelwise models --task segment`; most take a classifier as encoder), or sort the pictures "
    "into folders by class.",
}
"""What a dataset is for -> what is said when a network for something else is to learn from it; `detect` is what one
that finds objects is told of pictures sorted into classes."""

Data = tuple[Dataset, Fingerprint, SampleCache]
"""Pictures and labels, facts about them, and what was read of them so far."""


def open_data(recipe: Recipe) -> Data:
    """The recipe's dataset and the facts about it, fit for training: every label is read before anything else happens.

    Raises:
        UserError: no data given, a file that cannot be used, or nothing to learn from or to measure by.
    """
    task = task_of(recipe.model.name)
    dataset = open_recipe_data(recipe)
    if task.data != dataset.task:
        about = MODELS[recipe.model.name].task
        sentence = _MISMATCH["detect" if about == "detect" else dataset.task]
        raise UserError(sentence.format(root=dataset.root, model=recipe.model.name))
    facts = fingerprint(dataset)
    cache = task.cache(recipe, dataset)
    facts = replace(facts, objects=task.check(recipe, dataset, cache))
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
    plan = make_plan(recipe, facts, network=network, device=device)
    forget_weights()
    cache = _task(recipe).prepared(plan.recipe, dataset, cache)
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
    cache = _task(recipe).prepared(recipe, dataset, cache)
    return Session(recipe, dataset, facts, cache, make_method(recipe, facts, network, device, wrap), run, device)


def _task(recipe: Recipe) -> Task:
    return task_of(recipe.model.name)


def _network(recipe: Recipe, facts: Fingerprint, *, pretrained: bool = True) -> nn.Module:
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
        recipe.model.name,
        options,
        facts.class_names,
        facts.form,
        recipe.normalize.mean,
        recipe.normalize.std,
        notes=_task(recipe).notes(recipe),
        view=_task(recipe).view(recipe),
    )


def make_method(
    recipe: Recipe, facts: Fingerprint, network: nn.Module, device: torch.device, wrap: Callable[..., nn.Module] | None
) -> Supervised:
    """Network, loss and optimiser of a planned recipe, ready for the loop.

    Raises:
        UserError: a batch that is too small for the processes, or for batch norm; nothing to freeze, or all of it.
    """
    _check_batch(recipe, network)
    if world_size() > 1:
        network = synchronised(network)
    frozen = [] if recipe.optimizer.freeze is None else freeze(network, recipe.optimizer.freeze)
    spec = model_spec(recipe, facts)
    # Weights move into their final memory layout before the optimiser takes hold of them.
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    precision = recipe.train.precision
    method = _task(recipe).method
    assert recipe.loss.terms is not None
    return method(
        network,
        loss=_task(recipe).loss(recipe, class_weights(recipe, facts)),
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
        frozen=frozen,
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
    """Decay on weights alone (biases and norms are vectors), and rates of their own for what was trained before."""
    settings = recipe.optimizer
    assert settings.lr is not None
    factors = rate_factors(recipe, network)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            groups.setdefault((factors[id(parameter)], parameter.dim() > 1), []).append(parameter)
    parameters = [
        {
            "params": members,
            "lr": settings.lr * factor,
            "weight_decay": settings.weight_decay if is_weight else 0.0,
        }
        for (factor, is_weight), members in sorted(groups.items(), key=lambda item: (item[0][0], not item[0][1]))
    ]
    if settings.name == "sgd":
        return torch.optim.SGD(parameters, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)
    return torch.optim.AdamW(parameters, lr=settings.lr, fused=True)


def rate_factors(recipe: Recipe, network: nn.Module) -> dict[int, float]:
    """Factor of the learning rate by `id` of each parameter.

    1 outside of the encoder. In it `encoder_lr_factor`, times `depth_decay` once for the last of its stages and once
    more for each stage before. A classifier is an encoder but for its heads.

    Raises:
        UserError: rates that fall with depth, and a network without stages.
    """
    settings = recipe.optimizer
    assert settings.encoder_lr_factor is not None
    factors = {id(parameter): 1.0 for parameter in network.parameters()}
    encoder = network if isinstance(network, Classifier) else getattr(network, "encoder", None)
    stages: Sequence[nn.Module] = getattr(encoder, "stages", tuple)()
    if settings.depth_decay < 1 and not stages:
        raise UserError(
            f"optimizer.depth_decay: {recipe.model.name} is not built on an encoder, so it has no stages whose rates "
            "could fall; leave it out."
        )
    if encoder is None:
        return factors
    heads = getattr(encoder, "heads", ())
    for name, parameter in encoder.named_parameters():
        if not any(f".{head}." in f".{name}." for head in heads):
            factors[id(parameter)] = settings.encoder_lr_factor
    if settings.depth_decay < 1:
        for distance, stage in enumerate(reversed(stages), 1):
            for parameter in stage.parameters():
                factors[id(parameter)] = settings.encoder_lr_factor * settings.depth_decay**distance
    return factors


def execute(session: Session, display: Display) -> Position:
    """Runs the loop to the end of the budget.

    Raises:
        Interrupted, TrainingDiverged, UserError: as `fit`.
    """
    recipe, dataset, train = session.recipe, session.dataset, session.recipe.train
    assert train.batch_size is not None
    records = dataset.split("train")
    shared: dict[str, Any] = {"rank": rank(), "processes": world_size()}
    task = _task(recipe)
    views = task.training_view(recipe)
    loader = TrainLoader(session.cache, records, views, batch_size=train.batch_size, seed=train.seed, **shared)
    measured = partial(
        EvaluationLoader,
        session.cache,
        batch_size=task.measured_together,
        view=task.measured_view(recipe),
        cut=task.measured_pieces(recipe),
    )
    validation = measured(records=dataset.split("val"), **shared)
    both = (measured(records=records), measured(records=dataset.split("val"))) if train.measure_training else None
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
        both=both,
    )
