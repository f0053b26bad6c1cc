"""`pixelwise predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.process import prepare_for_networks


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or the model file in it.")],
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
    flips: Annotated[
        str, typer.Option(metavar="FLIPS", help="Average predictions over mirror images: none, horizontal or all.")
    ] = "none",
    scales: Annotated[
        str, typer.Option(metavar="SCALES", help="Average predictions over magnifications, for example 0.75,1,1.25.")
    ] = "1",
    refine: Annotated[
        str, typer.Option(metavar="HOW", help="Align masks with the edges of the picture: none, crf or superpixels.")
    ] = "none",
    tile: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", min=32, help="Side of the tiles into which large pictures are divided."),
    ] = None,
    heatmap: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="Slide a classifier over each picture, and map where this class is."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Set any other option of the network's task; the option may be repeated."
        ),
    ] = None,
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
        scales=api.parse_scales(scales),
        refine=refine,
        tile=tile,
        heatmap=heatmap,
        progress=True,
        **api.parse_options(option or ()),
    )
    print(written[0] if written[0].suffix == ".csv" else f"{len(written)} files in {out}")
