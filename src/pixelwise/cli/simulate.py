"""`pixelwise simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.process import prepare_for_networks


def simulate(
    data: Annotated[Path, typer.Option(metavar="DATA", help="Folder with pictures and labels.")],
    budget: Annotated[int, typer.Option(min=1, help="Pictures, regions or pixels that are labelled per round.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the simulation; the same one goes on.")],
    strategies: Annotated[str, typer.Option(help="Names separated by commas (docs/active.md).")] = "random,mixed",
    unit: Annotated[str | None, typer.Option(help="What is labelled: pictures (default), regions, pixels.")] = None,
    start: Annotated[
        int | None, typer.Option(min=1, help="Labels at the start; as many as --budget by default.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds after the start.")] = 5,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions with another start and other weights.")] = 3,
    recipe: Annotated[str | None, typer.Option(help="A model, a recipe's name, or a YAML file.")] = None,
    layout: Annotated[str, typer.Option(help="Layout of the data; auto recognises it (docs/data.md).")] = "auto",
    epochs: Annotated[float | None, typer.Option(min=0.0001, help="Epochs per training run.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Minutes per training run.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override the recipe.")] = None,
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
