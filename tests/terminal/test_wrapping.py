"""Paragraphs fit the terminal, and what a user types stays on one line."""

from __future__ import annotations

import random

import pytest
from rich.cells import cell_len

from pixelwise.terminal import Prose, show, wrap

WORDS = ["a", "learning", "rate", "of", "the", "network", "pictures,", "0.0275", "12.7 %", "well-known", "日本語の名前"]
TYPED = [
    "`pixelwise train --resume '/tmp/my run'`",
    "--set 'augment.crop=[64, 96]'",
    "--set optimizer.lr=0.00067",
    "'traffic light'",
    "runs/a-long-name/report.html",
]


def parts(seed: int) -> list[str]:
    """Words in random order, among them some that must stay whole although they hold spaces."""
    rng = random.Random(seed)
    drawn = rng.choices(WORDS, k=40) + rng.sample(TYPED, 3)
    rng.shuffle(drawn)
    return drawn


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_lines_are_full_and_no_part_is_divided(seed: int, width: int) -> None:
    left = parts(seed)
    lines = wrap(" ".join(left), width, "- ", "  ")
    assert [line[:2] for line in lines] == ["- ", *["  "] * (len(lines) - 1)]
    for line in lines:
        held = 1
        while " ".join(left[:held]) != line[2:]:
            held += 1
            assert held <= len(left), line
        assert cell_len(line) <= width or held == 1
        left = left[held:]
        assert not left or cell_len(f"{line} {left[0]}") > width
    assert not left


def test_an_apostrophe_begins_no_quotation() -> None:
    text = "the user's pictures and the runs' folders wrap 'like this' and the rest's words"
    assert max(map(len, wrap(text, 14))) <= 14


def test_a_path_with_spaces_at_the_beginning_of_a_message_stays_whole() -> None:
    lines = wrap("2 mistakes:\n  my new/run: exists already; give another --out.\n  nowhere: no such folder.", 30)
    assert lines == [
        "2 mistakes:",
        "  my new/run: exists already;",
        "    give another --out.",
        "  nowhere: no such folder.",
    ]


def test_a_pipe_gets_one_line_per_paragraph_without_escapes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    text = " ".join(parts(0) * 30)
    show(Prose(text, first="error: ", rest="  ", style="bold red", first_style="dim"))
    show(text, stderr=True)
    assert capsys.readouterr() == (f"error: {text}\n", f"{text}\n")
