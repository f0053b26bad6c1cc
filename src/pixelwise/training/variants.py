"""Variants of a recipe: the same recipe with some keys set differently. Each variant is a run, and all are compared.

No variant starts from the weights of another. The runs are in `variants/NAME` below the folder and are used like any
other run; the folder itself holds the comparison.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

from pixelwise.atomic import write_text
from pixelwise.distributed import barrier
from pixelwise.metrics.headline import Headline
from pixelwise.recipe.recipe import Recipe
from pixelwise.report.variants import VariantMean
from pixelwise.training.history import material
from pixelwise.training.opening import Data, open_recipe_data
from pixelwise.training.parts import Reading
from pixelwise.training.recipes import load_recipe, run_name, task_named, variant_recipes
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


def worse_with_more_labels(whole: Recipe, means: Sequence[VariantMean], headline: Headline) -> list[str]:
    """A sentence for every two variants of which one has more labels than the other, but is worse.

    The two differ in the number `data.labelled` alone (without it, all pictures keep their labels). Their scores differ
    by more than the least that matters, and by more than either standard deviation over seeds.
    """
    recipes, first_seed = variant_recipes(whole), next(iter(whole.seeds), None)
    alike: dict[str, list[tuple[float, VariantMean]]] = defaultdict(list)
    for mean in means:
        recipe = recipes[run_name(mean.variant, first_seed)]
        if mean.last is not None and not isinstance(recipe.data.labelled, str):
            other = recipe.model_copy(update={"about": "", "data": recipe.data.model_copy(update={"labelled": None})})
            alike[other.model_dump_json()].append((recipe.data.labelled or math.inf, mean))
    sentences = []
    for group in alike.values():
        for (labels, few), (more_labels, many) in combinations(sorted(group, key=lambda each: each[0]), 2):
            if labels < more_labels and (sentence := _worse(few, many, headline)):
                sentences.append(sentence)
    return sentences


def _worse(few: VariantMean, many: VariantMean, headline: Headline) -> str:
    """A sentence if the second variant is clearly worse; empty otherwise."""
    assert few.last is not None
    assert many.last is not None
    lost = few.last - many.last if headline.higher else many.last - few.last
    noise = max(few.last_deviation or 0.0, many.last_deviation or 0.0)
    if lost <= max(noise, material(headline, few.last)):
        return ""
    return (
        f"{many.variant} has more labels than {few.variant}, but its {headline.label} is worse: {many.last:.3f} "
        f"against {few.last:.3f}. More labels should help; look at those that were added, and compare several seeds."
    )
