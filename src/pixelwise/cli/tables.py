"""What several commands print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise.report import blocks, cells
from pixelwise.report.limits import limit_lines
from pixelwise.terminal import Column, Listing, Prose, show

if TYPE_CHECKING:
    from pixelwise.training.run import Run


def number(value: float | None) -> str:
    """The number with four digits, or a dash if it is undefined."""
    return "–" if value is None or value != value else f"{value:.4f}"


def print_blocks(parts: Sequence[blocks.Block]) -> None:
    """Prints headings, tables and paragraphs of a report on a terminal."""
    for part in parts:
        if isinstance(part, blocks.Table):
            show(_listing(part))
        elif isinstance(part, blocks.Heading):
            show(Prose(part.text, style="bold"))
        elif isinstance(part, blocks.Text):
            strong = any(isinstance(cell, cells.Strong) for cell in part.cells)
            text = "".join(plain(cell) for cell in part.cells)
            bullet = "- " if text.startswith("- ") else ""
            show(Prose(text.removeprefix(bullet), bullet, " " * len(bullet), "bold" if strong else ""))


def _listing(part: blocks.Table) -> Listing:
    columns = [
        Column(column.title, "right" if column.right else "left", folds=not column.right, optional=column.optional)
        for column in part.columns
    ]
    return Listing(columns, [[plain(cell) for cell in row] for row in part.rows])


def plain(cell: cells.Cell) -> str:
    """A cell as text."""
    if isinstance(cell, cells.Number):
        if isinstance(cell.value, int):
            return f"{cell.value:,}"
        return "–" if cell.value is None or cell.value != cell.value else f"{cell.value:.{cell.digits}f}"
    if isinstance(cell, cells.Percent):
        return "–" if cell.value is None or cell.value != cell.value else f"{100 * cell.value:.1f} %"
    if isinstance(cell, cells.Bar):
        return ""
    return cell if isinstance(cell, str) else cell.text


def print_result(run: Run) -> None:
    """Prints the scores of a finished run and the files to look at, on the first process only."""
    from pixelwise import api
    from pixelwise.distributed import rank

    if rank() == 0:
        print_blocks(api.tables(run.path, run.metrics))
        print_blocks(limit_lines(run.limits))
        print_files(run)


def print_files(run: Run, **folders: Path) -> None:
    """Prints the files to look at, each on a line of its own, and the first of the commands that may follow."""
    listed = run.path / "next.txt"
    commands = [line for line in listed.read_text().splitlines() if line and not line.startswith("#")]
    for name, value in {"report": run.report, **folders, "commands": listed, "next": commands[0]}.items():
        print(f"{name + ':':<9} {value}")
