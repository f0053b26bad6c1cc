"""Trainings in stages: each one a run of its own, from the best weights of the one before.

The last stage's run is the folder itself, so that a staged training is used like any other; the others lie below it.
`stages.yaml` holds the recipe of them all, which is what a stopped one is resumed from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pixelwise.atomic import write_text
from pixelwise.distributed import barrier, rank
from pixelwise.models.weights import read_weights
from pixelwise.training.plan import default_epochs
from pixelwise.training.recipe import Recipe, build_recipe, load_recipe, stage_recipes, to_yaml
from pixelwise.training.run import Run, create_run
from pixelwise.training.session import Data, Session, check_out, engine, open_data, restart, start


def begin(recipe: Recipe, *, name: str, out: str | None) -> tuple[Run, Data]:
    """A new folder for a recipe with stages, once its data and weights have been found good, and that data.

    Raises:
        UserError: as `session.start`.
    """
    data = dataset, facts, _ = open_data(recipe)
    engine()
    check_out(out)
    values = recipe.model_dump(mode="json", exclude={"provenance"})
    values["data"]["path"] = str(dataset.root.resolve())
    if values["train"]["minutes"] is None and values["train"]["epochs"] is None:
        values["train"]["epochs"] = default_epochs(recipe, facts.pictures["train"])
    weights = values["model"].get("weights")
    if weights is not None:
        read_weights(weights)
        if Path(weights).exists():
            values["model"]["weights"] = str(Path(weights).resolve())
    if rank() == 0:
        run = create_run(out, name, dataset.root)
        write_text(run.stages_file, to_yaml(build_recipe(values, name)))
    barrier()
    return (run if rank() == 0 else Run(Path(str(out)))), data


def sessions(run: Run, opened: Data | None = None) -> Iterator[tuple[str, Session]]:
    """The stages of a run that are not finished yet, each with words for what it is, to be run to its end in turn.

    Args:
        opened: what `begin` gave; stages that read the same of it need not read it again.

    Raises:
        UserError: as `session.start` and `session.restart`.
    """

    def of(recipe: Recipe) -> tuple[object, bool]:
        """What decides what is read of the data."""
        return recipe.data, recipe.loss.border_weight > 0

    whole = load_recipe(run.stages_file)
    recipes = stage_recipes(whole)
    data = None if opened is None else (of(whole), opened)
    before: Run | None = None
    for number, recipe in enumerate(recipes, 1):
        folder = run if number == len(recipes) else run.stage(number)
        barrier()  # all processes see what the first one wrote
        if not folder.finished:
            words = f"stage {number} of {len(recipes)}" + (f": {recipe.about}" if recipe.about else "")
            if folder.recipe_file.exists():
                session = restart(folder)
            else:
                if before is not None:
                    values = recipe.model_dump(mode="json")
                    values["model"]["weights"] = str(before.path.resolve())
                    recipe = build_recipe(values, words)
                if rank() == 0:
                    folder.path.mkdir(parents=True, exist_ok=True)
                same = data is not None and data[0] == of(recipe)
                session = start(recipe, name=words, out=None, into=folder, data=data[1] if same and data else None)
            data = (of(recipe), (session.dataset, session.facts, session.cache))
            yield words, session
        before = folder
