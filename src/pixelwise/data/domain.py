"""One of the two kinds of pictures between which a network translates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from pixelwise.data.colour_table import ColourTable
from pixelwise.data.pictures import PictureFormat


@dataclass(frozen=True, slots=True)
class Domain:
    """What the pictures of one kind are like.

    Attributes:
        form: channels and dtype, to which all of them are converted.
        low, high: the range of values that a network can draw: that of the dtype for 8 bits, otherwise the smallest and
            the largest value of the training pictures.
        colours: colours that stand for classes; None if the pictures have none.
    """

    form: PictureFormat
    low: float
    high: float
    colours: ColourTable | None = None

    @property
    def span(self) -> float:
        """The width of the range of values."""
        return self.high - self.low

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a model file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Restores what `to_dict` returned."""
        colours = ColourTable.from_dict(values["colours"])
        return cls(PictureFormat(**values["form"]), float(values["low"]), float(values["high"]), colours)


@dataclass(frozen=True, slots=True)
class PairFacts:
    """The pictures that are translated, and those that they are translated into."""

    input: Domain
    target: Domain
