"""What several verbs print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from pixelwise.training.run import Run


def number(value: float | None) -> str:
    """Four digits, or a dash for what is undefined."""
    return "–" if value is None or value != value else f"{value:.4f}"


def print_metrics(summary: Mapping[str, Any]) -> None:
    """The summary of an evaluation as a table by class."""
    console = Console()
    table = Table(box=None, header_style="bold")
    table.add_column("class")
    for title in ("IoU", "Dice", "precision", "recall"):
        table.add_column(title, justify="right")
    outlines = summary.get("boundary", {}).get("f", {})  # runs measured before there were any have none
    if outlines:
        table.add_column("boundary F", justify="right")
    for name, iou in summary["iou"].items():
        scores = [iou, *(summary[key][name] for key in ("dice", "precision", "recall"))]
        table.add_row(name, *map(number, scores + [outlines[name]] * bool(outlines)))
    console.print(table)
    line = f"mean IoU {number(summary['mean_iou'])}   pixel accuracy {number(summary['pixel_accuracy'])}"
    if outlines:
        line += f"   boundary F {number(summary['boundary_f'])}"
    if "objects" in summary:
        parts = (f"{key.replace('_', ' ')} {number(value)}" for key, value in summary["objects"].items()
                 if isinstance(value, float))  # fmt: skip
        line += "\nobjects: " + "   ".join(parts)
    console.print(line, style="bold", highlight=False)
    console.print(f"{summary['pictures']} pictures of '{summary['split']}'; {summary['definition']}", highlight=False)
    if outlines:
        console.print(summary["boundary"]["definition"], highlight=False)


def print_result(run: Run) -> None:
    """The table of a finished run, and where to look; on the first process only."""
    from pixelwise.distributed import rank

    if rank() == 0:
        print_metrics(run.metrics)
        print(f"report: {run.report}\nnext:   {run.path / 'next.txt'}")
