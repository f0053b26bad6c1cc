"""Arguments and options that several commands have, and how their texts become values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pixelwise.data.order import Order
from pixelwise.errors import UserError

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or the model file in it.")]
Layout = Annotated[str, typer.Option(metavar="LAYOUT", help="Layout of the data (docs/data.md); auto recognises it.")]
RunLengthOrder = Annotated[
    Order, typer.Option(metavar="ORDER", help="Order in which run lengths in tables count pixels: columns or rows.")
]
Flips = Annotated[
    str, typer.Option(metavar="FLIPS", help="Average predictions over mirror images: none, horizontal or all.")
]
Scales = Annotated[
    str, typer.Option(metavar="SCALES", help="Average predictions over magnifications, for example 0.75,1,1.25.")
]
Refine = Annotated[
    str, typer.Option(metavar="HOW", help="Align masks with the edges of the picture: none, crf or superpixels.")
]
TaskOptions = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Set any other option of the network's task; the option may be repeated."),
]


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Parses `name=value` strings into keywords; values are read as YAML.

    Raises:
        UserError: no equals sign, or a value that is not YAML.
    """
    from pixelwise.training.recipes import parse_overrides

    return dict(parse_overrides(texts, flag="--option"))


def parse_scales(text: str) -> tuple[float, ...]:
    """Parses `0.75,1,1.25` into numbers.

    Raises:
        UserError: the text is not a list of numbers.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--scales {text}: expected numbers separated by commas, such as 0.75,1,1.25") from None
