"""Reads the pages of docs/: their tables and code blocks."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def table_under(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table after a heading, without its head."""
    lines = page[page.index(f"{heading}\n") :].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def code_blocks(page: str, language: str) -> list[tuple[int, str]]:
    """Fenced blocks of a language: the line that each begins in, and its text."""
    pattern = re.compile(rf"^```{re.escape(language)}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [(page[: match.start()].count("\n") + 2, match.group(1)) for match in pattern.finditer(page)]
