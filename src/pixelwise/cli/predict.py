"""`pixelwise predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.process import prepare_for_networks


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or a best.safetensors.")],
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURES...", help="Files, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    overlay: Annotated[bool, typer.Option("--overlay", help="Also draw the prediction over the picture.")] = False,
    boundaries: Annotated[bool, typer.Option("--boundaries", help="Also write the class boundaries.")] = False,
    instances: Annotated[
        str | None,
        typer.Option(help="Also separate objects: components, watershed, or masks (networks that outline)."),
    ] = None,
    flips: Annotated[str, typer.Option(help="Average over flips: none, horizontal, all.")] = "none",
    scales: Annotated[str, typer.Option(help="Average over magnifications, for example 0.75,1,1.25.")] = "1",
    refine: Annotated[str, typer.Option(help="Sharpen masks with the picture: none, crf, superpixels.")] = "none",
    tile: Annotated[int | None, typer.Option(min=32, help="Side of the tiles of large pictures.")] = None,
    heatmap: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Slide a classifier over the picture: where is this class?")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Any other option of the network's task.")
    ] = None,
) -> None:
    """Predict pictures of any size: a mask or map per picture (TIFF if huge), or a table of classes or boxes."""
    from pixelwise import api

    prepare_for_networks()
    left_out = api.not_read(pictures)
    if left_out:
        print(left_out, file=sys.stderr)
    written = api.predict(
        run,
        pictures,
        out,
        overlay=overlay,
        boundaries=boundaries,
        instances=instances,
        flips=flips,
        scales=api.parse_scales(scales),
        refine=refine,
        tile=tile,
        heatmap=heatmap,
        progress=True,
        **api.parse_options(option or ()),
    )
    print(written[0] if written[0].suffix == ".csv" else f"{len(written)} files in {out}")
