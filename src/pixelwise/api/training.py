"""Trains networks, and resumes training."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pixelwise.data.listing import Faults, PathLike
from pixelwise.distributed import rank
from pixelwise.errors import NotFinite, UserError
from pixelwise.recipe.recipe import Recipe
from pixelwise.training import parts, recipes, stages, variants
from pixelwise.training.finish import finish, finish_variants
from pixelwise.training.lock import locked
from pixelwise.training.loop import Interrupted
from pixelwise.training.moved import check_places, move_data
from pixelwise.training.opening import Data, default_recipe
from pixelwise.training.progress import Display, Silent, make_display
from pixelwise.training.run import Run, check_free, open_run
from pixelwise.training.session import Session, diverged, execute, restart, start
from pixelwise.training.setup import engine

Baselines = Callable[[Session], Mapping[str, float | None]]
"""Session -> the headline score of each baseline by name, which the report shows next to the network's score."""


def list_recipes() -> list[str]:
    """The names of the recipes that come with the package."""
    return recipes.recipe_names()


def train(
    recipe: PathLike | None = None,
    *,
    data: PathLike | None = None,
    layout: str | None = None,
    unlabelled: PathLike | None = None,
    minutes: float | None = None,
    epochs: float | None = None,
    out: PathLike | None = None,
    seed: int | None = None,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    progress: bool = False,
    baselines: Baselines | None = None,
) -> Run:
    """Plans, trains, measures on the validation split, and writes the report.

    Args:
        recipe: a model's name, a recipe's name, or a YAML file; None for the default recipe for the labels.
        data: folder of the data, if the recipe does not name it.
        layout: layout of the data, if it is not the recipe's.
        unlabelled: folder of additional pictures, for methods that learn from pictures without labels.
        minutes, epochs: the budget, one of the two, if it is neither the recipe's nor the default. Minutes cover the
            whole call, from reading the data to the report. Each variant of a recipe gets the whole budget.
        out: the folder of the run, which must be new or empty; `runs/RECIPE-DATA` by default.
        overrides: `section.key=value` strings, or a mapping of such keys to values.
        baselines: see `Baselines`.

    Raises:
        UserError: recipe, data, weights or folders that cannot work; raised before anything is written.
        KeyboardInterrupt: on Ctrl-C, after the state was saved.
    """
    begun = time.monotonic()
    if minutes is not None and epochs is not None:
        raise UserError("--minutes and --epochs are both given; a run has one budget, so leave one out.")
    settings = list(overrides.items() if isinstance(overrides, Mapping) else recipes.parse_overrides(overrides))
    if minutes is not None or epochs is not None:
        settings += [("train.minutes", minutes), ("train.epochs", epochs)]
    for key, folder in (("data.path", data), ("data.unlabelled", unlabelled)):
        if folder is not None:
            settings.append((key, os.fspath(folder)))
    if layout is not None:
        settings.append(("data.layout", layout))
    if seed is not None:
        settings.append(("train.seed", seed))
    target = None if out is None else os.fspath(out)
    name = usual_recipe(dict(settings)) if recipe is None else os.fspath(recipe)
    planned = _asked(name, dict(settings), target)
    if planned.stages or planned.variants:
        run, opened, notes = parts.begin(planned, name=name, out=target)
        if progress and rank() == 0:
            for note in notes:
                make_display().say(note)
        with locked(run):
            return _run_parts(run, progress, baselines, opened, begun)
    session = start(planned, name=name, out=target, begun=begun)
    with locked(session.run):
        return _run_to_the_end(session, progress, baselines)


def usual_recipe(settings: Mapping[str, Any]) -> str:
    """The name of the default recipe for the data in the settings.

    Raises:
        UserError: as in `opening.default_recipe`.
    """
    given = {key.removeprefix("data."): value for key, value in settings.items() if key.startswith("data.")}
    return default_recipe(recipes.data_section(given))


def _asked(name: str, settings: Mapping[str, Any], out: str | None) -> Recipe:
    """Loads the recipe, and reports all mistakes together: in the recipe, missing data, a run folder that is not empty.

    Raises:
        UserError: any of these.
    """
    faults = Faults()
    planned = faults.attempt(lambda: recipes.load_recipe(name, settings), None)
    for key in ("path", "unlabelled"):
        folder = settings.get(f"data.{key}") if planned is None else getattr(planned.data, key)
        if folder is not None and not Path(str(folder)).exists():
            faults.append(f"{folder}: no such folder.")
    if out is not None:
        faults.attempt(lambda: check_free(out), None)
    if planned is None or faults:
        raise UserError(faults[0] if len(faults) == 1 else "\n  ".join([f"{len(faults)} mistakes:", *faults]))
    return planned


def resume(
    run: PathLike, *, data: PathLike | None = None, unlabelled: PathLike | None = None, progress: bool = False
) -> Run:
    """Continues a stopped run to the end. With a budget of epochs, the result is the same as without the stop.

    Args:
        data, unlabelled: the new folders of the run's data, if it was moved; they are written into the run.

    Raises:
        UserError: not a run, changed recipe or data, missing data, or a run that another process is training.
    """
    existing = open_run(Path(run)).whole
    engine()
    with locked(existing):
        given = {"path": data, "unlabelled": unlabelled}
        folders = {key: Path(folder) for key, folder in given.items() if folder is not None}
        if folders:
            move_data(existing, folders)
        if existing.finished:
            return existing
        check_places(existing)
        if existing.stages_file.exists() or existing.variants_file.exists():
            return _run_parts(existing, progress)
        return _run_to_the_end(restart(existing), progress)


def _run_parts(
    run: Run,
    progress: bool,
    baselines: Baselines | None = None,
    opened: Data | None = None,
    begun: float | None = None,
) -> Run:
    compared = run.variants_file.exists()
    for words, session in (variants if compared else stages).sessions(run, opened, begun):
        if progress and rank() == 0:
            make_display().say(words)
        _run_to_the_end(session, progress, baselines)
    if compared and rank() == 0:
        variants.measure_references(run, make_display().say if progress else Silent().say)
        finish_variants(run)
    return run


def _run_to_the_end(session: Session, progress: bool, baselines: Baselines | None = None) -> Run:
    display = make_display() if progress and rank() == 0 else Silent()
    if progress:
        _announce(session, display)
    try:
        execute(session, display)
        if rank() == 0:
            finish(session, display, baselines(session) if baselines else None)
    except Interrupted:
        raise KeyboardInterrupt(
            f"stopped; everything is saved. Continue with: `{session.run.resume_command}`"
        ) from None
    except NotFinite as error:
        raise diverged(session, error) from None
    return session.run


def _announce(session: Session, display: Display) -> None:
    recipe, facts, network = session.recipe, session.data.facts, session.method.network
    count = sum(parameter.numel() for parameter in network.parameters())
    for note in (*session.data.dataset.notes, *getattr(network, "notes", ())):
        display.say(note)
    for guess in session.data.dataset.guesses:
        display.say(f"warning: {guess}")
    if session.weights:
        display.say(session.weights)
    unlabelled = facts.pictures.get("unlabelled", 0)
    display.say(
        f"{facts.pictures['train']} pictures to train on, {facts.pictures['val']} to validate, "
        + (f"{unlabelled} without labels, " if unlabelled else "")
        + (f"{len(facts.class_names)} classes; " if session.spec.class_names else "")
        + f"{recipe.model.name} with {count / 1e6:.1f} million parameters"
    )
    display.say(f"plan: {shlex.quote(str(session.run.recipe_file))}")
