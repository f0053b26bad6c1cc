"""The scores that stand first in tables, curves and pages, with what people need to read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Headline:
    """One score of a task: its key in the files, its name for people, and which direction is better.

    A task lists its headlines in order of importance. Everything that shows or compares scores reads that list, so the
    name of a score is written once.

    Attributes:
        key: name in `metrics.json` and in the entries of `log.jsonl`.
        label: name for people (`mean IoU`).
        higher: whether larger values are better.
        definition: what is measured, in one sentence.
        limits: (low, high) of an axis that shows the score; None where the score has no bound on that side.
        unit: what the score is measured in, empty for a share; scores of one unit and the same limits share an axis.
    """

    key: str
    label: str
    higher: bool = True
    definition: str = ""
    limits: tuple[float | None, float | None] = (0.0, 1.0)
    unit: str = ""

    def best(self, values: Sequence[float | None]) -> int | None:
        """The position of the best value, the first of equal ones; None where no value is defined.

        Args:
            values: scores in any order; None and NaN are not defined, and never the best.
        """
        sign = 1.0 if self.higher else -1.0
        ranked = [
            (sign * value, -place) for place, value in enumerate(values) if value is not None and not math.isnan(value)
        ]
        return -max(ranked)[1] if ranked else None
