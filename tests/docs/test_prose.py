"""Patterns that do not read as English are kept out of pages, docstrings, comments and messages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import DOCS, ROOT

UNITS = (
    "pixel|class|picture|epoch|step|row|file|line|object|channel|joint|stack|split|batch|box|tile|crop|run|name|stage"
)
COUNTED = r"one|two|three|\d+|ids?|numbers?|values?|files?|lines?|seconds|minutes"
AFTER_UNIT = "of|that|which|when|where|is|has|in|for|with|at|as"
OF_TRAINING = (
    "run|step|set|picture|sample|loop|loss|split|crop|image|batch|pass|time|script|recipe|stream|seed|score|folder|mode|"
    "process|data|copy"
)
PARTS = "convolution|layer|norm|ReLU|pooling|head|block|map"
PATTERNS = {
    "'per', not 'a'": rf"\b(?:{COUNTED}) an? (?:{UNITS})\b(?! (?:{AFTER_UNIT})\b)",
    "'a training run' or 'training', not 'a training'": rf"\ba training\b(?! (?:{OF_TRAINING}))",
    "'after', not 'behind'": rf"\b(?:{PARTS})s? behind\b|\bbehind (?:the|an?|every|each) (?:{PARTS}|encoder)\b",
    "'fix', not 'mend'": r"\bmend(?:s|ed|ing)?\b",
    "word order": r"\bthere always (?:is|are)\b|\b(?:are|is) behind \w+ \w+ still\b",
    "a riddle": r"multiple of nothing|Cures are brakes|surer of its errors|every mismatch said",
    "modules do not speak": r"\b(?:network|module|loss|model|layer)s? (?:asks?|wants?|says?)\b",
}
BAD = (
    "one class id a pixel", "a training takes an hour", "a norm behind each layer", "how to mend it",
    "so that there always is some", "any multiple of nothing", "what the network says",
)  # fmt: skip


def texts() -> list[Path]:
    pages = [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    code = [*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py"), *(ROOT / "src").rglob("*.yaml")]
    return sorted(pages + code)


@pytest.mark.parametrize("rule", PATTERNS)
def test_no_text_has(rule: str) -> None:
    found = []
    for path in texts():
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(PATTERNS[rule], text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path.relative_to(ROOT)}:{line}: {match.group()}")
    assert not found, f"{rule}: {len(found)}\n" + "\n".join(found[:40])


@pytest.mark.parametrize(("rule", "sentence"), list(zip(PATTERNS, BAD, strict=True)))
def test_the_patterns_find_what_they_are_for(rule: str, sentence: str) -> None:
    assert re.search(PATTERNS[rule], sentence)
