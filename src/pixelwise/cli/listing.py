"""Tables of networks, recipes and weights. Names that the user types are printed whole at any width of the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

FOLDED = 16
"""The least width of a folded column in characters. If there is less room, each row becomes a paragraph."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a listing.

    Attributes:
        folds: whether its text may fill several lines; other columns are never cut or wrapped.
    """

    title: str
    justify: Literal["left", "right"] = "left"
    folds: bool = False


def print_listing(
    console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], caption: str = ""
) -> None:
    """Prints rows as a table, or as one paragraph per row if the console is too narrow for the table.

    Args:
        rows: one cell per column; the first is the name.
        caption: a sentence below the table.
    """
    widths = []
    for index, column in enumerate(columns):
        texts = [str(row[index]) for row in rows]
        pieces = [word for text in texts for word in text.split()] if column.folds else texts
        least = FOLDED if column.folds else 0
        widths.append(max([least, *map(len, pieces), *map(len, column.title.split())]))
    if sum(width + 2 for width in widths) <= console.width:
        table = Table(box=None, header_style="bold", caption=caption or None, caption_justify="left")
        for column, width in zip(columns, widths, strict=True):
            title = column.title if len(column.title) <= width else column.title.replace(" ", "\n")
            table.add_column(title, justify=column.justify, min_width=width, no_wrap=not column.folds)
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    console.print(columns[0].title, style="bold", highlight=False)
    for name, *values in rows:
        console.print(name, soft_wrap=True, highlight=False)
        for column, value in zip(columns[1:], values, strict=True):
            if str(value):
                line = f"{column.title}: {value}" if column.title else str(value)
                console.print(_indented(line, console.width), soft_wrap=True, highlight=False, markup=False)
    if caption:
        console.print(caption, highlight=False)


def _indented(line: str, width: int) -> str:
    """The line wrapped between words, never within one, so that identifiers stay whole."""
    return textwrap.fill(
        line,
        max(width, 20),
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
