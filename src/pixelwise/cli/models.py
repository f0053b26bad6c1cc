"""`pixelwise models`."""

from __future__ import annotations

from typing import Annotated

import typer


def models(
    task: Annotated[str | None, typer.Option(help="segment, classify or detect; default all.")] = None,
) -> None:
    """List the networks with their size, arithmetic, stride, receptive field and paper."""
    from rich.console import Console

    from pixelwise.catalog import SYSTEMS, list_models
    from pixelwise.models.classify.table import ENCODERS

    names = list_models(task)
    console = Console()
    for kind in sorted({SYSTEMS[name].task for name in names}):
        table = _dense_table if kind == "segment" else _classifier_table
        console.print(table([name for name in names if SYSTEMS[name].task == kind]))
        console.print()
    console.print(f"Encoders for networks that take one: {', '.join(sorted(ENCODERS))}", highlight=False)


def _dense_table(names: list[str]) -> object:
    from rich.table import Table

    from pixelwise.catalog import SYSTEMS
    from pixelwise.models.facts import network_facts

    table = Table(
        box=None,
        header_style="bold",
        caption="At paper size, with 21 classes. Operations: GFLOP a megapixel. Receptive field: side in pixels of "
        "what a logit depends on.",
        caption_justify="left",
    )
    for title in ("segment", "parameters", "operations", "stride", "receptive field", "paper"):
        table.add_column(title, justify="left" if title in {"segment", "paper"} else "right")
    for name in names:
        facts = network_facts(name, num_classes=21)
        table.add_row(
            name,
            f"{facts.parameters:,}",
            f"{facts.operations / 1e3:,.0f}",
            str(facts.stride),
            "whole picture" if facts.receptive_field is None else str(facts.receptive_field),
            SYSTEMS[name].paper,
        )
    return table


def _classifier_table(names: list[str]) -> object:
    import torch
    from rich.table import Table

    from pixelwise.catalog import SYSTEMS, create_model

    table = Table(box=None, header_style="bold", caption="With 1,000 classes.", caption_justify="left")
    for title in ("classify", "parameters", "paper"):
        table.add_column(title, justify="right" if title == "parameters" else "left")
    for name in names:
        with torch.device("meta"):  # counts without allocating
            network = create_model(name, num_classes=1000)
        table.add_row(name, f"{sum(parameter.numel() for parameter in network.parameters()):,}", SYSTEMS[name].paper)
    return table
