"""`pixelwise sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.process import prepare_for_networks


def sample(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or the model file in it.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder for the pictures.")],
    count: Annotated[int, typer.Option(metavar="COUNT", min=1, help="How many pictures to make.")] = 64,
    seed: Annotated[
        int, typer.Option(metavar="SEED", help="Seed of the noise; the same seed gives the same pictures.")
    ] = 0,
) -> None:
    """Make pictures with a generative network: one sheet, and one file per picture."""
    from pixelwise import api

    prepare_for_networks()
    sheet, *pictures = api.sample(run, out, count=count, seed=seed)
    print(f"{sheet}, and in the same folder {pictures[0].name} to {pictures[-1].name}")
