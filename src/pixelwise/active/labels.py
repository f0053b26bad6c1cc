"""Which labels of a pool of pictures were bought."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from pixelwise.active.candidates import Candidate
from pixelwise.atomic import write_bytes


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The bought labels of a pool.

    Attributes:
        total: pictures of the pool.
        whole: the numbers of the pictures that are labelled everywhere.
        parts: number of a picture -> (H, W) bool, where it is labelled.
        count: how many pictures, regions or pixels were bought.
    """

    total: int
    whole: frozenset[int] = frozenset()
    parts: Mapping[int, np.ndarray] = field(default_factory=dict)
    count: int = 0

    @classmethod
    def everything(cls, total: int) -> Self:
        """All pictures, labelled everywhere."""
        return cls(total, frozenset(range(total)), {}, total)

    @property
    def pictures(self) -> list[int]:
        """The numbers of the pictures with labels, in order."""
        return sorted({*self.whole, *self.parts})

    def pixels(self, number: int) -> np.ndarray | None:
        """(H, W) bool, where a picture is labelled; None if everywhere or nowhere."""
        return self.parts.get(number)

    def share(self, sizes: Sequence[tuple[int, int]]) -> float:
        """The labelled part of the pool: of its pictures if they are labelled as a whole, else of its pixels.

        Args:
            sizes: height and width of each picture.
        """
        if not self.parts:
            return len(self.whole) / self.total
        labelled = sum(int(np.count_nonzero(part)) for part in self.parts.values())
        return labelled / sum(height * width for height, width in sizes)

    def adding(self, number: int, candidate: Candidate, size: tuple[int, int]) -> Labels:
        """These labels and those of a candidate, which belongs to a picture of this size."""
        if candidate.region is None and candidate.pixel is None:
            return Labels(self.total, self.whole | {number}, self.parts, self.count + 1)
        part = self.parts[number].copy() if number in self.parts else np.zeros(size, bool)
        if candidate.region is not None:
            part[candidate.region.window] |= candidate.region.mask
        if candidate.pixel is not None:
            x, y = candidate.pixel
            part[y, x] = True
        return Labels(self.total, self.whole, {**self.parts, number: part}, self.count + 1)

    def write(self, file: Path) -> None:
        """Writes the labels as compressed arrays."""
        stream = io.BytesIO()
        numbers = {"total": np.array(self.total), "count": np.array(self.count), "whole": np.array(sorted(self.whole))}
        np.savez_compressed(stream, **numbers, **{f"part_{key}": part for key, part in self.parts.items()})  # type: ignore[arg-type]
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, stream.getvalue())

    @classmethod
    def read(cls, file: Path) -> Self:
        """Reads what `write` wrote."""
        with np.load(file, allow_pickle=False) as arrays:
            parts = {int(key.removeprefix("part_")): arrays[key] for key in arrays.files if key.startswith("part_")}
            whole = frozenset(int(number) for number in arrays["whole"])
            return cls(int(arrays["total"]), whole, parts, int(arrays["count"]))
