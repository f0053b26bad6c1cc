"""Instance norm: a norm that treats each picture alone, in the same way in training and in evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROUNDS = 2
"""Passes over the tiles of a picture that measure its statistics. The first pass is exact for the first norm alone,
since the norms before a later one still use the statistics of tiles."""


@dataclass(frozen=True, slots=True)
class _Moments:
    """Sums over the positions of maps: their number, and per channel (C,) the sum and the sum of squares in float64."""

    count: int
    total: Tensor
    square: Tensor

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and variance, (C,) float32 each."""
        mean = self.total / self.count
        return mean.float(), (self.square / self.count - mean.square()).clamp_min(0).float()


class PictureNorm2d(nn.Module):
    """Instance norm (Ulyanov et al. 2016, arXiv:1607.08022): zero mean and unit variance per channel of each picture.

    There are no running statistics, so a network's output for a picture depends neither on the mode nor on the other
    pictures of the batch. For a single picture it is batch norm with the statistics of the batch. A map of a single
    position has no variance and becomes zero before factor and shift.

    Args:
        affine: whether each channel has a learned factor and a learned shift afterwards, as in batch norm.
    """

    def __init__(self, channels: int, *, affine: bool = False, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels = channels
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self._held: tuple[Tensor, Tensor] | None = None
        self._measured: list[_Moments] | None = None

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)"""
        if self._measured is not None:
            values = maps.detach().double()
            count = values.numel() // self.channels
            self._measured.append(_Moments(count, values.sum((0, 2, 3)), values.square().sum((0, 2, 3))))
        if self._held is not None:
            mean, variance = (part.to(maps.device) for part in self._held)
            return F.batch_norm(
                maps.float(), mean, variance, self._float(self.weight), self._float(self.bias), eps=self.eps
            ).to(maps)
        if maps.shape[2] * maps.shape[3] == 1:
            zeros = maps * 0
            return (
                zeros
                if self.bias is None or self.weight is None
                else zeros * self.weight[:, None, None] + self.bias[:, None, None]
            )
        # The kernel of batch norm keeps the memory layout; torch's instance norm copies the maps.
        return torch.cat(
            [
                F.batch_norm(one, None, None, self.weight, self.bias, training=True, eps=self.eps)
                for one in maps.split(1)
            ]
        )

    @staticmethod
    def _float(parameter: Tensor | None) -> Tensor | None:
        return None if parameter is None else parameter.float()

    def extra_repr(self) -> str:
        return f"{self.channels}, affine={self.weight is not None}"


@contextmanager
def statistics_of_all(
    network: nn.Module, tiles: Callable[[], Iterable[Tensor]], run: Callable[[Tensor], object]
) -> Iterator[None]:
    """Context in which the norms of a network use the statistics of a whole picture, measured on its tiles.

    With its own statistics, each tile of a sky or of a wall would be stretched to the same contrast, and tiles would
    not fit together. With common ones, the network is the same function of the pixels in every tile.

    Args:
        network: its norms (`PictureNorm2d`) are changed inside the context.
        tiles: called once per round, returns the inputs of the network for all tiles, or for an even sample of them.
        run: the forward pass of the network for one such input.
    """
    norms = [module for module in network.modules() if isinstance(module, PictureNorm2d)]
    try:
        for _ in range(ROUNDS if norms else 0):
            for norm in norms:
                norm._measured = []
            for tile in tiles():
                run(tile)
            for norm in norms:
                norm._held, norm._measured = _combined(norm._measured or []).statistics(), None
        yield
    finally:
        for norm in norms:
            norm._held = norm._measured = None


def _combined(parts: list[_Moments]) -> _Moments:
    return _Moments(
        sum(part.count for part in parts),
        torch.stack([part.total for part in parts]).sum(0),
        torch.stack([part.square for part in parts]).sum(0),
    )
