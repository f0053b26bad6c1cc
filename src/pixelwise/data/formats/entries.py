"""The entries of annotation files: ids, names, numbers and outlines, in all their spellings."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from pixelwise.errors import UserError

FARTHEST = 1e9
"""Numbers above this are not coordinates of a picture in pixels."""
_WHOLE = re.compile(r"(\d+)(\.0*)?")


def entries_of(content: dict[str, Any], key: str) -> list[Any]:
    """The entries of a list, or of an object whose keys are their ids.

    Raises:
        UserError: neither a list nor an object.
    """
    found = content.get(key)
    if isinstance(found, dict):
        return [{"id": number, **entry} if isinstance(entry, dict) else entry for number, entry in found.items()]
    if not isinstance(found, list):
        raise UserError(f"'{key}' is {short(found)}, expected a list.")
    return found


def mapping(entry: Any) -> dict[str, Any]:
    """Returns the entry itself.

    Raises:
        UserError: the entry is not a JSON object.
    """
    if not isinstance(entry, dict):
        raise UserError(f"a JSON object expected, {type(entry).__name__} found.")
    return entry


def identity(entry: dict[str, Any], key: str) -> int | str:
    """An id: 7, 7.0, "7" and "7.0" are the same.

    Raises:
        UserError: the key is missing, or its value is neither a whole number nor text.
    """
    value = _given(entry, key)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and (match := _WHOLE.fullmatch(value)) and str(int(match[1])) == match[1]:
        return int(match[1])
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise UserError(f"'{key}' is {short(value)}, expected a number or text.")
    return value


def name(entry: dict[str, Any], key: str) -> str:
    """A text without blanks around it; whole numbers are accepted as names.

    Raises:
        UserError: the key is missing, or its value is neither text nor a whole number, or is empty.
    """
    value = _given(entry, key)
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
        raise UserError(f"'{key}' is {short(value)}, expected text.")
    text = str(value).strip()
    return text.encode("utf-8", "replace").decode()  # halves of a surrogate pair cannot be written to any file


def size(entry: dict[str, Any], height: str, width: str) -> tuple[int, int] | None:
    """(height, width) of a picture; None if the entry states no such numbers."""
    sides = tuple(_whole(entry.get(key)) for key in (height, width))
    return (sides[0], sides[1]) if min(sides) > 0 else None


def _whole(value: Any) -> int:
    """A whole number from 0 on, including 7.0 and "7"; else -1."""
    match = _WHOLE.fullmatch(str(value)) if isinstance(value, int | float | str) else None
    return int(match[1]) if match and len(match[1]) < 10 else -1


def is_true(value: Any) -> bool:
    """Whether a flag is set: 1, true and "1" are set; 0, null, "0" and "false" are not."""
    return str(value).strip().lower() in ("1", "1.0", "true")


def parsed(value: Any) -> Any:
    """The value; a list or an object that was written as text is parsed: `"[1, 2, 3]"`."""
    if not (isinstance(value, str) and value[:1] in ("[", "{")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def numbers(values: Any, what: str) -> np.ndarray:
    """Nested lists of numbers as an array of float64.

    Args:
        what: what the numbers are, for the error sentence.

    Raises:
        UserError: something other than numbers, lists of different lengths, or numbers that cannot be coordinates.
    """
    try:
        found = np.array(values, np.float64)
    except (ValueError, TypeError, OverflowError):
        raise UserError(f"the {what} {short(values)} is not made of pairs of numbers.") from None
    if not np.isfinite(found).all():
        raise UserError(f"the {what} holds numbers that are not finite.")
    if np.abs(found).max(initial=0) > FARTHEST:
        raise UserError(f"the {what} {short(values)} lies {np.abs(found).max():.0e} pixels away from the picture.")
    return found


def ring(points: Any) -> np.ndarray:
    """A polygon's corners (N, 2) from pairs `[[x, y], ...]` or one list `[x, y, x, y, ...]`.

    Raises:
        UserError: something other than pairs of finite numbers, or fewer than three pairs.
    """
    corners = numbers(points, "outline") if isinstance(points, list) else np.zeros(())
    if corners.ndim == 1 and len(corners) % 2 == 0:
        corners = corners.reshape(-1, 2)
    if corners.ndim != 2 or corners.shape[1] != 2:
        raise UserError(f"the outline {short(points)} is not made of pairs of numbers.")
    if len(corners) < 3:
        raise UserError(f"a polygon of {len(corners)} points encloses nothing; at least three are needed.")
    return corners


def short(value: Any, limit: int = 40) -> str:
    """A value as error sentences show it."""
    if value is None:
        return "missing"
    text = str(value).encode("utf-8", "replace").decode()
    return repr(text if len(text) <= limit else f"{text[:limit]}...")


def _given(entry: dict[str, Any], key: str) -> Any:
    if entry.get(key) is None:
        raise UserError(f"the key '{key}' is missing.")
    return entry[key]
