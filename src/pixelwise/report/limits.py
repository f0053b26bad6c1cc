"""Findings on what limits a result, with numbers and advice: as data, in a report and on a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pixelwise.recipe.recipe import inline
from pixelwise.report.blocks import Block, Commands, Details, Section, Text
from pixelwise.report.cells import Strong

TITLE = "What limits this result"
MAX_LINES = 5
"""The most lines that a terminal shows; the last line then counts the rest."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One finding about a finished training run.

    Attributes:
        code: the kind of finding, for programs.
        sentence: what was measured, with numbers.
        advice: what to try, in a sentence.
        flags: the flags of `pixelwise train` with the run's recipe that try it; empty if the advice is not a new run.
        command: the whole command of that run.
        files: the files that the finding is about, the worst first, relative to the folder of the data.
        blocks: the evidence that the report shows.
    """

    code: str
    sentence: str
    advice: str
    flags: str = ""
    command: str = ""
    files: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The finding for `limits.json`, without empty fields."""
        found: dict[str, Any] = {"code": self.code, "sentence": self.sentence, "advice": self.advice}
        if self.command:
            found["command"] = self.command
        return {**found, "files": list(self.files)} if self.files else found


def settings(values: Mapping[str, Any]) -> str:
    """Recipe keys and their values as flags of `pixelwise train`.

    >>> settings({"loss.class_weights": "none", "augment.crop": [64, 96]})
    "--set loss.class_weights=none --set 'augment.crop=[64, 96]'"
    """
    return " ".join(f"--set {shlex.quote(f'{key}={inline(value)}')}" for key, value in values.items())


def rounded_percent(share: float) -> str:
    """A share of 0..1 in whole percent.

    >>> rounded_percent(0.055)
    '6 %'
    """
    return f"{100 * share:.0f} %"


def limits_section(limits: Sequence[Limit]) -> Section:
    """The section of a report with each finding, what to try, the command that tries it, and the evidence."""
    blocks: list[Block] = []
    for limit in limits:
        blocks += [Text([Strong(limit.sentence)]), Text(limit.advice)]
        if limit.command:
            blocks.append(Details("The command", [Commands([limit.command])]))
        blocks += limit.blocks
    return Section("limits", TITLE, blocks)


def limit_lines(limits: Sequence[Mapping[str, Any]]) -> list[Block]:
    """The findings of `limits.json` for a terminal: a heading, and at most five paragraphs."""
    if not limits:
        return []
    shown = limits if len(limits) <= MAX_LINES else limits[: MAX_LINES - 1]
    lines: list[Block] = [Text([Strong(TITLE)])]
    lines += [Text(f"- {limit['sentence']} {limit['advice']}") for limit in shown]
    if len(shown) < len(limits):
        lines.append(Text(f"- {len(limits) - len(shown)} more in the report."))
    return lines
