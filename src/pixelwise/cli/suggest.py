"""`pixelwise suggest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.process import prepare_for_networks


def suggest(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or a best.safetensors.")],
    pool: Annotated[Path, typer.Option(metavar="DIR", help="Folder with pictures that have no labels.")],
    budget: Annotated[int, typer.Option(min=1, help="How many pictures, regions or pixels to suggest, in all.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the suggestions.")],
    unit: Annotated[str | None, typer.Option(help="What to label: pictures (default), regions, pixels.")] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="How to choose: mixed, entropy, margin, variation_ratio, bald, power_bald, sensitivity, adversarial, "
            "k_centre, k_centre_subspace, random (docs/active.md)."
        ),
    ] = "mixed",
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same suggestions.")] = 0,
    passes: Annotated[int, typer.Option(min=1, help="Passes with Monte Carlo dropout.")] = 20,
) -> None:
    """Suggest what to label next: a ranked table, overlays, and label files in which the rest is void."""
    from pixelwise import api

    prepare_for_networks()
    done = api.suggest(
        run, pool, out, budget=budget, unit=unit, strategy=strategy, seed=seed, passes=passes, progress=True
    )
    print("\n".join([*done, f"The table is {out / 'suggested.csv'}."]))
