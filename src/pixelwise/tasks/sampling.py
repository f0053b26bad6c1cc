"""What `pixelwise sample` makes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NEW, COMPLETIONS, CODES = "new pictures", "completions", "pictures from codes"
"""Kinds of requests: pictures from noise; pictures of which a part is given; pictures between the codes of given ones.
"""
KEPT = ("top-half", "bottom-half", "left-half", "right-half")
"""Parts of a picture that a completion can keep."""


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Pictures to be made; at most one of `complete`, `interpolate` and `arithmetic` is set.

    Attributes:
        count: number of new pictures, or of completions, or of pictures in an interpolation.
        seed: seed of the noise; the same seed gives the same pictures.
        temperature: how varied pictures are: below 1, more probable and more alike.
        complete: a picture of which the part `keep` is kept and the rest is made.
        keep: one of `KEPT`.
        interpolate: two pictures; the result leads from the first to the second.
        arithmetic: pictures A, B and C; the result is the picture with the code A - B + C.
    """

    count: int = 64
    seed: int = 0
    temperature: float = 1.0
    complete: Path | None = None
    keep: str = KEPT[0]
    interpolate: tuple[Path, Path] | None = None
    arithmetic: tuple[Path, Path, Path] | None = None

    @property
    def kind(self) -> str:
        """`NEW`, `COMPLETIONS` or `CODES`."""
        if self.complete is not None:
            return COMPLETIONS
        return CODES if self.interpolate or self.arithmetic else NEW
