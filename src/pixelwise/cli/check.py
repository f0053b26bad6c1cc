"""`pixelwise check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.options import RunOrder
from pixelwise.cli.process import prepare_for_pictures


def check(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder with pictures and masks.")],
    layout: Annotated[
        str, typer.Option(help="auto, folder, camvid, nuclei, labelmap, rle_csv, voc, coco, labelme.")
    ] = "auto",
    rle_order: Annotated[
        RunOrder, typer.Option(help="Along what run lengths in tables count the pixels: columns, rows.")
    ] = "columns",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON only.")] = False,
    fix: Annotated[Path | None, typer.Option(metavar="DIR", help="Write a corrected copy to this new folder.")] = None,
) -> None:
    """Examine a dataset: what is wrong, in which files, and what to do. Exit status 1 if anything must be fixed."""
    from pixelwise.data.doctor import examine, render
    from pixelwise.data.doctor import fix as write_copy

    prepare_for_pictures()
    diagnosis = examine(data, layout, rle_order)
    if as_json:
        print(json.dumps(diagnosis.to_dict(), indent=2))
    else:
        from rich.console import Console

        Console().print(render(diagnosis))
    if fix is not None:
        for line in write_copy(data, fix, layout, rle_order):
            if not as_json:
                print(line)
        raise typer.Exit(0)
    raise typer.Exit(0 if diagnosis.ok else 1)
