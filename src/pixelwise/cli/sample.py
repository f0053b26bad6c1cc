"""`pixelwise sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.options import RunArgument
from pixelwise.cli.process import prepare_for_networks
from pixelwise.errors import UserError
from pixelwise.tasks.sampling import KEPT


def sample(
    run: RunArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder for the pictures.")],
    count: Annotated[
        int | None, typer.Option(metavar="COUNT", min=1, help="How many pictures to make; 64, or 8 of a given picture.")
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="SEED", help="Seed of the noise; the same seed gives the same pictures.")
    ] = 0,
    temperature: Annotated[
        float, typer.Option(metavar="T", help="How varied pictures are; below 1 they become more alike.")
    ] = 1.0,
    complete: Annotated[
        Path | None, typer.Option(metavar="PICTURE", help="Keep a part of this picture and make the rest.")
    ] = None,
    keep: Annotated[
        str, typer.Option(metavar="PART", help="The half to keep: top, bottom, left or right.", show_default="top")
    ] = KEPT[0],
    interpolate: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="A B", help="Lead from one picture to another by their codes.")
    ] = None,
    arithmetic: Annotated[
        tuple[Path, str, Path, str, Path] | None,
        typer.Option(
            metavar="A - B + C", help="The picture whose code is the code of A minus that of B plus that of C."
        ),
    ] = None,
) -> None:
    """Make pictures with a generative network: one sheet, and one file per picture."""
    from pixelwise import api

    prepare_for_networks()
    terms = None
    if arithmetic is not None:
        first, minus, second, plus, third = arithmetic
        if (minus, plus) != ("-", "+"):
            raise UserError(f"--arithmetic: found '{first} {minus} {second} {plus} {third}'; write A - B + C.")
        terms = (first, second, third)
    given = (complete, interpolate, arithmetic) != (None, None, None)
    sheet, *pictures = api.sample(
        run,
        out,
        count=count or (8 if given else 64),
        seed=seed,
        temperature=temperature,
        complete=complete,
        keep=keep,
        interpolate=interpolate,
        arithmetic=terms,
        progress=True,
    )
    print(f"{sheet}, and in the same folder {pictures[0].name} to {pictures[-1].name}")
