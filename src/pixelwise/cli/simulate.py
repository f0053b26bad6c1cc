"""`pixelwise simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.options import Layout
from pixelwise.cli.process import prepare_for_networks


def simulate(
    data: Annotated[Path, typer.Option(metavar="DIR", help="The folder with pictures and labels.")],
    budget: Annotated[
        int, typer.Option(metavar="COUNT", min=1, help="How many pictures, regions or pixels are labelled per round.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder of the simulation; a stopped simulation continues there.")
    ],
    strategies: Annotated[
        str, typer.Option(metavar="NAMES", help="Names of strategies, separated by commas (docs/active.md).")
    ] = "random,mixed",
    unit: Annotated[
        str | None, typer.Option(metavar="UNIT", help="What is labelled: pictures (the default), regions or pixels.")
    ] = None,
    start: Annotated[
        int | None,
        typer.Option(metavar="COUNT", min=1, help="Labels at the start; by default as many as --budget."),
    ] = None,
    rounds: Annotated[int, typer.Option(metavar="COUNT", min=1, help="How many rounds follow the start.")] = 5,
    seeds: Annotated[
        int, typer.Option(metavar="COUNT", min=1, help="How many repetitions with another start and other weights.")
    ] = 3,
    recipe: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="A network, a recipe's name, or a YAML file.")
    ] = None,
    layout: Layout = "auto",
    epochs: Annotated[
        float | None, typer.Option(metavar="EPOCHS", min=0.0001, help="Epochs of each training run.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="MINUTES", min=0.01, help="Minutes of each training run.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe; may be repeated."),
    ] = None,
) -> None:
    """Compare strategies of labelling on data that is labelled: score against labels, in one report."""
    from pixelwise import api

    prepare_for_networks()
    api.simulate(
        data,
        out,
        budget=budget,
        strategies=[name.strip() for name in strategies.split(",") if name.strip()],
        unit=unit,
        start=start,
        rounds=rounds,
        seeds=seeds,
        recipe=recipe,
        layout=layout,
        epochs=epochs,
        minutes=minutes,
        overrides=set_ or (),
        progress=True,
    )
    print(f"report: {out / 'report.html'}\ntable:  {out / 'simulation.csv'}")
