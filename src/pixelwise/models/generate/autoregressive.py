"""Networks that predict a picture value by value, each from the values before it.

The probability of a picture is the product of the probabilities of its values, each given the earlier ones in raster
order (van den Oord et al., ICML 2016, arXiv:1601.06759, equation 1). The likelihood is therefore exact, and pictures
are sampled one value at a time.
"""

from __future__ import annotations

import copy
import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.distributed import total
from pixelwise.nn.causal import Cursor, start


class Autoregressive(nn.Module):
    """Base class of autoregressive networks.

    A subclass defines `forward` with the layers of `nn.causal`.

    Args:
        in_channels: C; colours are predicted in their order, red before green before blue.
        levels: L, the number of values that a pixel's colour can have, equally spaced from 0 to 1. With 1, values are
            0 or 1 and their distribution is a Bernoulli; values in between are taken as probabilities, from which each
            pass draws a new binary picture (dynamic binarisation, Burda et al., ICLR 2016, section 5.1). With more, the
            distribution is a softmax over the levels, and values are rounded to the nearest level.
        size: height and width of sampled pictures.
    """

    input_range = (0.0, 1.0)

    def __init__(self, *, in_channels: int, levels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.levels = levels
        self.size = size

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in 0..1 -> logits (N, C, L, H, W), of which each depends on earlier values only."""

    def discrete(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(N, C, H, W) in 0..1 -> the same on the network's levels: drawn for one level, otherwise rounded."""
        if self.levels == 1:
            device = images.device if generator is None else generator.device
            noise = torch.rand(images.shape, generator=generator, device=device)
            return (noise.to(images.device) < images).to(images.dtype)
        return (images * (self.levels - 1)).round() / (self.levels - 1)

    def surprise(self, images: Tensor) -> Tensor:
        """The negative log-probability of each value in nats; (N, C, H, W), float32.

        Args:
            images: (N, C, H, W), as `discrete` returns them.
        """
        logits = self(images).float()
        if self.levels == 1:
            return F.binary_cross_entropy_with_logits(logits[:, :, 0], images.float(), reduction="none")
        levels = (images * (self.levels - 1)).round().long()
        return F.cross_entropy(logits.transpose(1, 2), levels, reduction="none")

    def losses(self, images: Tensor, targets: object = None) -> dict[str, Tensor]:
        """The negative log-likelihood in nats per picture: summed over values, averaged over pictures.

        Args:
            images: (N, C, H, W) in 0..1.
            targets: not used, because pictures need no labels here.
        """
        nats = self.surprise(self.discrete(images))
        return {"loss": total(nats.sum()) / total(nats.new_full((), len(images)))}

    @torch.no_grad()
    def sample(
        self,
        count: int,
        generator: torch.Generator | None = None,
        *,
        cached: bool = True,
        temperature: float = 1.0,
        given: Tensor | None = None,
        keep: Tensor | None = None,
    ) -> Tensor:
        """Samples pictures value by value; (count, C, H, W) in 0..1.

        All arithmetic is in float64, so that rounding does not decide a value: with the same generator, cached and
        naive sampling return the same pictures.

        Args:
            generator: of the uniform random numbers, of which each value uses one.
            cached: computes each position once, and keeps what layers have seen; otherwise the network runs over the
                whole pictures for each value.
            temperature: divides the logits; below 1, probable values become more probable.
            given: (count, C, H, W), of which the positions `keep`, (H, W), are taken as they are.
        """
        weight = next(self.parameters())
        height, width = self.size
        shape = (count, self.in_channels, height, width)
        device = weight.device if generator is None else generator.device
        uniform = torch.rand(shape, generator=generator, device=device, dtype=torch.float64).to(weight.device)
        pictures = uniform.new_zeros(shape)
        kept = torch.zeros(height, width, dtype=torch.bool)
        if given is not None and keep is not None:
            kept = keep.cpu()
            pictures[:, :, keep] = given.to(pictures)[:, :, keep]
        network = copy.deepcopy(self).double().eval()
        cursor = Cursor(pictures)
        if cached:
            start(network, cursor)
        for row in range(height):
            for column in range(width):
                cursor.row, cursor.column = row, column
                for channel in range(self.in_channels):
                    if kept[row, column] and not (cached and channel == self.in_channels - 1):
                        continue
                    if cached:
                        logits = network(pictures[:, :, row : row + 1, column : column + 1])[:, channel, :, 0, 0]
                    else:
                        logits = network(pictures)[:, channel, :, row, column]
                    if not kept[row, column]:
                        cursor.put(channel, self._drawn(logits / temperature, uniform[:, channel, row, column]))
        return pictures.to(weight.dtype)

    def _drawn(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Values (N,) in 0..1 from logits (N, L) and uniform random numbers (N,)."""
        if self.levels == 1:
            return (uniform < logits[:, 0].sigmoid()).to(logits)
        below = logits.softmax(1).cumsum(1) <= uniform[:, None]
        return below.sum(1).clamp(max=self.levels - 1) / (self.levels - 1)


def bits_per_dimension(nats: float, values: int) -> float:
    """Nats per picture of `values` values -> bits per value."""
    return nats / (values * math.log(2))
