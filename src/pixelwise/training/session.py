"""From a recipe and a folder to a trained network: everything between the command line and the loop."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
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
from pixelwise.distributed import rank, world_size
from pixelwise.errors import UserError
from pixelwise.losses import LossSum
from pixelwise.methods.supervised import Supervised
from pixelwise.models.catalog import MODELS, create_model
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.sync_batch_norm import synchronised
from pixelwise.training.loop import Budget, Position, fit
from pixelwise.training.plan import class_weights, make_plan
from pixelwise.training.progress import Display, Silent
from pixelwise.training.recipe import Recipe, build_recipe, to_yaml
from pixelwise.training.run import Run, create_run
from pixelwise.training.schedule import make_schedule

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Session:
    """A training that can start: a planned recipe, its data, its network and its run folder."""

    recipe: Recipe
    dataset: Dataset
    facts: Fingerprint
    network: nn.Module
    run: Run
    device: torch.device
    wrap: Any = None


def open_data(recipe: Recipe) -> tuple[Dataset, Fingerprint]:
    """The recipe's dataset and the facts about it, fit for training.

    Raises:
        UserError: no data given, or nothing to learn from it: one picture, no second class, empty masks.
    """
    dataset = open_recipe_data(recipe)
    facts = fingerprint(dataset)
    if not facts.pictures.get("train"):
        raise UserError(
            f"{dataset.root}: no labelled picture in the split 'train'; `pixelwise check` says what is there."
        )
    if not facts.pictures.get("val"):
        raise UserError(
            f"{dataset.root}: no labelled picture in the split 'val', so nothing could be measured; "
            "label some more, or move some of train.txt to val.txt."
        )
    found = [name for name, pixels in zip(facts.class_names, facts.class_pixels, strict=True) if pixels]
    if len(found) < 2:
        what = f"only '{found[0]}'" if found else "only void (255)"
        raise UserError(
            f"{dataset.root}: the masks of the training pictures hold {what}, so there is nothing to tell apart; "
            "look at the masks (`pixelwise check` counts their values)."
        )
    return dataset, facts


def open_recipe_data(recipe: Recipe) -> Dataset:
    """The recipe's dataset, split as the recipe says.

    Raises:
        UserError: no data given, or nothing there that can be read.
    """
    if recipe.data.path is None:
        raise UserError("no data: give a folder with --data (or data.path in the recipe).")
    return open_dataset(
        recipe.data.path, recipe.data.layout, val_fraction=recipe.data.val_fraction, seed=recipe.train.seed
    )


def start(recipe: Recipe, *, name: str, out: str | None) -> Session:
    """Checks everything, plans, and makes the run folder with the planned recipe in it.

    Nothing is written before all of data, weights and recipe have been found good.

    Raises:
        UserError: as `open_data`, `make_plan` and `create_model`.
    """
    dataset, facts = open_data(recipe)
    device, wrap = _engine()
    network = _network(recipe, facts)
    plan = make_plan(recipe, facts, stride=getattr(network, "stride", 1), device=device)
    values = plan.recipe.model_dump(mode="json")
    values["data"]["path"] = str(dataset.root.resolve())
    values["provenance"] = {
        "data_digest": facts.digest,
        "data": facts.to_dict(),
        "pixelwise": pixelwise.__version__,
        **hardware.describe(),
    }
    planned = build_recipe(values, "the plan")
    if rank() == 0:
        run = create_run(out, name, dataset.root)
        write_text(run.recipe_file, to_yaml(planned, plan.reasons))
    _barrier()
    if rank() != 0:
        run = _existing(out)
    return Session(planned, dataset, facts, network, run, device, wrap)


def _existing(out: str | None) -> Run:
    from pixelwise.training.run import open_run

    if out is None:
        raise UserError("several processes need to agree on a run folder: give --out.")
    return open_run(out)


def restart(run: Run) -> Session:
    """The session of an existing run, as its recipe says.

    Raises:
        UserError: the data is gone or fails its checks.
    """
    recipe = run.recipe
    dataset, facts = open_data(recipe)
    device, wrap = _engine()
    return Session(recipe, dataset, facts, _network(recipe, facts), run, device, wrap)


def _network(recipe: Recipe, facts: Fingerprint) -> nn.Module:
    entry = MODELS.get(recipe.model.name)
    if entry is not None and entry.task != "segment":
        raise UserError(
            f"model {recipe.model.name}: a {entry.task} network cannot be trained on masks; see `pixelwise models`."
        )
    torch.manual_seed(recipe.train.seed)
    return create_model(recipe.model.name, **_options(recipe, facts))


def _options(recipe: Recipe, facts: Fingerprint) -> dict[str, Any]:
    return {**recipe.model.options, "in_channels": facts.form.channels, "num_classes": len(facts.class_names)}


def _engine() -> tuple[torch.device, Any]:
    """The device, and what wraps a network for data parallelism (nothing in a single process)."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=hardware.default_device().type == "cpu")
    return accelerator.device, accelerator.prepare_model if accelerator.num_processes > 1 else None


