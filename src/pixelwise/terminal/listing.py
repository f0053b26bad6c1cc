"""Tables for a terminal. Numbers and names are printed whole at any width; only prose fills several lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.text import Text

from pixelwise.terminal.prose import Prose, wrap

MIN_FOLDED = 16
"""The least width of a folded column in characters. If there is less room, each row becomes a paragraph."""
GAP = "  "
"""The space between two columns."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a listing.

    Attributes:
        folds: whether its text may fill several lines; other columns are never cut or wrapped.
        optional: whether a narrow terminal leaves the column out.
    """

    title: str
    justify: Literal["left", "right"] = "left"
    folds: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows as a table, or as one paragraph per row if the terminal is too narrow for the table.

    Attributes:
        rows: one cell per column; the first is the name of the row.
        caption: a sentence below the table.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[str | Text]]
    caption: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text | Prose]:
        whole = range(len(self.columns))
        needed = [index for index in whole if not self.columns[index].optional]
        for shown in (list(whole), needed):
            widths = self._widths(shown, options.max_width)
            if widths is not None:
                yield from self._table(shown, widths)
                break
        else:
            yield from self._paragraphs(needed, options.max_width)
        if self.caption:
            yield Prose(self.caption)

    def _widths(self, shown: Sequence[int], width: int) -> list[int] | None:
        """The widths of the shown columns, or None if they do not fit."""
        least, most = zip(*(self._extent(index) for index in shown), strict=True)
        room = width - len(GAP) * (len(shown) - 1)
        if sum(most) <= room:
            return list(most)
        if sum(least) > room:
            return None
        # Folded columns share what the others leave, the widest of them getting most of it.
        spare = room - sum(least)
        wanted = [
            high - low if self.columns[index].folds else 0 for index, low, high in zip(shown, least, most, strict=True)
        ]
        total = max(sum(wanted), 1)
        return [low + min(more, spare * more // total) for low, more in zip(least, wanted, strict=True)]

    def _extent(self, index: int) -> tuple[int, int]:
        """The least and the greatest width of a column."""
        column = self.columns[index]
        texts = [str(row[index]) for row in self.rows]
        longest = max(map(cell_len, texts), default=0)
        pieces = max((cell_len(word) for word in column.title.split()), default=0)
        most = max(longest, cell_len(column.title))
        if not column.folds:
            return max(longest, pieces), most
        unbroken = max((cell_len(line) for text in texts for line in wrap(text, 1)), default=0)
        return max(min(MIN_FOLDED, most), unbroken, pieces), most

    def _table(self, shown: Sequence[int], widths: Sequence[int]) -> Iterator[Text]:
        columns = [self.columns[index] for index in shown]
        if any(column.title for column in columns):
            titles: list[list[str | Text]] = []
            for column, width in zip(columns, widths, strict=True):
                titles.append(list(wrap(column.title, width)))
            height = max(map(len, titles))
            yield from self._lines(columns, [[""] * (height - len(lines)) + lines for lines in titles], widths, "bold")
        for row in self.rows:
            cells: list[list[str | Text]] = []
            for index, column, width in zip(shown, columns, widths, strict=True):
                cells.append(list(wrap(str(row[index]), width)) if column.folds else [row[index]])
            yield from self._lines(columns, cells, widths, "")

    @staticmethod
    def _lines(
        columns: Sequence[Column], cells: Sequence[Sequence[str | Text]], widths: Sequence[int], style: str
    ) -> Iterator[Text]:
        """The lines of one row, whose cells are lists of lines."""
        for number in range(max(map(len, cells))):
            line = Text(style=style, no_wrap=True, overflow="ignore")
            for column, lines, width in zip(columns, cells, widths, strict=True):
                cell = lines[number] if number < len(lines) else ""
                blank = " " * (width - cell_len(str(cell)))
                parts = (blank, cell) if column.justify == "right" else (cell, blank)
                line.append(GAP if line.plain or column is not columns[0] else "")
                for part in parts:
                    line.append(part)
            line.rstrip()
            yield line

    def _paragraphs(self, shown: Sequence[int], width: int) -> Iterator[Text | Prose]:
        """The name of each row, and below it the other cells with their titles; the prose begins a new line."""
        if self.columns[0].title:
            yield Prose(self.columns[0].title, style="bold")
        for row in self.rows:
            yield Text.assemble(row[0], no_wrap=True, overflow="ignore")
            line = ""
            for index in shown[1:]:
                column, cell = self.columns[index], str(row[index])
                if not cell:
                    continue
                named = f"{column.title}: {cell}" if column.title else cell
                if line and (column.folds or cell_len(line) + len(GAP) + cell_len(named) > width):
                    yield Text(line, no_wrap=True, overflow="ignore")
                    line = ""
                if column.folds:
                    yield Prose(named, first="  ", rest="    ")
                else:
                    line = f"{line}{GAP}{named}"
            if line:
                yield Text(line, no_wrap=True, overflow="ignore")
