"""The examples in Python sessions of all pages give what the pages say they give."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
from pages import DOCS, code_blocks

SESSIONS = [
    page
    for page in sorted(DOCS.glob("*.md"))
    if any(">>>" in text for _, text in code_blocks(page.read_text(encoding="utf-8"), "python"))
]


@pytest.mark.parametrize("page", SESSIONS, ids=lambda page: page.stem)
def test_sessions(page: Path) -> None:
    globs: dict[str, object] = {}
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for line, text in code_blocks(page.read_text(encoding="utf-8"), "python"):
        if ">>>" in text:
            example = parser.get_doctest(text, globs, page.name, str(page), line - 1)
            runner.run(example, clear_globs=False)
            globs = example.globs
    assert runner.summarize(verbose=False).failed == 0
