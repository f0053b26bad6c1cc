"""Paragraphs for a terminal. Commands, settings, paths and quoted names stay on one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

UNLIMITED = 1_000_000
"""The width in characters of what is not a terminal."""

WHOLE = re.compile(
    r"`[^`\n]+`"  # a command
    r"|--[a-z][a-z-]*[ =]'[^'\n]*'"  # an option whose value is quoted for the shell
    r"|--[a-z][a-z-]* [^\s(]\S*"  # an option and its value
    r"|(?<![^\s(])'[^'\n]+'(?![^\s.,;:?!)])"  # a quoted name or path
    r"|^ *(?:\S+ ){0,2}\S*/[^:;,(\n]*:(?= )"  # the path that a message begins with
    r"|\d %",
    re.MULTILINE,
)
"""Parts of a sentence that no line break may divide, although they hold spaces."""

_JOINT = "\ue000"  # of the private use area, and as wide as a space


def console(*, stderr: bool = False) -> Console:
    """The console of a stream: as wide as the terminal, or unlimited for a pipe or a file."""
    found = Console(stderr=stderr)
    return found if found.is_terminal else Console(stderr=stderr, width=UNLIMITED)


def show(part: RenderableType = "", *, stderr: bool = False) -> None:
    """Prints a paragraph, a listing or another renderable; a string is a paragraph."""
    console(stderr=stderr).print(Prose(part) if isinstance(part, str) else part, soft_wrap=True)


def wrap(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    """Breaks a text into lines between words, and never within a part that `WHOLE` matches.

    A word that is longer than the width has a line of its own. That line is longer than the width, so that the terminal
    breaks it, and a copy of it is still one word.

    Args:
        first, rest: what the first line and the other lines begin with. Lines that belong to an indented line of the
            text are indented like it, and by two spaces more.

    >>> wrap("Start again: `pixelwise train unet`, now.", 16)
    ['Start again:', '`pixelwise train unet`,', 'now.']
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        body = paragraph.lstrip(" ")
        inset = " " * (len(paragraph) - len(body))
        line, empty = (rest if lines else first) + inset, True
        for word in WHOLE.sub(lambda found: found[0].replace(" ", _JOINT), body).split(" "):
            if not empty and cell_len(line) + 1 + cell_len(word) > width:
                lines.append(line)
                line, empty = rest + (f"{inset}  " if inset else ""), True
            if word or not lines or not empty:
                line, empty = line + ("" if empty else " ") + word, False
        lines.append(line)
    return [line.replace(_JOINT, " ").rstrip() for line in lines]


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph that fits the terminal, for `show`.

    Attributes:
        first, rest: what the first line and the other lines begin with.
        first_style: the style of `first`, if not that of the text.
    """

    text: str
    first: str = ""
    rest: str = ""
    style: str = ""
    first_style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        for number, line in enumerate(wrap(self.text, options.max_width, self.first, self.rest)):
            text = Text(line, self.style, no_wrap=True, overflow="ignore")
            if number == 0:
                text.stylize(self.first_style, 0, len(self.first))
            yield text
