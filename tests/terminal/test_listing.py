"""Tables fit the terminal; numbers and names are whole at any width."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from pixelwise.terminal import Column, Listing

COLUMNS = [
    Column("network", folds=True),
    Column("receptive field", "right"),
    Column("weights"),
    Column("paper", folds=True),
    Column("", optional=True),
]
ROWS = [
    ["unet", "204", "timm/resnet18.tv_in1k", "Ronneberger et al., MICCAI 2015, arXiv:1505.04597", "#########"],
    ["a class of 日本 cars", "1,353", "", "Newell et al., ECCV 2016", "###"],
    ["[bold]x[/]", "whole", "resnet18-f37072fd.pth", "", "#"],
]
NARROWEST = 34
"""Room for the longest cell that is not prose, with its title."""


def printed(width: int, listing: Listing) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(listing, soft_wrap=True)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", range(NARROWEST, 150, 3))
def test_every_cell_is_printed_within_the_width(width: int) -> None:
    lines = printed(width, Listing(COLUMNS, ROWS, "A sentence below the table, which is wrapped between its words."))
    assert max(map(cell_len, lines)) <= width
    assert not any(line.endswith(" ") for line in lines)
    text = "\n".join(lines)
    for name, field, weights, paper, _ in ROWS:
        assert any(field in line for line in lines)
        assert any(weights in line for line in lines)
        for word in f"{name} {paper}".split():
            assert word in text


def test_a_wide_table_is_aligned() -> None:
    listing = Listing([Column("class", folds=True), Column("boundary F", "right")], [["sky", "0.1"], ["road", "10.25"]])
    assert printed(80, listing) == ["class  boundary F", "sky           0.1", "road        10.25"]
    assert printed(15, listing) == ["       boundary", "class         F", "sky         0.1", "road      10.25"]
    assert printed(14, listing) == ["class", "sky", "  boundary F: 0.1", "road", "  boundary F: 10.25"]


def test_an_optional_column_gives_way_first() -> None:
    listing = Listing(
        [Column("name"), Column("share", "right"), Column("", optional=True)], [["sky", "43 %", "#" * 24]]
    )
    assert printed(37, listing) == ["name  share", f"sky    43 %  {'#' * 24}"]
    assert printed(36, listing) == ["name  share", "sky    43 %"]


def test_folded_columns_share_the_room() -> None:
    columns = [Column("name"), Column("for", folds=True)]
    lines = printed(30, Listing(columns, [["unet", "a network for masks of any folder"]]))
    assert lines == ["name  for", "unet  a network for masks of", "      any folder"]


def test_a_table_without_rows_or_titles() -> None:
    assert printed(80, Listing([Column("name"), Column("value")], [])) == ["name  value"]
    assert printed(80, Listing([Column(""), Column("")], [["a", "b"]])) == ["a  b"]
