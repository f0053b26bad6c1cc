"""The words for labels of a kind, for the sentences of `pixelwise check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Wording:
    """The words for labels of one kind.

    Attributes:
        label: what a labelled picture has: "12 pictures, 9 of them with ...".
        missing: what a picture without labels lacks: "3 pictures have no ...".
        counted: what the shares of the classes are shares of.
        labels: all labels of a folder: "DATA: ...".
        by_hand: how to correct them, where `pixelwise check --fix` cannot; empty if it can.
    """

    label: str = "a mask that can be read"
    missing: str = "mask of that name"
    counted: Literal["pixels", "pictures", "objects"] = "pixels"
    labels: str = "masks"
    by_hand: str = ""
