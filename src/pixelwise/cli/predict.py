"""`pixelwise predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.options import Flips, Refine, RunArgument, Scales, TaskOptions, parse_options, parse_scales
from pixelwise.cli.process import prepare_for_networks


def predict(
    run: RunArgument,
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURES", help="Picture files, or folders of them.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder for the results.")],
    overlay: Annotated[bool, typer.Option("--overlay", help="Also draw the prediction over the picture.")] = False,
    boundaries: Annotated[
        bool, typer.Option("--boundaries", help="Also write the boundaries between classes.")
    ] = False,
    instances: Annotated[
        str | None,
        typer.Option(
            metavar="HOW",
            help="Also separate objects: by components, by watershed, or by masks if the network outlines objects.",
        ),
    ] = None,
    flips: Flips = "none",
    scales: Scales = "1",
    refine: Refine = "none",
    tile: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", min=32, help="Side of the tiles into which large pictures are divided."),
    ] = None,
    heatmap: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="Slide a classifier over each picture, and map where this class is."),
    ] = None,
    option: TaskOptions = None,
) -> None:
    """Predict pictures of any size: a mask or map per picture (TIFF if huge), or a table of classes or boxes."""
    from pixelwise import api
    from pixelwise.terminal import show

    prepare_for_networks()
    left_out = api.not_read(pictures)
    if left_out:
        show(left_out, stderr=True)
    written = api.predict(
        run,
        pictures,
        out,
        overlay=overlay,
        boundaries=boundaries,
        instances=instances,
        flips=flips,
        scales=parse_scales(scales),
        refine=refine,
        tile=tile,
        heatmap=heatmap,
        progress=True,
        **parse_options(option or ()),
    )
    print(written[0] if written[0].suffix == ".csv" else f"{len(written)} files in {out}")
