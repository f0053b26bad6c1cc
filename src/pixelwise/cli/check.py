"""`pixelwise check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.process import prepare_for_pictures
from pixelwise.data.order import Order


def check(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The folder with pictures and labels.")],
    layout: Annotated[
        str, typer.Option(metavar="LAYOUT", help="Layout of the data (docs/data.md); auto recognises it.")
    ] = "auto",
    rle_order: Annotated[
        Order, typer.Option(metavar="ORDER", help="Order in which run lengths in tables count pixels: columns or rows.")
    ] = "columns",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    fix: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a corrected copy of the data to this new folder.")
    ] = None,
) -> None:
    """Examine a dataset: what is wrong, in which files, and how to fix it. Exit status 1 if anything must be fixed."""
    from pixelwise.data.doctor import examine, render
    from pixelwise.data.doctor import fix as write_copy
    from pixelwise.terminal import show

    prepare_for_pictures()
    diagnosis = examine(data, layout, rle_order)
    if as_json:
        print(json.dumps(diagnosis.to_dict(), indent=2))
    else:
        show(render(diagnosis))
    if fix is not None:
        for line in write_copy(data, fix, layout, rle_order):
            if not as_json:
                show(line)
        raise typer.Exit(0)
    raise typer.Exit(0 if diagnosis.ok else 1)
