"""Variants of a recipe: the same recipe with some keys set differently. Each variant is a run, and all are compared.

No variant starts from the weights of another. The runs are in `variants/NAME` below the folder and are used like any
other run; the folder itself holds the comparison.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from pixelwise.atomic import write_text
from pixelwise.distributed import barrier
from pixelwise.training.opening import Data, open_recipe_data
from pixelwise.training.parts import Reading
from pixelwise.training.recipes import load_recipe, task_named, variant_recipes
from pixelwise.training.run import Run
from pixelwise.training.session import Session


def sessions(run: Run, opened: Data | None = None, begun: float | None = None) -> Iterator[tuple[str, Session]]:
    """The unfinished variants of a run, each with its description. Each must finish before the next is taken.

    Args:
        opened: the data that `parts.begin` returned; variants that read the same data need not read it again.
        begun: when the command began, by `time.monotonic`; None for now.

    Raises:
        UserError: as in `session.start` and `session.restart`.
    """
    whole = load_recipe(run.variants_file)
    recipes = variant_recipes(whole)
    reading = Reading(whole, opened, begun)
    for number, (name, recipe) in enumerate(recipes.items(), 1):
        barrier()  # so that all processes see what the first one wrote
        if not run.variant(name).finished:
            words = f"variant {number} of {len(recipes)}, {name}" + (f": {recipe.about}" if recipe.about else "")
            yield words, reading.session(recipe, run.variant(name), words)


def measure_references(run: Run, say: Callable[[str], None]) -> None:
    """Measures the classical references, if the recipe asks for them, on the data of the finished variants.

    Args:
        say: told what is measured.

    Raises:
        UserError: the data cannot be read.
    """
    whole = load_recipe(run.variants_file)
    if not whole.references or run.references_file.exists():
        return
    dataset = open_recipe_data(whole)
    planned = run.variant(next(iter(variant_recipes(whole)))).planned
    task = task_named(planned.model.name, planned.task)
    outcomes = []
    for name, about in task.references.items():
        say(f"{name}: {about}")
        outcomes.append({"name": name, "about": about, "score": task.reference_score(name, dataset, planned)})
    write_text(run.references_file, json.dumps(outcomes, indent=2) + "\n")
