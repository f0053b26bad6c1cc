"""`pixelwise evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.options import Flips, Refine, RunArgument, Scales, TaskOptions, parse_options, parse_scales
from pixelwise.cli.process import prepare_for_networks
from pixelwise.data.order import Order


def evaluate(
    run: RunArgument,
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
    flips: Flips = "none",
    scales: Scales = "1",
    refine: Refine = "none",
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
    option: TaskOptions = None,
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
        scales=parse_scales(scales),
        refine=refine,
        instances=instances,
        rle_order=rle_order,
        against=against,
        progress=not as_json,
        **parse_options(option or ()),
    )
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        for note in summary.get("notes", ()):
            show(note)
        print_blocks(api.tables(run, summary))
