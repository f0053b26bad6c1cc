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
    if "mean_iou" not in summary:
        _print_class_metrics(summary)
        return
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


MOST_ROWS = 40


def _print_class_metrics(summary: Mapping[str, Any]) -> None:
    """Of a classifier; of many classes the worst ones alone."""
    console = Console()
    table = Table(box=None, header_style="bold")
    table.add_column("class")
    for title in ("recall", "precision", "F1"):
        table.add_column(title, justify="right")
    names = list(summary["recall"])
    if len(names) > MOST_ROWS:
        names = sorted((name for name in names if summary["recall"][name] is not None), key=summary["recall"].get)
        names = names[:MOST_ROWS]
        table.title = f"the {MOST_ROWS} classes of lowest recall, of {len(summary['recall'])}"
    for name in names:
        table.add_row(name, *(number(summary[key][name]) for key in ("recall", "precision", "f1")))
    console.print(table)
    line = f"accuracy {number(summary['accuracy'])}   mean class accuracy {number(summary['mean_class_accuracy'])}"
    if "top5_accuracy" in summary:
        line += f"   top-5 accuracy {number(summary['top5_accuracy'])}"
    if "localised" in summary:
        line += f"   mean IoU of boxes {number(summary['box_iou'])}   localised {number(summary['localised'])}"
    if "objects" in summary:
        objects = summary["objects"]
        line += (
            f"\nall {objects['objects']} objects, confidence {objects['confidence']:g}: precision "
            f"{number(objects['precision'])}   recall {number(objects['recall'])}"
        )
    console.print(line, style="bold", highlight=False)
    console.print(f"{summary['pictures']} pictures of '{summary['split']}'; {summary['definition']}", highlight=False)


def print_result(run: Run) -> None:
    """The table of a finished run, and where to look; on the first process only."""
    from pixelwise.distributed import rank

    if rank() == 0:
        print_metrics(run.metrics)
        print(f"report: {run.report}\nnext:   {run.path / 'next.txt'}")
