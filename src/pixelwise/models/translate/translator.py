"""The base class of networks that translate pictures of one kind, a, into pictures of another kind, b."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from pixelwise.errors import unknown
from pixelwise.nn.dense import DenseModel
from pixelwise.nn.initialise import small_normal

Direction = Literal["a-to-b", "b-to-a"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
STD = 0.02
"""Standard deviation of the initial weights (Isola et al., section 6.2; Zhu et al., section 7.1)."""


def check_direction(direction: str) -> None:
    """Checks the name of a direction.

    Raises:
        UserError: unknown direction.
    """
    if direction not in DIRECTIONS:
        raise unknown("direction", direction, DIRECTIONS)


class Generator(DenseModel):
    """Base class of generators; their `logits` are pictures in -1..1.

    Attributes:
        reach: pixels on each side that a pixel of the output depends on, apart from the statistics of the norms.
    """

    global_context = True
    reach: int


class Translator(nn.Module):
    """Base class of the networks of the task `translate`.

    Generators take and return values from -1 to 1. The pictures that a network takes are normalised like those of every
    network; `target_range` says which values of the files -1 and 1 stand for in the other pictures.

    Args:
        target_range: the values of the files that become -1 and 1.

    Attributes:
        both_ways: whether there is a generator for each direction.
    """

    both_ways: bool = False

    def __init__(self, target_range: tuple[float, float]) -> None:
        super().__init__()
        low, high = target_range
        if not low < high:
            raise ValueError(f"target_range: found {target_range}, expected two rising numbers")
        self.target_range = (float(low), float(high))

    def generator_for(self, direction: Direction) -> Generator:
        """The generator that translates in a direction.

        Raises:
            UserError: the network cannot translate in this direction.
        """
        raise NotImplementedError

    def scaled(self, pictures: Tensor) -> Tensor:
        """Target pictures (N, C, H, W) in the units of the files -> the same in -1..1, float32."""
        low, high = self.target_range
        return (pictures.float() - low) * (2 / (high - low)) - 1


def initialise(network: nn.Module) -> None:
    """Draws all weights of convolutions from N(0, 0.02); biases are 0. Norms begin as the identity."""
    small_normal(network, kinds=(nn.Conv2d, nn.ConvTranspose2d), std=STD)