def _barrier() -> None:
    if world_size() > 1:
        torch.distributed.barrier()


def model_spec(recipe: Recipe, facts: Fingerprint) -> ModelSpec:
    """What the trained network needs beside its weights."""
    assert recipe.normalize.mean is not None
    assert recipe.normalize.std is not None
    options = {key: value for key, value in _options(recipe, facts).items() if key != "weights"}
    return ModelSpec(
        recipe.model.name, options, facts.class_names, facts.form, recipe.normalize.mean, recipe.normalize.std
    )


def make_method(session: Session) -> Supervised:
    """The session's network, loss and optimiser, ready for the loop."""
    recipe, facts = session.recipe, session.facts
    spec = model_spec(recipe, facts)
    network = synchronised(session.network) if world_size() > 1 else session.network
    # Weights move into their final memory layout before the optimiser takes hold of them.
    network = network.to(session.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    precision = recipe.train.precision
    return Supervised(
        network,
        loss=LossSum(
            recipe.loss.terms,
            class_weights=class_weights(recipe, facts),
            label_smoothing=recipe.loss.label_smoothing,
            focal_gamma=recipe.loss.focal_gamma,
        ),
        optimizer=make_optimizer(recipe, network),
        schedule=make_schedule(recipe.schedule.name, warmup=recipe.schedule.warmup),
        class_names=facts.class_names,
        mean=spec.mean,
        std=spec.std,
        clip_norm=recipe.optimizer.clip_norm,
        ema_decay=recipe.train.ema_decay,
        device=session.device,
        dtype=hardware.preferred_dtype(session.device) if precision == "auto" else DTYPES[precision],
        wrap=session.wrap,
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
    recipe, dataset = session.recipe, session.dataset
    train = recipe.train
    assert train.batch_size is not None
    if train.batch_size < world_size():
        raise UserError(
            f"train.batch_size: {train.batch_size} is less than the {world_size()} processes; set it larger."
        )
    hardware.keep_freed_memory()
    cache = SampleCache(dataset)
    records = [record for record in dataset.split("train") if record.labels]
    shared = {"rank": rank(), "processes": world_size()}
    loader = TrainLoader(
        cache, records, recipe.augment.complete(), batch_size=train.batch_size, seed=train.seed, **shared
    )
    validation = EvaluationLoader(cache, dataset.split("val"), **shared)
    steps = None if train.epochs is None else max(round(train.epochs * len(records) / train.batch_size), 1)
    budget = Budget(steps, train.minutes, train.validations, train.patience)
    if steps is not None:
        budget = Budget(steps, None, min(train.validations, steps), train.patience)
    return fit(
        make_method(session),
        loader,
        validation,
        run=session.run,
        budget=budget,
        spec=model_spec(recipe, session.facts),
        display=display if rank() == 0 else Silent(),
        identity=identity(session),
        device=session.device,
    )


def identity(session: Session) -> Mapping[str, str]:
    """What a resumed run must share with the one that was stopped."""
    text = session.run.recipe_file.read_bytes()
    return {"data": session.facts.digest, "recipe": hashlib.blake2b(text, digest_size=16).hexdigest()}
