"""`pixelwise models`."""

from __future__ import annotations

from typing import Annotated

import typer


def models(
    task: Annotated[str | None, typer.Option(help="segment or classify; default both.")] = None,
) -> None:
    """List the networks, with their parameters and papers."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from pixelwise.models.catalog import MODELS, create_model, list_models
    from pixelwise.models.encoders import ENCODERS

    table = Table(box=None, header_style="bold")
    for title, justify in (("model", "left"), ("task", "left"), ("parameters", "right"), ("paper", "left")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for name in list_models(task):
        entry = MODELS[name]
        with torch.device("meta"):  # counts without allocating
            network = create_model(name, num_classes=21 if entry.task == "segment" else 1000)
        count = sum(parameter.numel() for parameter in network.parameters())
        table.add_row(name, entry.task, f"{count:,}", entry.paper)
    console = Console()
    console.print(table)
    console.print(
        "Parameters at paper size, with 21 classes (segment) or 1,000 (classify).\n"
        f"Encoders for networks that take one: {', '.join(sorted(ENCODERS))}",
        highlight=False,
    )
