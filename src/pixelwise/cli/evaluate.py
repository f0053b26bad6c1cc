"""`pixelwise evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.process import prepare_for_networks
from pixelwise.data.order import Order


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or the model file in it.")],
    data: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="The folder with pictures and labels; by default the data of the run."),
    ] = None,
    layout: Annotated[
        str | None, typer.Option(metavar="LAYOUT", help="Layout of --data (docs/data.md); by default that of the run.")
    ] = None,
    split: Annotated[
        str, typer.Option(metavar="SPLIT", help="The pictures to measure on: train, val, test or all.")
    ] = "val",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    flips: Annotated[
        str, typer.Option(metavar="FLIPS", help="Average predictions over mirror images: none, horizontal or all.")
    ] = "none",
    scales: Annotated[
        str, typer.Option(metavar="SCALES", help="Average predictions over magnifications, for example 0.75,1,1.25.")
    ] = "1",
    refine: Annotated[
        str, typer.Option(metavar="HOW", help="Align masks with the edges of the picture: none, crf or superpixels.")
    ] = "none",
    instances: Annotated[
        str | None,
        typer.Option(
            metavar="HOW", help="Also compare objects, separated by components, by watershed, or by the best of both."
        ),
    ] = None,
    rle_order: Annotated[
        Order | None,
        typer.Option(
            metavar="ORDER", help="Order in which run lengths in the tables of --data count pixels: columns or rows."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Also measure how well the probability of a picture separates these pictures from DATA."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Set any other option of the network's task; the option may be repeated."
        ),
    ] = None,
) -> None:
    """Measure a trained network on labelled pictures."""
    from pixelwise import api
    from pixelwise.cli.tables import print_blocks
    from pixelwise.terminal import show

    prepare_for_networks()
    summary = api.evaluate(
        run,
        data=data,
        layout=layout,
        split=split,
        flips=flips,
        scales=api.parse_scales(scales),
        refine=refine,
        instances=instances,
        rle_order=rle_order,
        against=against,
        progress=not as_json,
        **api.parse_options(option or ()),
    )
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        for note in summary.get("notes", ()):
            show(note)
        print_blocks(api.tables(run, summary))
