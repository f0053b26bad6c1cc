"""Blocks and the page that lays them out: every kind is shown, escaped, self-contained and repeatable."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from matplotlib.figure import Figure as Drawing

from page_reader import PageReader
from pixelwise.notebook import jpeg
from pixelwise.report import blocks as b
from pixelwise.report import cells
from pixelwise.report.page import render_page, write_page
from pixelwise.report.pictures import png, resized, svg

EVIL = '<b>&"'
SQUARE = np.zeros((4, 6, 3), np.uint8)


def drawing(label: str = EVIL) -> b.Figure:
    return b.Figure(svg(Drawing((1, 1)), label), title=EVIL, caption=EVIL)


def picture(caption: str = EVIL) -> b.Picture:
    return b.Picture(jpeg(SQUARE), (6, 4), (cells.Strong(caption), caption), alt=EVIL)


EVERY: dict[str, b.Block] = {
    "Heading": b.Heading(EVIL),
    "Text": b.Text((EVIL, cells.Link(EVIL, "other.html")), soft=True),
    "Numbers": b.Numbers((b.Tile(EVIL, 0.25), b.Tile("n", None, EVIL))),
    "Facts": b.Facts({EVIL: EVIL, "some_seconds": 75}),
    "Table": b.Table(
        (b.Column(EVIL), b.Column("n", right=True), b.Column(width=30), b.Column(optional=True)),
        ((cells.Swatch(EVIL, EVIL), cells.Number(0.5, best=True), cells.Bar(0.5), cells.Percent(0.125)),),
    ),
    "Figure": drawing(),
    "Figures": b.Figures((drawing("left"), (b.Text(EVIL), b.Text("second")))),
    "Panels": b.Panels((picture(), picture()), (cells.Strong(EVIL), EVIL), scale=b.ColourBar(EVIL, "9 m", EVIL)),
    "Grid": b.Grid((picture(), picture()), columns=8),
    "Sheets": b.Sheets((picture(),)),
    "Legend": b.Legend((cells.Swatch(EVIL, "#123456"),)),
    "ColourBar": b.ColourBar(EVIL, EVIL, EVIL),
    "Code": b.Code(EVIL),
    "Details": b.Details(EVIL, (b.Code("inner"),)),
    "Commands": b.Commands((EVIL, "second")),
    "Definitions": b.Definitions({EVIL: EVIL}),
}


def of(*some: b.Block) -> str:
    """The HTML of blocks, without what surrounds them on a page."""
    page = render_page(b.Page("title", [b.Section("here", "Here", some)]))
    return page[page.index("<h2>Here</h2>") + 13 : page.index("</section>")]


def test_there_is_an_example_of_every_kind() -> None:
    assert set(EVERY) == {kind.__name__ for kind in get_args(b.Block)}


@pytest.mark.parametrize("kind", EVERY)
def test_every_block_is_shown_whole_and_escaped(kind: str) -> None:
    text = of(EVERY[kind])
    reader = PageReader(text)
    # A name may stand in texts and in attributes; nowhere may it open an element, and nowhere may it be escaped twice.
    assert EVIL not in text
    assert "&amp;lt;" not in text
    assert EVIL in reader.text
    assert reader.tags - {"b"} or kind == "Text"


def test_equal_pages_give_equal_bytes_and_name_no_address(tmp_path: Path) -> None:
    page = b.Page(EVIL, [b.Section(f"s{i}", EVIL, [block]) for i, block in enumerate(EVERY.values())], about=EVIL)
    write_page(tmp_path / "one.html", page)
    write_page(tmp_path / "two.html", page)
    text = (tmp_path / "one.html").read_text(encoding="utf-8")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    reader = PageReader(text)
    assert not re.search(r"https?:|@import|url\((?!#)", text)
    assert not reader.tags & {"script", "link", "iframe", "object"}
    for address in reader.addresses:
        assert address.startswith(("data:image/", "#")) or address == "other.html"


def test_the_list_of_sections_is_that_of_the_page() -> None:
    sections = [
        b.Section("first", "First", [b.Text("one")]),
        b.Section("second", "A long title", [], link="Second", note="a note"),
        b.Section("third", "Third", [], link=""),
    ]
    text = render_page(b.Page("title", sections))
    reader = PageReader(text)
    assert re.findall(r'<a href="#(\w+)">(.*?)</a>', text) == [("first", "First"), ("second", "Second")]
    assert reader.ids == ["first", "second", "third"]
    assert [re.sub("<.*?>", "", title) for title in re.findall("<h2>(.*?)</h2>", text)] == [
        "First", "A long title a note", "Third",
    ]  # fmt: skip


def test_two_sections_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="id one"):
        b.Page("title", [b.Section("one", "One", []), b.Section("one", "Two", [])])


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="3 cells in a table of 2 columns"):
        b.Table((b.Column("a"), b.Column("b")), (("x", "y"), ("x", "y", "z")))


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_undefined_numbers_are_a_dash_with_the_reason(value: float | None) -> None:
    dash = '<span class="absent" title="why &lt;not&gt;">–</span>'
    cell, share = cells.Number(value, "why <not>"), cells.Percent(value, "why <not>")
    row = b.Table((b.Column("name"), b.Column(), b.Column(), b.Column()), (("x", cell, share, cells.Bar(value)),))
    text = of(row, b.Numbers((b.Tile("score", value, "why <not>"),)))
    assert text.count(dash) == 3
    assert 'style="width:0.0%"' in text
    assert 'title="not recorded">–' in of(b.Facts({"name": None if value is None else math.nan}))
    assert not re.search(r">[^<]*(nan|inf|None)", text)


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (cells.Number(0.12345), "0.123"),
        (cells.Number(1234567), "1,234,567"),
        (cells.Number(1.26, digits=1), "1.3"),
        (cells.Percent(0.4567), "45.7\N{NO-BREAK SPACE}%"),
        (cells.Percent(0.0), "0.0\N{NO-BREAK SPACE}%"),
        (cells.Percent(1e-5), "<\N{NO-BREAK SPACE}0.1\N{NO-BREAK SPACE}%"),
    ],
)
def test_numbers_for_people(cell: cells.Cell, shown: str) -> None:
    assert PageReader(of(b.Text((cell,)))).text.strip() == shown


def test_facts_for_people() -> None:
    values = {"a_b": True, "training_seconds": 3725, "wait_seconds": 4.25, "split": {"train": 1200}, "x": [1, 0.5]}
    text = of(b.Facts(values))
    pairs = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text))
    assert pairs == {"a b": "yes", "training": "1 h 2 min", "wait": "4.25 s", "split": "train: 1,200", "x": "1, 0.5"}


def test_a_table_without_titles_has_no_head() -> None:
    columns = (b.Column(), b.Column(right=True))
    assert "<thead>" not in of(b.Table(columns, (("a", "b"),)))
    assert "<thead>" in of(b.Table((b.Column("x"), *columns[1:]), (("a", "b"),)))
    assert '<th scope="row">a</th><td class="right">b</td>' in of(b.Table(columns, (("a", "b"),)))


def test_a_colour_bar_goes_from_the_colour_of_the_least_value_to_that_of_the_greatest() -> None:
    stops = re.findall("#[0-9a-f]{6}", b.ColourBar("0", "1", colours="gray").gradient)
    assert stops[0] == "#000000"
    assert stops[-1] == "#ffffff"
    assert stops == sorted(stops)


def test_pictures_keep_their_proportions() -> None:
    image = np.zeros((10, 40, 3), np.uint8)
    image[:, 20:] = 200
    small = resized(image, (4, 1))
    assert small[0, :, 0].tolist() == [0, 0, 200, 200]
    assert resized(image, (40, 10)) is not None
    assert png(image[:, :, 0], np.zeros((256, 3), np.uint8)).startswith("data:image/png;base64,")
