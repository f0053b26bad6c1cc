"""`pixelwise weights`."""

from __future__ import annotations

from typing import Annotated

import typer


def weights(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="A network; default all.")] = None,
) -> None:
    """List published weights for a network: name, licence, and how pictures are normalised for them."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pixelwise.catalog import SYSTEMS
    from pixelwise.errors import unknown
    from pixelwise.models.classify.table import ENCODERS
    from pixelwise.models.known_weights import KNOWN, known_weights

    if model is not None and model not in {*SYSTEMS, *ENCODERS}:
        raise unknown("model", model, {*SYSTEMS, *ENCODERS})
    found = sorted(KNOWN, key=lambda known: known.model) if model is None else known_weights(model)
    console = Console()
    if not found:
        console.print(
            f"No published weights are known for {model}; its encoder may have some (`pixelwise weights` lists all), "
            "and a run or a file of your own serves: --set model.weights=FILE",
            highlight=False,
        )
        return
    table = Table(box=None, header_style="bold")
    for title in ("model", "weights", "licence", "mean", "std", ""):
        table.add_column(title)
    for known in found:
        table.add_row(
            known.model,
            Text(known.name, style=f"link {known.address}"),
            known.licence,
            *(" ".join(f"{value:g}" for value in part) for part in (known.mean, known.std)),
            known.note,
        )
    console.print(table)
    console.print(
        "All are of ImageNet's 1,000 classes; mean and std are of 8-bit RGB and are set for you. A name with a slash "
        "is taken from the Hugging Face hub, or from its cache: --set model.weights=NAME. The others are files of "
        "download.pytorch.org/models: download one and give its path; its digest is checked.",
        highlight=False,
    )
