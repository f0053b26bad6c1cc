"""`pixelwise check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.options import Layout, RunLengthOrder
from pixelwise.cli.process import prepare_for_pictures


def check(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The folder with pictures and labels.")],
    layout: Layout = "auto",
    rle_order: RunLengthOrder = "columns",
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
