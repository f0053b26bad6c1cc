"""`pixelwise recipes`."""

from __future__ import annotations


def recipes() -> None:
    """List the recipes that come with the package."""
    from rich.console import Console

    from pixelwise.catalog import system
    from pixelwise.cli.listing import Column, print_listing
    from pixelwise.training.recipes import load_recipe, recipe_names

    console = Console()
    loaded = {name: load_recipe(name) for name in recipe_names()}
    tasks = {name: system(recipe.model.name).task.name for name, recipe in loaded.items()}
    for task in sorted(set(tasks.values())):
        rows = [(name, each.model.name, each.about) for name, each in loaded.items() if tasks[name] == task]
        print_listing(console, [Column(task), Column("model"), Column("for", folds=True)], rows)
        console.print()
