"""The cells of tables, tiles and captions: numbers, shares, bars, colours, links.

Each class implements markupsafe's `__html__`, so a template writes `{{ cell }}` for all of them. Plain strings
are cells too; the template escapes them.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from pixelwise.report import values


@dataclass(frozen=True, slots=True)
class Number:
    """A number with a fixed number of decimals; integers have none.

    Attributes:
        why: the reason to show if the value is None, NaN or infinite.
        best: whether to mark it as the best of its column.
    """

    value: float | int | None
    why: str = "not recorded"
    digits: int = 3
    best: bool = False

    def __html__(self) -> str:
        shown = values.number(self.value, self.why, self.digits)
        return Markup('<span class="best">{}</span>').format(shown) if self.best else Markup.escape(shown)


@dataclass(frozen=True, slots=True)
class Percent:
    """A share (0..1) in percent.

    Attributes:
        why: the reason to show if the value is None, NaN or infinite.
    """

    value: float | None
    why: str = "not recorded"

    def __html__(self) -> str:
        return Markup.escape(values.percent(self.value, self.why))


@dataclass(frozen=True, slots=True)
class Bar:
    """A share (0..1) as a horizontal bar; empty if it is undefined.

    Attributes:
        soft: whether to draw it in the paler colour for comparisons.
    """

    share: float | None
    soft: bool = False

    def __html__(self) -> str:
        share = 0.0 if self.share is None or values.undefined(self.share) else min(max(self.share, 0.0), 1.0)
        return Markup('<span class="bar{}" aria-hidden="true"><i style="width:{}%"></i></span>').format(
            " soft-bar" if self.soft else "", f"{100 * share:.1f}"
        )


@dataclass(frozen=True, slots=True)
class Swatch:
    """A name next to its colour.

    Attributes:
        colour: in CSS: `#e69f00`, or a variable of the page's style such as `var(--wrong)`.
    """

    text: str
    colour: str

    def __html__(self) -> str:
        return Markup('<span class="swatch" style="background:{}"></span>{}').format(self.colour, self.text)


@dataclass(frozen=True, slots=True)
class Strong:
    """A word that stands out.

    Attributes:
        wrong: whether to show it in the colour of errors.
    """

    text: str
    wrong: bool = False

    def __html__(self) -> str:
        return Markup('<b class="wrong">{}</b>' if self.wrong else "<b>{}</b>").format(self.text)


@dataclass(frozen=True, slots=True)
class Link:
    """A link to a file in the page's folder, or to a section of the page.

    Attributes:
        address: a relative address.
    """

    text: str
    address: str

    def __html__(self) -> str:
        return Markup('<a href="{}">{}</a>').format(self.address, self.text)


Cell = str | Number | Percent | Bar | Swatch | Strong | Link
