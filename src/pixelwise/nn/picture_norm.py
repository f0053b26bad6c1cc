"""Instance norm: a norm that treats each picture alone, in the same way in training and in evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile of a picture, as a network takes it.

    Attributes:
        images: (1, C, H, W).
        top, bottom, left, right: the part that is counted, as shares of the height and of the width, so that what
            neighbouring tiles share is counted once.
    """

    images: Tensor
    top: float = 0.0
    bottom: float = 1.0
    left: float = 0.0
    right: float = 1.0

    def counted(self, maps: Tensor) -> Tensor:
        """The part of maps (1, C, h, w) of the tile that is counted; at least one position."""
        height, width = maps.shape[2:]
        top, left = (min(round(share * size), size - 1) for share, size in ((self.top, height), (self.left, width)))
        bottom, right = (round(share * size) for share, size in ((self.bottom, height), (self.right, width)))
        return maps[:, :, top : max(bottom, top + 1), left : max(right, left + 1)]


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
        self._tiles: Sequence[Tile] = ()

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)"""
        if self._tiles:
            self._held = _statistics([tile.counted(one) for tile, one in zip(self._tiles, maps.split(1), strict=True)])
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
def statistics_of_all(network: nn.Module, tiles: Sequence[Tile], run: Callable[[Tensor], object]) -> Iterator[None]:
    """Context in which the norms of a network use the statistics of a whole picture, measured on its tiles.

    With statistics of its own, each tile of a sky or of a wall would be stretched to the same contrast, and tiles would
    not fit together. With common ones, the network is the same function of the pixels in every tile. They are measured
    in one pass over all the tiles together, because the statistics of a norm are those of its input only if all norms
    before it already use common ones.

    Args:
        network: its norms (`PictureNorm2d`) are changed inside the context.
        tiles: all tiles of the picture, or an even sample of them, of one size.
        run: the forward pass of the network.
    """
    norms = [module for module in network.modules() if isinstance(module, PictureNorm2d)]
    try:
        for norm in norms:
            norm._tiles = tiles
        if norms:
            run(torch.cat([tile.images for tile in tiles]))
        for norm in norms:
            norm._tiles = ()
        yield
    finally:
        for norm in norms:
            norm._tiles, norm._held = (), None


def _statistics(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance per channel, (C,) float32, over all positions of maps (1, C, h, w), summed in float64."""
    values = [part.detach().double() for part in parts]
    count = sum(part[0, 0].numel() for part in values)
    mean = torch.stack([part.sum((0, 2, 3)) for part in values]).sum(0) / count
    squares = [(part - mean[:, None, None]).square().sum((0, 2, 3)) for part in values]
    return mean.float(), (torch.stack(squares).sum(0) / count).float()
