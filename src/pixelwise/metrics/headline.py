"""Headline scores: the scores that tables, curves and pages show first, and what is needed to read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Headline:
    """One headline score of a task: its key in files, its name for readers, and which direction is better.

    A task lists its headline scores in order of importance; the first one chooses the best weights. All code that shows
    or compares scores reads that list, so the name of a score is written only once.

    Attributes:
        key: name in `metrics.json` and in the entries of `log.jsonl`.
        label: name for readers (`mean IoU`).
        higher: whether larger values are better.
        definition: what the score measures, in one sentence.
        limits: (low, high) of an axis that shows the score; None if the score has no bound on that side.
        unit: unit of the score, empty for a share. Scores with the same unit and limits share an axis.
    """

    key: str
    label: str
    higher: bool = True
    definition: str = ""
    limits: tuple[float | None, float | None] = (0.0, 1.0)
    unit: str = ""

    def best(self, values: Sequence[float | None]) -> int | None:
        """The index of the best value, the first of equal ones; None if no value is defined.

        Args:
            values: scores in any order; None and NaN count as undefined and are never the best.
        """
        sign = 1.0 if self.higher else -1.0
        ranked = [
            (sign * value, -index) for index, value in enumerate(values) if value is not None and not math.isnan(value)
        ]
        return -max(ranked)[1] if ranked else None
