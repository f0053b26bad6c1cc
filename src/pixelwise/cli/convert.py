"""`pixelwise convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.options import RunOrder
from pixelwise.cli.process import prepare_for_pictures


def convert(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder with pictures and labels of any layout.")],
    to: Annotated[str, typer.Option(help="folder, voc, coco, rle_csv, labelme.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="New folder for the converted copy.")],
    split: Annotated[list[str] | None, typer.Option(help="Write this split alone; may be given again.")] = None,
    layout: Annotated[str, typer.Option(help="Layout of DATA; auto recognises it.")] = "auto",
    rle_order: Annotated[
        RunOrder, typer.Option(help="Along what run lengths in tables count the pixels: columns, rows.")
    ] = "columns",
) -> None:
    """Write a dataset in another label format: same pictures, same masks to the pixel, same splits."""
    from pixelwise import api

    prepare_for_pictures()
    for line in api.convert(data, to=to, out=out, splits=split or (), layout=layout, rle_order=rle_order):
        print(line)
