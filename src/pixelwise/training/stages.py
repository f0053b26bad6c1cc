"""Runs in stages: each stage is a run that starts from the best weights of the stage before.

The run of the last stage is the folder itself, so a run in stages is used like any other. The runs of the other stages
are in `stages/` below the folder.
"""

from __future__ import annotations

from collections.abc import Iterator

from pixelwise.distributed import barrier
from pixelwise.training.opening import Data
from pixelwise.training.parts import Reading
from pixelwise.training.recipes import build_recipe, load_recipe, stage_recipes
from pixelwise.training.run import Run
from pixelwise.training.session import Session


def sessions(run: Run, opened: Data | None = None, begun: float | None = None) -> Iterator[tuple[str, Session]]:
    """The unfinished stages of a run, each with its description. Each must finish before the next is taken.

    Args:
        opened: the data that `parts.begin` returned; stages that read the same data need not read it again.
        begun: when the command began, by `time.monotonic`; None for now.

    Raises:
        UserError: as in `session.start` and `session.restart`.
    """
    whole = load_recipe(run.stages_file)
    recipes = stage_recipes(whole)
    reading = Reading(whole, opened, begun)
    before: Run | None = None
    for number, recipe in enumerate(recipes, 1):
        folder = run if number == len(recipes) else run.stage(number)
        barrier()  # so that all processes see what the first one wrote
        if not folder.finished:
            words = f"stage {number} of {len(recipes)}" + (f": {recipe.about}" if recipe.about else "")
            if before is not None:
                values = recipe.model_dump(mode="json")
                values["model"]["weights"] = str(before.path.resolve())
                recipe = build_recipe(values, words)
            yield words, reading.session(recipe, folder, words)
        before = folder
