"""`pixelwise recipes`."""

from __future__ import annotations


def recipes() -> None:
    """List the recipes that come with the package."""
    from pixelwise.catalog import system
    from pixelwise.terminal import Column, Listing, show
    from pixelwise.training.recipes import load_recipe, recipe_names

    loaded = {name: load_recipe(name) for name in recipe_names()}
    tasks = {name: system(recipe.model.name).task.name for name, recipe in loaded.items()}
    for task in sorted(set(tasks.values())):
        rows = [(name, each.model.name, each.about) for name, each in loaded.items() if tasks[name] == task]
        show(Listing([Column(task), Column("model"), Column("for", folds=True)], rows))
        show()
