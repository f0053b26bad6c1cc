"""`pixelwise models`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

DENSE_CLASSES, PICTURE_CLASSES = 21, 1000
"""Classes for which sizes are stated: PASCAL VOC's with the background, and ImageNet's."""


def models(
    task: Annotated[str | None, typer.Option(help="List the networks of this task only; default all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON only.")] = False,
) -> None:
    """List the networks by task with their size and paper; of those that label pixels, also arithmetic, stride and
    receptive field."""
    from pixelwise.models.catalog import list_models
    from pixelwise.models.encoders import ENCODERS

    found = [_facts(name) for name in list_models(task)]
    if as_json:
        print(json.dumps({"models": found, "encoders": sorted(ENCODERS)}, indent=2))
        return
    from rich.console import Console

    console = Console()
    for kind in sorted({facts["task"] for facts in found}):
        _print_table(console, kind, [facts for facts in found if facts["task"] == kind])
        console.print()
    console.print(f"Encoders for networks that take one: {', '.join(sorted(ENCODERS))}", highlight=False)


def _facts(name: str) -> dict[str, Any]:
    """What is said of a network, as plain values: parameters at paper size, and of dense networks more."""
    import torch

    from pixelwise.models.catalog import MODELS, create_model
    from pixelwise.models.facts import network_facts

    entry = MODELS[name]
    named: dict[str, Any] = {"name": name, "task": entry.task}
    if entry.task == "segment":
        facts = network_facts(name, num_classes=DENSE_CLASSES)
        named |= {
            "classes": DENSE_CLASSES,
            "parameters": facts.parameters,
            "operations_per_pixel": facts.operations,
            "stride": facts.stride,
            "receptive_field": facts.receptive_field,
        }
    else:
        with torch.device("meta"):  # counts without allocating
            network = create_model(name, num_classes=PICTURE_CLASSES)
        named |= {
            "classes": PICTURE_CLASSES,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
        }
    return named | {"paper": entry.paper}


def _print_table(console: Any, task: str, rows: list[dict[str, Any]]) -> None:
    from pixelwise.cli.listing import Column, print_listing

    dense = "stride" in rows[0]
    columns = [Column(task), Column("parameters", "right")]
    if dense:
        columns += [Column(title, "right") for title in ("operations", "stride", "receptive field")]
    columns.append(Column("paper", folds=True))
    cells = []
    for facts in rows:
        cell = [facts["name"], f"{facts['parameters']:,}"]
        if dense:
            field = facts["receptive_field"]
            cell += [f"{facts['operations_per_pixel'] / 1e3:,.0f}", str(facts["stride"])]
            cell.append("whole" if field is None else str(field))
        cells.append([*cell, facts["paper"]])
    caption = f"With {rows[0]['classes']:,} classes."
    if dense:
        caption = (
            f"At paper size, with {rows[0]['classes']:,} classes. Operations: GFLOP per megapixel. Receptive field: "
            "side in pixels of what a logit depends on, or the whole picture."
        )
    print_listing(console, columns, cells, caption)
