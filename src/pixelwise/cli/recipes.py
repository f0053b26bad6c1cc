"""`pixelwise recipes`."""

from __future__ import annotations


def recipes() -> None:
    """List the recipes that come with the package."""
    from rich.console import Console
    from rich.table import Table

    from pixelwise.training.recipe import load_recipe, recipe_names

    table = Table(box=None, header_style="bold")
    for title in ("recipe", "model", "for"):
        table.add_column(title)
    for name in recipe_names():
        recipe = load_recipe(name)
        table.add_row(name, recipe.model.name, recipe.about)
    Console().print(table)
