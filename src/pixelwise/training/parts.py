"""What recipes of several runs (stages, variants) share: one folder for all runs, and data that is read once.

`stages.yaml` or `variants.yaml` in the folder holds the whole recipe. Stopped runs are resumed from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pixelwise.atomic import write_text
from pixelwise.catalog import system
from pixelwise.distributed import barrier, rank
from pixelwise.errors import UserError
from pixelwise.nn.freezing import TRUNK
from pixelwise.recipe.recipe import Recipe, fills_crops, to_yaml
from pixelwise.training.opening import Data, open_data
from pixelwise.training.plan import default_epochs
from pixelwise.training.pretrained import Weights
from pixelwise.training.recipes import build_recipe, stage_recipes, variant_recipes
from pixelwise.training.run import Run, create_run
from pixelwise.training.session import Session, check_out, restart, start
from pixelwise.training.setup import engine


@dataclass(slots=True)
class Reading:
    """Data that was read for one recipe, and is used again if the next recipe reads the same data.

    Attributes:
        begun: when the command began, by `time.monotonic`; the minutes of the first session count from there. None
            means now.
    """

    recipe: Recipe
    data: Data | None
    begun: float | None = None

    def session(self, recipe: Recipe, into: Run, words: str) -> Session:
        """The session of a run in a folder: restarted if the run was begun there, started otherwise.

        Raises:
            UserError: as in `session.start` and `session.restart`.
        """
        if into.recipe_file.exists():
            session = restart(into)
        else:
            if rank() == 0:
                into.path.mkdir(parents=True, exist_ok=True)
            same = _what_is_read(self.recipe) == _what_is_read(recipe)
            data = self.data if same else None
            session = start(recipe, name=words, out=None, into=into, data=data, begun=self.begun)
        self.recipe, self.data, self.begun = recipe, session.data, None
        return session


def _what_is_read(recipe: Recipe) -> tuple[object, ...]:
    """The settings that decide what is read from the data."""
    tasks = system(recipe.model.name).tasks
    return recipe.data, recipe.loss.border_weight > 0, fills_crops(recipe), recipe.task, tasks


def begin(recipe: Recipe, *, name: str, out: str | None) -> tuple[Run, Data, list[str]]:
    """Makes the folder of a recipe with stages or variants, after checking what can be checked before the first run.

    Returns:
        The folder, the data as it was read, and a sentence for each classifier whose published weights were not found.

    Raises:
        UserError: as in `session.start`, for each stage or variant.
    """
    data = open_data(recipe)
    dataset = data.dataset
    engine()
    check_out(out)
    values = recipe.model_dump(mode="json", exclude={"provenance"})
    values["data"]["path"] = str(dataset.root.resolve())
    if values["train"]["minutes"] is None and values["train"]["epochs"] is None:
        values["train"]["epochs"] = default_epochs(data.task, data.facts.pictures["train"])
    for key in ("unlabelled", "labelled"):
        given = values["data"][key]
        if isinstance(given, str):
            values["data"][key] = str(Path(given).resolve())
    weights = Weights()
    _settle_weights(values, name, weights)
    whole = build_recipe(values, name)
    if whole.references and not data.task.references:
        raise UserError(f"references: there are none for the task '{data.task.name}'; leave it out.")
    reading = Reading(whole, data)
    for number, (words, each) in enumerate(_to_be_tried(whole)):
        with TemporaryDirectory(prefix="pixelwise-") as folder:
            try:
                reading.session(each, Run(Path(folder)), words)
            except UserError as error:
                raise UserError(f"{words}: {error}") from None
        if number == 0 and reading.data is not None and _what_is_read(each) == _what_is_read(whole):
            data = reading.data  # its cache has the pictures at the size that training needs
    if rank() == 0:
        run = create_run(out, name, dataset.root)
        write_text(run.variants_file if whole.variants else run.stages_file, to_yaml(whole))
    barrier()
    return (run if rank() == 0 else Run(Path(str(out)))), data, weights.notes


def _to_be_tried(whole: Recipe) -> Iterator[tuple[str, Recipe]]:
    """The name and the recipe of each stage or variant."""
    for number, recipe in enumerate(stage_recipes(whole), 1):
        if number > 1 and recipe.optimizer.freeze == TRUNK:  # the stage before has not trained the trunk's weights yet
            recipe = recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"freeze": None})})
        yield f"stage {number}", _untimed(recipe)
    for name, recipe in variant_recipes(_with_one_seed(whole)).items():
        yield f"variant {name}", _untimed(recipe)


def _with_one_seed(whole: Recipe) -> Recipe:
    """The recipe with the first of its seeds; the runs of a variant differ only in the seed."""
    return whole.model_copy(update={"seeds": whole.seeds[:1]})


def _untimed(recipe: Recipe) -> Recipe:
    """The recipe with a budget of epochs, since a budget of minutes would be planned by timing steps."""
    if recipe.train.minutes is None:
        return recipe
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"minutes": None, "epochs": 1.0})})


def _settle_weights(values: dict[str, Any], name: str, weights: Weights) -> None:
    """Makes the weights of a recipe and of its parts concrete: all parts use the same weights, even after a resume."""
    whole = build_recipe(values, name)
    settled = weights.settle(whole).model
    own = settled.options.get("weights")
    values["model"] = {**settled.model_dump(mode="json"), "weights": own}
    parts = (*values["stages"], *values["variants"].values())
    recipes = (*stage_recipes(whole), *variant_recipes(_with_one_seed(whole)).values())
    for part, recipe in zip(parts, recipes, strict=True):
        theirs = weights.settle(recipe).model.options.get("weights")
        if theirs != own or "model.weights" in part["set"]:
            part["set"]["model.weights"] = theirs
