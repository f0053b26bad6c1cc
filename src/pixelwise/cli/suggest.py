"""`pixelwise suggest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.options import RunArgument
from pixelwise.cli.process import prepare_for_networks


def suggest(
    run: RunArgument,
    pool: Annotated[Path, typer.Option(metavar="DIR", help="The folder with pictures that have no labels.")],
    budget: Annotated[
        int, typer.Option(metavar="COUNT", min=1, help="How many pictures, regions or pixels to suggest in all.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The new folder for the suggestions.")],
    unit: Annotated[
        str | None, typer.Option(metavar="UNIT", help="What to label: pictures (the default), regions or pixels.")
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How to choose (docs/active.md): mixed, entropy, margin, variation_ratio, bald, power_bald, "
            "sensitivity, adversarial, k_centre, k_centre_subspace or random.",
        ),
    ] = "mixed",
    seed: Annotated[
        int, typer.Option(metavar="SEED", help="Seed of everything random; the same seed gives the same suggestions.")
    ] = 0,
    passes: Annotated[int, typer.Option(metavar="COUNT", min=1, help="How many passes with Monte Carlo dropout.")] = 20,
) -> None:
    """Suggest what to label next: a ranked table, overlays, and label files in which the rest is void."""
    from pixelwise import api
    from pixelwise.terminal import show

    prepare_for_networks()
    done = api.suggest(
        run, pool, out, budget=budget, unit=unit, strategy=strategy, seed=seed, passes=passes, progress=True
    )
    for line in done:
        show(line)
    print(f"table: {out / 'suggested.csv'}")
