"""`pixelwise weights`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def weights(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="A network; default all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON only.")] = False,
) -> None:
    """List published weights for a network: name, licence, and how pictures are normalised for them."""
    from rich.console import Console
    from rich.text import Text

    from pixelwise.catalog import SYSTEMS
    from pixelwise.cli.listing import Column, print_listing
    from pixelwise.errors import unknown
    from pixelwise.models.classify.table import ENCODERS
    from pixelwise.models.known_weights import KNOWN, known_weights

    if model is not None and model not in {*SYSTEMS, *ENCODERS}:
        raise unknown("model", model, {*SYSTEMS, *ENCODERS})
    found = sorted(KNOWN, key=lambda known: known.model) if model is None else known_weights(model)
    if as_json:
        print(json.dumps([{**asdict(known), "address": known.address} for known in found], indent=2))
        return
    console = Console()
    if not found:
        console.print(
            f"No published weights are known for {model}; its encoder may have some (`pixelwise weights` lists all), "
            "and a run or a file of your own serves: --set model.weights=FILE",
            highlight=False,
        )
        return
    columns = [Column(title) for title in ("model", "weights", "licence", "mean", "std")]
    rows: list[list[str | Text]] = [
        [
            known.model,
            Text(known.name, style=f"link {known.address}"),
            known.licence,
            *(" ".join(f"{value:g}" for value in part) for part in (known.mean, known.std)),
            known.note,
        ]
        for known in found
    ]
    print_listing(console, [*columns, Column("", folds=True)], rows)
    console.print(
        "All are of ImageNet's 1,000 classes; mean and std are of 8-bit RGB and are set for you. A name with a slash "
        "is taken from the Hugging Face hub, or from its cache: --set model.weights=NAME. The others are files of "
        "download.pytorch.org/models: download one and give its path; its digest is checked.",
        highlight=False,
    )
