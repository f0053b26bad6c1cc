"""`pixelwise convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.process import prepare_for_pictures
from pixelwise.data.order import Order


def convert(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder with pictures and labels of any layout.")],
    to: Annotated[str, typer.Option(help="folder, voc, coco, rle_csv, points, labelme, voc_xml, yolo, labelmap.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the converted copy.")],
    split: Annotated[list[str] | None, typer.Option(help="Write only this split; may be repeated.")] = None,
    layout: Annotated[str, typer.Option(help="Layout of the data; auto recognises it (docs/data.md).")] = "auto",
    rle_order: Annotated[
        Order, typer.Option(help="Order in which run lengths in tables count pixels: columns, rows.")
    ] = "columns",
    points: Annotated[
        int | None, typer.Option(help="Labelled pixels per picture to write, for --to points; all by default.")
    ] = None,
) -> None:
    """Write a dataset in another label format: same pictures, classes and splits, and what the format can hold."""
    from pixelwise import api

    prepare_for_pictures()
    done = api.convert(
        data, to=to, out=out, splits=split or (), layout=layout, rle_order=rle_order, points_per_picture=points
    )
    print("\n".join(done))
