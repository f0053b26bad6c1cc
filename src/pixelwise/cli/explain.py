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
            help="A run folder, a best.safetensors, or NAME:WEIGHTS for published weights of a classifier.",
        ),
    ],
    pictures: Annotated[
        list[Path] | None, typer.Argument(metavar="[PICTURES...]", help="Pictures whose predictions are explained.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File or folder for the page; default the run folder, or here.")
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Layer names, separated by commas; default the last layer of each size.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Class names or ids, separated by commas; default the predicted classes.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder to search for the patches that activate channels most.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Coarser, in about a third of the time.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the noise that pictures are made from.")] = 0,
) -> None:
    """Look inside a network: what it sees, what it looks for, and why it predicts what it predicts, on one page."""
    from pixelwise import api
    from pixelwise.explain import explain as write_page

    prepare_for_networks()
    with api.bar("looking inside", True) as advance:
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
