"""Formats numbers and other plain values as text; an undefined value becomes a dash with the reason."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from markupsafe import Markup


def absent(why: str) -> Markup:
    """A dash that shows `why` while the pointer is over it."""
    return Markup('<span class="absent" title="{}">–</span>').format(why)


def undefined(value: object) -> bool:
    """Whether a value is None, NaN or infinite."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def number(value: object, why: str = "not recorded", digits: int = 3) -> Markup | str:
    """A score with `digits` decimals, an integer with separated thousands, or a dash with the reason `why`."""
    if undefined(value):
        return absent(why)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def percent(value: float | None, why: str = "not recorded") -> Markup | str:
    """A share (0..1) in percent with one decimal, or a dash with the reason `why`."""
    if value is None or undefined(value):
        return absent(why)
    text = f"{100 * value:.1f}" if value >= 0.001 or value == 0 else "<\N{NO-BREAK SPACE}0.1"
    return f"{text}\N{NO-BREAK SPACE}%"


def plain(value: object) -> str:
    """Any value of a dictionary on one line."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {plain(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(part) for part in value)
    return str(value)


def named_value(value: object, name: str) -> Markup | str:
    """Like `plain`, but a value whose name ends in `seconds` becomes a duration, and an undefined value a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return absent("not recorded")
    if not (name.endswith("seconds") and isinstance(value, int | float) and math.isfinite(value)):
        return plain(value)
    if value < 60:
        return f"{value:.3g} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def words(name: str) -> str:
    """A key as words: `training_seconds` -> `training`."""
    return name.replace("_", " ").removesuffix(" seconds")


def sentence(text: str) -> str:
    """Text with a capital first letter and a full stop; empty text stays empty."""
    return text and text[0].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def css(colour: np.ndarray) -> str:
    """(3,) uint8 RGB -> `#rrggbb`."""
    red, green, blue = (int(channel) for channel in colour)
    return f"#{red:02x}{green:02x}{blue:02x}"


def sortable(score: float | None) -> float:
    """A score for sorting: an undefined score counts as -1, below all others."""
    return -1.0 if score is None or math.isnan(score) else score
