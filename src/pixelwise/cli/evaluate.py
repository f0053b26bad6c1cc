"""`pixelwise evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.process import prepare_for_networks
from pixelwise.data.order import Order


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or a best.safetensors.")],
    data: Annotated[Path | None, typer.Option(help="Folder with pictures and masks; default the run's data.")] = None,
    layout: Annotated[
        str | None, typer.Option(help="Layout of the data; auto recognises it; default as in the run's recipe.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, val, test, or all.")] = "val",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON only.")] = False,
    flips: Annotated[str, typer.Option(help="Average over flips: none, horizontal, all.")] = "none",
    scales: Annotated[str, typer.Option(help="Average over magnifications, for example 0.75,1,1.25.")] = "1",
    refine: Annotated[str, typer.Option(help="Sharpen masks with the picture: none, crf, superpixels.")] = "none",
    instances: Annotated[
        str | None, typer.Option(help="Also compare objects, separated by: components, watershed, best (of these).")
    ] = None,
    rle_order: Annotated[
        Order | None,
        typer.Option(help="Order in which run lengths in the tables of --data count pixels: columns, rows."),
    ] = None,
) -> None:
    """Measure a trained network on labelled pictures."""
    from pixelwise import api
    from pixelwise.cli.tables import print_blocks

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
        progress=not as_json,
    )
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        for note in summary.get("notes", ()):
            print(note)
        print_blocks(api.tables(run, summary))
