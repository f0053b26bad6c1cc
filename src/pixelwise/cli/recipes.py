"""`pixelwise recipes`."""

from __future__ import annotations


def recipes() -> None:
    """List the recipes that come with the package."""
    from rich.console import Console
    from rich.table import Table

    from pixelwise.catalog import system
    from pixelwise.training.recipes import load_recipe, recipe_names

    console = Console()
    loaded = {name: load_recipe(name) for name in recipe_names()}
    tasks = {name: system(recipe.model.name).task.name for name, recipe in loaded.items()}
    for task in sorted(set(tasks.values())):
        table = Table(box=None, header_style="bold")
        for title in (task, "model", "for"):
            table.add_column(title)
        for name, recipe in loaded.items():
            if tasks[name] == task:
                table.add_row(name, recipe.model.name, recipe.about)
        console.print(table)
        console.print()
