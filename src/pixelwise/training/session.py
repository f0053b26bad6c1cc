"""From a recipe and a folder to a trained network: everything between the command line and the loop."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

import pixelwise
from pixelwise import hardware
from pixelwise.atomic import write_text
from pixelwise.data.fingerprint import Fingerprint, changes
from pixelwise.data.labelled_list import FILE as LABELLED_FILE
from pixelwise.data.labelled_list import write_labelled
from pixelwise.data.splits import even_sample
from pixelwise.distributed import barrier, rank, world_size
from pixelwise.errors import NotFinite, UserError
from pixelwise.methods.base import Method, TrainingDiverged
from pixelwise.models.spec import ModelSpec
from pixelwise.models.weights import forget_weights
from pixelwise.recipe.draft import Pace
from pixelwise.recipe.recipe import PlannedRecipe, Recipe, digest, to_yaml
from pixelwise.tasks.base import Task
from pixelwise.training.checkpoint import has_checkpoint
from pixelwise.training.loaders import evaluation_loader, held_out, train_loaders, validated
from pixelwise.training.loop import Budget, Position, fit
from pixelwise.training.opening import Data, open_data
from pixelwise.training.pace import measure_pace
from pixelwise.training.plan import Plan, make_plan
from pixelwise.training.pretrained import Weights, check_origin, origin, origin_line
from pixelwise.training.progress import Display, Silent
from pixelwise.training.recipes import build_planned
from pixelwise.training.run import Run, create_run, open_run
from pixelwise.training.setup import engine, make_method, model_spec, new_network
from pixelwise.training.threads import free_cores
from pixelwise.training.validation import Validation

PROBED = 4
"""Held-out pictures that are predicted to estimate how long a validation takes, if a batch has no more; their sizes may
differ."""


@dataclass(frozen=True, slots=True)
class Session:
    """A training run that can start: a planned recipe, its data, its method and its run folder.

    Attributes:
        begun: when the work on it began, by `time.monotonic`; a budget of minutes counts from there.
        weights: a sentence about the published weights that the network starts from, or about why it has none; empty
            if neither applies.
    """

    recipe: PlannedRecipe
    data: Data
    method: Method
    spec: ModelSpec
    run: Run
    device: torch.device
    begun: float = field(default_factory=time.monotonic)
    weights: str = ""

    @property
    def task(self) -> Task:
        """The task that the network is trained for."""
        return self.data.task


def start(
    recipe: Recipe,
    *,
    name: str,
    out: str | None,
    into: Run | None = None,
    data: Data | None = None,
    begun: float | None = None,
) -> Session:
    """Checks everything, plans, and makes the run folder with the planned recipe in it.

    Nothing is written before data, weights and recipe have been checked.

    Args:
        into: an existing folder for the run, whatever else it holds, instead of a new folder.
        data: what `open_data` returned for the same section of the recipe, to save time.
        begun: when the command began, by `time.monotonic`; None for now.

    Raises:
        UserError: as in `open_data`, `make_plan` and `create_model`.
    """
    begun = time.monotonic() if begun is None else begun
    data = data or open_data(recipe)
    device = engine()
    check_out(out if into is None else str(into.path))
    settled = Weights()
    recipe = settled.settle(recipe)
    weights = recipe.model.options.get("weights")
    if weights is None:
        taken, start = None, " ".join(settled.notes)
    else:
        taken = origin(weights)
        check_origin(recipe, taken, "use this one with --set provenance.weights=null.")
        start = origin_line(weights, taken)
    network = new_network(recipe, data)
    plan = make_plan(recipe, data.facts, data.task, network=network, device=device)
    read = data
    data = _prepared(plan, read)
    if plan.recipe.train.minutes is not None:
        seconds = 60 * plan.recipe.train.minutes - (time.monotonic() - begun)
        with free_cores(plan.recipe.train.minutes, device):
            pace = _pace(plan.recipe, data, network, device, seconds)
        crop = plan.recipe.crop
        plan = make_plan(recipe, data.facts, data.task, network=network, device=device, pace=pace)
        if plan.recipe.crop != crop:
            data = _prepared(plan, read)
    forget_weights()
    values = plan.recipe.model_dump(mode="json")
    for key in ("path", "unlabelled", "labelled"):
        path = values["data"][key]
        if isinstance(path, str) and Path(path).exists():
            values["data"][key] = str(Path(path).resolve())  # the run can be resumed from another folder
    values["provenance"] = {
        "recipe_digest": digest(build_planned(values, "the plan")),
        "data_digest": data.facts.digest,
        "data": data.facts.to_dict(),
        "weights": taken,
        "pixelwise": pixelwise.__version__,
        **hardware.describe(),
    }
    planned = build_planned(values, "the plan")
    spec = model_spec(planned, data)
    method = make_method(planned, data, network, device)
    if rank() == 0:
        run = into or create_run(out, name, data.dataset.root)
        write_text(run.recipe_file, to_yaml(planned, {**plan.reasons, **settled.reasons}))
        if planned.data.labelled is not None:
            write_labelled(run.path / LABELLED_FILE, data.dataset.splits["train"])
    barrier()
    if rank() != 0:
        run = into or open_run(str(out))
    return Session(planned, data, method, spec, run, device, begun, start)


def _prepared(plan: Plan, data: Data) -> Data:
    return replace(data, cache=data.task.prepared(plan.recipe, data.dataset, data.cache))


def _pace(recipe: PlannedRecipe, data: Data, network: nn.Module, device: torch.device, seconds: float) -> Pace:
    """How fast this machine trains the network according to a first plan. The timed steps are the first of the run.

    Raises:
        TrainingDiverged: these steps gave numbers that are NaN or infinite.
    """
    task, dataset, cache = data.task, data.dataset, data.cache
    method = make_method(recipe, data, network, device)
    pictures = held_out(dataset, task)
    try:
        return measure_pace(
            recipe,
            task,
            model_spec(recipe, data),
            method,
            train_loaders(recipe, dataset, cache, task, method),
            evaluation_loader(recipe, cache, task, even_sample(pictures, max(task.validation_batch, PROBED))),
            held_out=len(pictures),
            seconds=seconds,
        )
    except NotFinite as error:
        advice = _gentler(recipe, "the same command with")
        raise TrainingDiverged(f"the first steps diverged: {error}; nothing was written. {advice}") from None


def check_out(out: str | None) -> None:
    """Checks that several processes have a folder to share.

    Raises:
        UserError: there are several processes, and `out` is None.
    """
    if world_size() > 1 and out is None:
        raise UserError("several processes need to share one run folder; give --out.")


def restart(run: Run) -> Session:
    """The session of an existing run, according to its recipe.

    Raises:
        UserError: the data is gone or fails its checks; or the data, the recipe or pixelwise itself changed since the
            run was started.
    """
    recipe = run.planned
    version = recipe.provenance.get("pixelwise")
    if version != pixelwise.__version__:
        raise UserError(
            f"{run.path}: was started by pixelwise {version}; this is {pixelwise.__version__}, which can use such runs "
            f"but cannot continue them; {_from_its_weights(run)}"
        )
    if recipe.provenance.get("recipe_digest") != digest(recipe):
        raise UserError(
            f"{run.path}: the recipe changed since this run was started, so it cannot be resumed; undo the change, "
            f"or {_from_its_weights(run)}"
        )
    data = open_data(recipe)
    if recipe.provenance.get("data_digest") != data.facts.digest:
        raise changed_data(run, data.facts)
    device = engine()
    # A checkpoint holds every weight, so the pretrained file is no longer needed.
    begun, weights = has_checkpoint(run.path), recipe.model.options.get("weights")
    if not begun and weights is not None:
        check_origin(recipe, origin(weights), "start a new run with --out NEW_RUN.")
    network = new_network(recipe, data, pretrained=not begun)
    data = replace(data, cache=data.task.prepared(recipe, data.dataset, data.cache))
    spec = model_spec(recipe, data)
    return Session(recipe, data, make_method(recipe, data, network, device), spec, run, device)


def changed_data(run: Run, facts: Fingerprint) -> UserError:
    """The error for data that changed since a run was started; `facts` are about the present data."""
    recipe = run.planned
    differences = changes(recipe.provenance.get("data", {}), facts)
    return UserError(
        f"{run.path}: the data changed since this run was started ({'; '.join(differences)}), so it cannot be resumed; "
        f"undo the change, or {_from_its_weights(run)}"
    )


def _from_its_weights(run: Run) -> str:
    return (
        f"start a new run from its weights: `pixelwise train {shlex.quote(str(run.recipe_file))} "
        f"--set model.weights={shlex.quote(str(run.path))} --out NEW_RUN`"
    )


def execute(session: Session, display: Display) -> Position:
    """Runs the loop to the end of the budget.

    Raises:
        Interrupted, NotFinite, UserError: as in `fit`.
    """
    recipe, data, train = session.recipe, session.data, session.recipe.train
    task = data.task
    if rank() == 0:
        task.companions(recipe, data.dataset, data.cache, session.run.path)
    barrier()
    method, dataset, cache = session.method, data.dataset, data.cache
    loaders = train_loaders(recipe, dataset, cache, task, method)
    pictures = validated(recipe, dataset, task)
    both = None
    if train.measure_training:
        trained = dataset.split("train")
        both = evaluation_loader(recipe, cache, task, trained), evaluation_loader(recipe, cache, task, pictures)
    validation = Validation(
        task,
        session.spec,
        recipe,
        session.run.path,
        evaluation_loader(recipe, cache, task, pictures, shared=True),
        both=both,
    )
    return fit(
        method,
        loaders,
        validation,
        run=session.run,
        budget=_budget(session),
        spec=session.spec,
        display=display if rank() == 0 else Silent(),
        device=session.device,
    )


def _budget(session: Session) -> Budget:
    train = session.recipe.train
    if train.epochs is None:
        spent = time.monotonic() - session.begun
        limits = (train.validations, train.patience, train.stop_at)
        skipped = 1 / train.validated_share - 1
        return Budget(None, train.minutes, *limits, spent, session.task.final_validations, skipped)
    pictures = len(session.data.dataset.split("train"))
    steps = max(round(train.epochs * pictures / train.batch_size), 1)
    return Budget(steps, None, min(train.validations, steps), train.patience, train.stop_at)


def diverged(session: Session, error: NotFinite) -> TrainingDiverged:
    """The error for a run whose numbers became NaN or infinite: what was kept, and how to start again."""
    run = session.run
    kept = "nothing was saved yet"
    if has_checkpoint(run.path):
        kept = "the last checkpoint is from before" + (", and so is best.safetensors" if run.best.exists() else "")
    command = f"pixelwise train {shlex.quote(str(run.recipe_file))}"
    advice = _gentler(session.recipe, command, " --out NEW_RUN")
    return TrainingDiverged(f"{run.path}: the training run diverged: {error}; {kept}. {advice}")


def _gentler(recipe: PlannedRecipe, command: str, out: str = "") -> str:
    """The advice to start a diverged run again, with a command and its last flag."""
    slower = min(recipe.optimizer.lr / 10, 1e-3)
    return (
        f"Start again with a smaller learning rate and stronger clipping: `{command} --set optimizer.lr={slower:.3g} "
        f"--set optimizer.clip_norm=1{out}`; if that does not help, look for pictures with NaN or extreme values: "
        f"`pixelwise check {shlex.quote(str(recipe.data.path))}`"
    )
