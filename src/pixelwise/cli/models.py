"""`pixelwise models`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer


def models(
    task: Annotated[str | None, typer.Option(metavar="TASK", help="List only the networks of this task.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """List the networks by task: size, paper, and for dense networks operations, stride and receptive field."""
    from pixelwise.catalog import list_models
    from pixelwise.models.classify.table import ENCODERS

    found = [_facts(name) for name in list_models(task)]
    if as_json:
        print(json.dumps({"models": found, "encoders": sorted(ENCODERS)}, indent=2))
        return
    from pixelwise.terminal import show

    for kind in sorted({facts["task"] for facts in found}):
        _print_table(kind, [facts for facts in found if facts["task"] == kind])
        show()
    show(f"Encoders for networks that take one: {', '.join(sorted(ENCODERS))}")


def _facts(name: str) -> dict[str, Any]:
    """Facts about a network as plain values: its parameters at paper size, and more for dense networks."""
    import torch

    from pixelwise.catalog import create_model, system
    from pixelwise.models.facts import network_facts
    from pixelwise.nn.dense import DenseModel

    entry = system(name)
    options = dict(entry.task.paper_options)
    with torch.device("meta"):  # counts without allocating
        network = create_model(name, **options)
    named: dict[str, Any] = {
        "name": name,
        "task": entry.task.name,
        "tasks": [task.name for task in entry.tasks],
        "classes": options.get("num_classes"),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    if isinstance(network, DenseModel):
        facts = network_facts(network)
        named |= {
            "operations_per_pixel": facts.operations,
            "stride": facts.stride,
            "receptive_field": facts.receptive_field,
        }
    return named | {"method": entry.method, "paper": entry.paper}


def _print_table(task: str, rows: list[dict[str, Any]]) -> None:
    from pixelwise.terminal import Column, Listing, show

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
    classes = rows[0]["classes"]
    caption = "At paper size." if classes is None else f"At paper size, with {classes:,} classes."
    if dense:
        caption += (
            " Operations: GFLOP per megapixel. Receptive field: side in pixels of the square that a logit depends on, "
            "or the whole picture."
        )
    show(Listing(columns, cells, caption))
