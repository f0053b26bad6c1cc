"""Numbers as JSON holds them."""

from __future__ import annotations

import math


def or_none(value: float | None) -> float | None:
    """The number, or None for one that is not defined: JSON has no NaN."""
    return None if value is None or math.isnan(value) else value
