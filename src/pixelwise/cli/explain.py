"""`pixelwise explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.process import prepare_for_networks


def explain(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run folder, its model file, or NAME:WEIGHTS for a classifier with published weights.",
        ),
    ],
    pictures: Annotated[
        list[Path] | None, typer.Argument(metavar="PICTURES", help="Pictures whose predictions are explained.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="File or folder for the page; by default the run folder, or the current one."
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Layers, separated by commas; by default the last one of each map size."),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Class names or ids, separated by commas; by default the predicted classes."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="The folder to search for the patches that activate channels most."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Compute coarser maps, in about a third of the time.")] = False,
    seed: Annotated[int, typer.Option(metavar="SEED", help="Seed of the noise that pictures are made from.")] = 0,
) -> None:
    """Look inside a network: what it sees, what it looks for, and why it predicts what it predicts, on one page."""
    from pixelwise.explain import explain as write_page
    from pixelwise.terminal import progress_bar

    prepare_for_networks()
    with progress_bar("looking inside", True) as advance:
        page = write_page(
            run,
            pictures or [],
            out=out,
            layers=_names(layers),
            classes=_names(classes),
            data=data,
            quick=quick,
            seed=seed,
            progress=advance,
        )
    print(page)


def _names(text: str | None) -> list[str]:
    return [] if text is None else [name.strip() for name in text.split(",") if name.strip()]
