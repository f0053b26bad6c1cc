"""The blocks of a page: numbers, tables, figures, pictures, text. They do not depend on any task.

A page is a list of sections, and a section is a list of blocks. `page.write_page` lays them out. For every class here,
`blocks.html.j2` has a macro with the same name in lower case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from pixelwise.report.cells import Cell, Swatch


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading within a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph.

    Attributes:
        soft: whether to show it smaller and paler, as a remark.
    """

    text: str | Sequence[Cell]
    soft: bool = False

    @property
    def cells(self) -> Sequence[Cell]:
        """The paragraph as cells, which are written one after the other."""
        return (self.text,) if isinstance(self.text, str) else self.text


@dataclass(frozen=True, slots=True)
class Tile:
    """One large number.

    Attributes:
        why: the reason to show if the value is None or NaN.
    """

    label: str
    value: float | int | None
    why: str = "not recorded"


@dataclass(frozen=True, slots=True)
class Numbers:
    """Large numbers side by side; the first one is the largest."""

    tiles: Sequence[Tile]


@dataclass(frozen=True, slots=True)
class Facts:
    """A list of names and values.

    Attributes:
        values: name -> number, text, list or mapping; underscores in names become spaces, and a value whose name ends
            in `seconds` is shown as a duration.
    """

    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """The head of one column of a table.

    Attributes:
        right: whether its cells are aligned to the right, for numbers.
        width: its share of the table's width in percent; None for as wide as its cells.
        soft: whether its cells are smaller and paler, for remarks.
        optional: whether narrow screens leave the column out.
    """

    title: str = ""
    right: bool = False
    soft: bool = False
    width: int | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; the first cell of a row names it.

    Attributes:
        columns: one per cell of a row. If no column has a title, the table has no head.
        rows: each as long as `columns`.
        compact: whether the table is only as wide as its cells, with tight rows.
        tall: whether the table has a fixed height and scrolls, while its head stays visible.

    Raises:
        ValueError: a row of a different length.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    compact: bool = False
    tall: bool = False

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells in a table of {len(self.columns)} columns")


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing.

    Attributes:
        svg: from `pictures.svg`.
        title: a heading above it.
        caption: a remark between title and drawing.
        form: `plain`; `wide` never becomes too small to read; `matrix` is shown in its original size.
    """

    svg: Markup
    title: str = ""
    caption: str = ""
    form: Literal["plain", "wide", "matrix", "wide matrix"] = "plain"


@dataclass(frozen=True, slots=True)
class Figures:
    """Drawings side by side, as many per row as fit. An item may also be a list of paragraphs."""

    items: Sequence[Figure | Sequence[Text]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with a caption.

    Attributes:
        address: from `pictures.jpeg` or `pictures.png`; the picture is part of the page.
        size: (width, height) in pixels.
        caption: cells, written one after the other; a line break in a text breaks the line.
        alt: what the picture shows, for screen readers.
    """

    address: str
    size: tuple[int, int]
    caption: Sequence[Cell] = ()
    alt: str = ""


@dataclass(frozen=True, slots=True)
class ColourBar:
    """A legend for the colours of a map of values.

    Attributes:
        low, high: the values at the ends of the colour map, as text with their unit.
        label: what the values are.
        colours: name of a matplotlib colour map.
    """

    low: str
    high: str
    label: str = ""
    colours: str = "viridis"

    @property
    def gradient(self) -> str:
        """The colour map as a CSS gradient of nine colours."""
        from matplotlib import colormaps

        stops = [colormaps[self.colours](place / 8, bytes=True)[:3] for place in range(9)]
        return f"linear-gradient(to right, {', '.join('#{:02x}{:02x}{:02x}'.format(*stop) for stop in stops)})"


@dataclass(frozen=True, slots=True)
class Panels:
    """Pictures of the same thing side by side: an input, its truth, its prediction.

    Attributes:
        caption: cells above the pictures.
        columns: pictures per row on a wide screen; None for all in one row. Narrow screens show two per row; if the
            number is odd and there is a caption, the first picture has a row for itself.
        scale: a legend for the colours of the pictures.
        small: whether they take at most two thirds of the page's width.
    """

    pictures: Sequence[Picture]
    caption: Sequence[Cell] = ()
    columns: int | None = None
    scale: ColourBar | None = None
    small: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """Small pictures in square frames: examples of a class, samples of a generator.

    Attributes:
        columns: pictures per row on a wide screen; None for as many as fit.
        narrow: pictures per row on a phone, if `columns` is given.
    """

    pictures: Sequence[Picture]
    columns: int | None = None
    narrow: int = 3


@dataclass(frozen=True, slots=True)
class Sheets:
    """Pictures in their original size, as many per row as fit: contact sheets, filters."""

    pictures: Sequence[Picture]


@dataclass(frozen=True, slots=True)
class Legend:
    """Colours and what they stand for, on one line."""

    entries: Sequence[Swatch]


@dataclass(frozen=True, slots=True)
class Code:
    """Unchanged text in a monospaced font."""

    text: str


@dataclass(frozen=True, slots=True)
class Details:
    """Blocks that unfold on a click.

    Attributes:
        summary: the line that is visible while they are folded.
        open: whether they start unfolded.
    """

    summary: str
    blocks: Sequence[Block]
    open: bool = False


@dataclass(frozen=True, slots=True)
class Commands:
    """Commands to copy; one click selects a whole command."""

    commands: Sequence[str]


@dataclass(frozen=True, slots=True)
class Definitions:
    """Terms and what they mean: term -> one or more sentences."""

    terms: Mapping[str, str]


Block = (
    Heading | Text | Numbers | Facts | Table | Figure | Figures | Panels | Grid | Sheets | Legend | ColourBar
    | Code | Details | Commands | Definitions
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page with a heading.

    Attributes:
        id: the part of an address after `#`, unique on the page.
        note: a short remark next to the title.
        link: the section's name in the list of sections at the top; None for its title, empty for no entry.
    """

    id: str
    title: str
    blocks: Sequence[Block]
    note: str = ""
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page.

    Attributes:
        about: a sentence below the title.

    Raises:
        ValueError: two sections with the same id.
    """

    title: str
    sections: Sequence[Section]
    about: str = ""

    def __post_init__(self) -> None:
        ids = [section.id for section in self.sections]
        twice = sorted({one for one in ids if ids.count(one) > 1})
        if twice:
            raise ValueError(f"several sections have the id {', '.join(twice)}")
