"""What several commands print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from pixelwise.report import blocks, cells
from pixelwise.report.limits import limit_lines

if TYPE_CHECKING:
    from pixelwise.training.run import Run


def number(value: float | None) -> str:
    """The number with four digits, or a dash if it is undefined."""
    return "–" if value is None or value != value else f"{value:.4f}"


def print_blocks(parts: Sequence[blocks.Block]) -> None:
    """Prints headings, tables and paragraphs of a report on a terminal."""
    console = Console()
    for part in parts:
        if isinstance(part, blocks.Table):
            console.print(_table(part))
        elif isinstance(part, blocks.Heading):
            console.print(part.text, style="bold", highlight=False)
        elif isinstance(part, blocks.Text):
            strong = any(isinstance(cell, cells.Strong) for cell in part.cells)
            text = "".join(plain(cell) for cell in part.cells)
            console.print(text, style="bold" if strong else None, highlight=False, markup=False)


def _table(part: blocks.Table) -> Table:
    table = Table(box=None, header_style="bold")
    for index, column in enumerate(part.columns):
        # The name of a row is never cut; it folds if the terminal is narrow.
        table.add_column(column.title, justify="right" if column.right else "left", overflow="fold", no_wrap=index > 0)
    for row in part.rows:
        table.add_row(*map(plain, row))
    return table


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
        print(f"report: {run.report}\nnext:   {run.path / 'next.txt'}")
