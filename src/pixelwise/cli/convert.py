"""`pixelwise convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.options import Layout, RunLengthOrder
from pixelwise.cli.process import prepare_for_pictures


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
    layout: Layout = "auto",
    rle_order: RunLengthOrder = "columns",
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
