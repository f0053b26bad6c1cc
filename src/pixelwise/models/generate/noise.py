"""What generators of square pictures from noise have in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelwise.hardware import on_device


class FromNoise(nn.Module):
    """Base class of networks whose `forward` turns codes (N, latent) into pictures (N, C, side, side).

    Args:
        size: height and width of the pictures, a power of two. Other sizes, and sizes that are not square, are raised
            to the next power of two that covers them.
        smallest: the smallest height and width.
        latent: dimensions of the code z, drawn from N(0, I).

    Attributes:
        size: height and width of the generated pictures.
    """

    input_range = (-1.0, 1.0)

    def __init__(self, size: int | tuple[int, int], smallest: int, latent: int) -> None:
        super().__init__()
        longest = max(size) if isinstance(size, tuple | list) else size
        side = max(smallest, 1 << (longest - 1).bit_length())
        self.size = (side, side)
        self.latent = latent

    def noise(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """(count, latent) codes from N(0, I), drawn on the CPU, so that a seed gives the same codes on every device."""
        weight = next(self.parameters())
        return on_device(torch.randn(count, self.latent, generator=generator), weight.device).to(weight)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator | None = None, *, temperature: float = 1.0) -> Tensor:
        """Generates pictures (count, C, side, side), cut to -1..1.

        Args:
            temperature: the standard deviation of the codes; without effect on a generator that normalises them.
        """
        return self(temperature * self.noise(count, generator)).clamp(-1, 1)
