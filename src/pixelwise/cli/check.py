"""`pixelwise check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.process import prepare_for_pictures
from pixelwise.data.order import Order


def check(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder with pictures and masks.")],
    layout: Annotated[str, typer.Option(help="Layout of the data; auto recognises it (docs/data.md).")] = "auto",
    rle_order: Annotated[
        Order, typer.Option(help="Order in which run lengths in tables count pixels: columns, rows.")
    ] = "columns",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON only.")] = False,
    fix: Annotated[Path | None, typer.Option(metavar="DIR", help="Write a corrected copy to this new folder.")] = None,
) -> None:
    """Examine a dataset: what is wrong, in which files, and how to fix it. Exit status 1 if anything must be fixed."""
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
