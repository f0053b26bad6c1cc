"""Variants of one training: the same recipe with some keys set otherwise, each a run of its own, to be compared.

Nothing moves from one to the next. The runs lie below the folder, in `variants/NAME`, and are used like any other; the
folder itself has what compares them.
"""

from __future__ import annotations

from collections.abc import Iterator

from pixelwise.distributed import barrier
from pixelwise.training.opening import Data
from pixelwise.training.parts import Reading
from pixelwise.training.recipes import load_recipe, variant_recipes
from pixelwise.training.run import Run
from pixelwise.training.session import Session


def sessions(run: Run, opened: Data | None = None, begun: float | None = None) -> Iterator[tuple[str, Session]]:
    """The variants of a run that are not finished yet, each with words for what it is, to be run to its end in turn.

    Args:
        opened: what `parts.begin` gave; variants that read the same of it need not read it again.
        begun: when the command began, by `time.monotonic`; None for now.

    Raises:
        UserError: as `session.start` and `session.restart`.
    """
    whole = load_recipe(run.variants_file)
    recipes = variant_recipes(whole)
    reading = Reading(whole, opened, begun)
    for number, (name, recipe) in enumerate(recipes.items(), 1):
        barrier()  # all processes see what the first one wrote
        if not run.variant(name).finished:
            words = f"variant {number} of {len(recipes)}, {name}" + (f": {recipe.about}" if recipe.about else "")
            yield words, reading.session(recipe, run.variant(name), words)
