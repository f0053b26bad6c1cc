"""Chooses the pictures that a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def best_middle_worst(ranked: Sequence[T], each: int) -> dict[str, list[T]]:
    """The first few, the middle few and the last few, each only once; all as `Examples` if there are no more than that.

    Args:
        ranked: best first.
        each: the size of each group.
    """
    if len(ranked) <= 3 * each:
        return {"Examples": list(ranked)} if ranked else {}
    middle = (len(ranked) - each) // 2
    groups = {"Best": ranked[:each], "Middle": ranked[middle : middle + each], "Worst": ranked[-each:]}
    return {title: list(group) for title, group in groups.items()}
