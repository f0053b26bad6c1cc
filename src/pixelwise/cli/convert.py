"""`pixelwise convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.process import prepare_for_pictures
from pixelwise.data.order import Order


def convert(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The folder with pictures and labels of any layout.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="LAYOUT",
            help="Layout to write: folder, voc, coco, rle_csv, points, labelme, voc_xml, yolo or labelmap.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The new folder for the converted copy.")],
    split: Annotated[
        list[str] | None, typer.Option(metavar="SPLIT", help="Write only this split; the option may be repeated.")
    ] = None,
    layout: Annotated[
        str, typer.Option(metavar="LAYOUT", help="Layout of the data (docs/data.md); auto recognises it.")
    ] = "auto",
    rle_order: Annotated[
        Order, typer.Option(metavar="ORDER", help="Order in which run lengths in tables count pixels: columns or rows.")
    ] = "columns",
    points: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT", help="With --to points, how many labelled pixels to write per picture; default all."
        ),
    ] = None,
) -> None:
    """Write a dataset in another label format: same pictures, classes and splits, and what the format can hold."""
    from pixelwise import api
    from pixelwise.terminal import show

    prepare_for_pictures()
    done = api.convert(
        data, to=to, out=out, splits=split or (), layout=layout, rle_order=rle_order, points_per_picture=points
    )
    for line in done:
        show(line)
