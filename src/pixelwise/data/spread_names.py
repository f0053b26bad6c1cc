"""Pictures whose names in a table join a folder and the beginning of the file's name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from pixelwise.data.names import Found
from pixelwise.data.path_words import without_suffix


class SpreadNames:
    """Finds records by the name of a folder above them, `_`, and their own name up to one of its `_` or its end.

    >>> SpreadNames(["case1/case1_day20/scans/slice_0001_266_266"]).find("case1_day20_slice_0001").names
    ('case1/case1_day20/scans/slice_0001_266_266',)
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._of: dict[str, set[str]] = defaultdict(set)
        for name in names:
            *folders, own = name.split("/")
            words = own.split("_")
            for folder in folders:
                for end in range(1, len(words) + 1):
                    self._of["_".join([folder, *words[:end]])].add(name)

    def find(self, entry: str) -> Found:
        """The record that `entry` means."""
        names = tuple(sorted(self._of.get(without_suffix(entry), ())))
        return Found(names) if len(names) == 1 else Found((), names)
