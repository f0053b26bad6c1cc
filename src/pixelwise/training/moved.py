"""Runs whose data was moved: checks that the data is the same, and writes its new folder into the run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pixelwise.atomic import write_text
from pixelwise.data.digest import digest
from pixelwise.data.formats.yolo_config import home_of
from pixelwise.data.stock import fingerprint
from pixelwise.distributed import barrier, rank
from pixelwise.errors import UserError
from pixelwise.recipe.recipe import PlannedRecipe, Recipe, reasoned, to_yaml
from pixelwise.training.opening import open_recipe_data
from pixelwise.training.recipes import load_recipe
from pixelwise.training.run import Run
from pixelwise.training.session import changed_data

R = TypeVar("R", Recipe, PlannedRecipe)
PLACES = ("path", "unlabelled")


def move_data(run: Run, folders: Mapping[str, Path]) -> None:
    """Writes the new folders of the data into the recipes of a run and of its stages or variants.

    Nothing is written unless the data in the new folders is the data that the run was started with.

    Args:
        run: the whole run, not one of its stages or variants.
        folders: keys of the recipe's section `data` (`PLACES`) -> folder.

    Raises:
        UserError: no such folder, data that cannot be read, or different data.
    """
    file, whole = _whole(run)
    moves = {getattr(whole.data, key): str(folder.resolve()) for key, folder in folders.items()}
    for key in folders:
        if getattr(whole.data, key) is None:
            raise UserError(f"{run.path}: this run was started without data.{key}, so that folder cannot have moved.")
    planned = {each: each.planned for each in _begun(run)}
    for each, recipe in planned.items():
        dataset = open_recipe_data(_moved(recipe, moves))
        if digest(dataset) != recipe.provenance.get("data_digest"):
            raise changed_data(each, fingerprint(dataset))
    if rank() == 0:
        for each, recipe in planned.items():
            reasons = {key: reason for key, _, reason in reasoned(each.recipe_file) if reason}
            write_text(each.recipe_file, to_yaml(_moved(recipe, moves), reasons))
        if isinstance(whole, Recipe):
            write_text(file, to_yaml(_moved(whole, moves)))
    barrier()


def check_places(run: Run) -> None:
    """Checks that the data of a run is still where it was.

    Raises:
        UserError: it is not; the message gives the command that takes a new folder.
    """
    _, whole = _whole(run)
    gone = {
        key: folder for key in PLACES if (folder := getattr(whole.data, key)) and not home_of(Path(folder)).is_dir()
    }
    if gone:
        flags = " ".join(f"--{'data' if key == 'path' else key} NEW_PLACE" for key in gone)
        raise UserError(
            f"{' and '.join(gone.values())}: the data of the run {run.path} is no longer there; put it back, or give "
            f"its new place: `pixelwise train --resume {shlex.quote(str(run.path))} {flags}`"
        )


def _whole(run: Run) -> tuple[Path, Recipe | PlannedRecipe]:
    """The file that describes the whole run, and the recipe in it."""
    for file in (run.stages_file, run.variants_file):
        if file.exists():
            return file, load_recipe(file)
    return run.recipe_file, run.planned


def _begun(run: Run) -> Iterator[Run]:
    """The run, its stages and its variants, of those that have been planned so far."""
    for file in (
        run.recipe_file,
        *sorted(run.path.glob("stages/*/recipe.yaml")),
        *run.path.glob("variants/*/recipe.yaml"),
    ):
        if file.exists():
            yield Run(file.parent)


def _moved(recipe: R, moves: Mapping[Any, str]) -> R:
    """The recipe with old folders replaced by new ones."""
    update = {key: moves.get(getattr(recipe.data, key), getattr(recipe.data, key)) for key in PLACES}
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=update)})
