"""Progressive growing of GANs (Karras, Aila, Laine, Lehtinen, ICLR 2018, arXiv:1710.10196).

Training begins with pictures of 4 x 4 pixels. Blocks of layers that double the size are added to both networks one
after the other, and each new block is faded in (section 2). Weights are drawn from N(0, 1) and scaled at run time, so
that all layers learn at the same rate (section 4.1). The generator normalises the features of each position (section
4.2), and the discriminator sees how much the pictures of a batch differ (section 3).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.models.generate.noise import FromNoise

COARSEST = 4
GROWING_SHARE = 0.6
"""Share of the run in which the networks grow; the rest is for the final size."""
TICKS = 1 << 16
"""Parts of a block in which growth is counted."""
LAST_CHANNELS = 16
"""Channels of the last maps, unless `base` is given."""
GROUP = 4
"""Pictures whose standard deviation the discriminator sees together."""


class ProgressiveGAN(FromNoise):
    """The generator and the discriminator of table 2.

    3 channels, 1024 x 1024: the generator has 23,079,115 parameters, the discriminator 23,087,249.

    A new network has its final size. `grow(progress)` sets how far both players have grown.

    Args:
        size: height and width of the final pictures, at least 8; see `FromNoise`.
        latent: dimensions of the code; the generator normalises codes to one length (section 4.2).
        width: the most channels of a map.
        base: channels are `base` divided by half the map's side, up to `width`; None for 16 at the final size, as in
            the paper (8192 for 1024 x 1024).

    Attributes:
        size: height and width of the final pictures.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        size: int | tuple[int, int] = 1024,
        latent: int = 512,
        width: int = 512,
        base: int | None = None,
    ) -> None:
        super().__init__(size, 2 * COARSEST, latent)
        stages = int(math.log2(self.size[0] // COARSEST)) + 1
        base = base or LAST_CHANNELS * self.size[0] // 2
        channels = [min(base // (COARSEST << stage >> 1), width) for stage in range(stages)]
        self.generator = GrowingGenerator(in_channels, latent, channels)
        self.discriminator = GrowingDiscriminator(in_channels, channels)

    def forward(self, z: Tensor) -> Tensor:
        """Codes (N, latent) -> pictures (N, C, size, size); enlarged ones as long as the generator is smaller."""
        return F.interpolate(self.generator(z), self.size)

    def grow(self, progress: float) -> None:
        """Sets the size of both networks for a moment of the run.

        Each size below the final one is trained for half as long as the next size takes to fade in, and each size gets
        twice the time of the one before. The paper shows each the same number of pictures; one of twice the size takes
        up to twice the time.

        Args:
            progress: from 0 to 1 over the run.
        """
        last = len(self.generator.to_rgb) - 1
        time = 1 + min(progress / GROWING_SHARE, 1.0) * (2**last - 1)  # block k + 1 is due from 2^k to 2^(k + 1)
        whole = int(math.log2(time))
        part = time / 2**whole - 1  # the first third without it, then fading in
        growth = min(whole + max(1.5 * part - 0.5, 0.0), last)
        self.generator.growth = self.discriminator.growth = growth

    def at_size(self, images: Tensor) -> Tensor:
        """Real pictures (N, C, size, size) at the present size, blended with smaller ones while a block fades in."""
        stage, share = self.generator.stage
        images = F.adaptive_avg_pool2d(images, COARSEST << stage)
        if share == 1:
            return images
        return torch.lerp(doubled(F.avg_pool2d(images, 2)), images, share)


class Growing(nn.Module):
    """A network that is used up to one of its blocks.

    The growth is stored as a whole number of `TICKS`, because an average of weights copies whole numbers as they are.

    Args:
        blocks: number of blocks beyond the first.
    """

    ticks: Tensor

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.register_buffer("ticks", torch.tensor(blocks * TICKS))

    @property
    def growth(self) -> float:
        """Number of blocks beyond the first that are used; the fraction is the share of the last that is faded in."""
        return int(self.ticks) / TICKS

    @growth.setter
    def growth(self, value: float) -> None:
        self.ticks.fill_(round(value * TICKS))

    @property
    def stage(self) -> tuple[int, float]:
        """The number of blocks beyond the first, and the share of the last of them in 0..1 (excluding 0)."""
        stage = math.ceil(self.growth)
        return stage, 1.0 - (stage - self.growth)


class GrowingGenerator(Growing):
    """(N, latent) -> (N, C, side, side), where the side follows from `growth`.

    Args:
        channels: channels of the maps from 4 x 4 on.
    """

    def __init__(self, out_channels: int, latent: int, channels: list[int]) -> None:
        super().__init__(len(channels) - 1)
        self.dense = EqualisedDense(latent, channels[0] * COARSEST**2, gain=math.sqrt(2) / 4, bias=channels[0])
        self.first = EqualisedConv(channels[0], channels[0], 3)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                EqualisedConv(before, after, 3), nn.LeakyReLU(0.2), PixelNorm(),
                EqualisedConv(after, after, 3), nn.LeakyReLU(0.2), PixelNorm(),
            )
            for before, after in pairwise(channels)
        )  # fmt: skip
        self.to_rgb = nn.ModuleList(EqualisedConv(each, out_channels, 1, gain=1.0) for each in channels)
        self._norm = PixelNorm()

    def forward(self, z: Tensor) -> Tensor:
        stage, share = self.stage
        maps = self.dense(self._norm(z)).unflatten(1, (-1, COARSEST, COARSEST))  # (N, 512, 4, 4)
        maps = self._norm(F.leaky_relu(maps, 0.2))
        maps = self._norm(F.leaky_relu(self.first(maps), 0.2))
        before = maps
        for block in list(self.blocks)[:stage]:
            before = maps
            maps = block(doubled(maps))
        images = self.to_rgb[stage](maps)
        if share == 1:
            return images
        return torch.lerp(doubled(self.to_rgb[stage - 1](before)), images, share)


class GrowingDiscriminator(Growing):
    """(N, C, side, side) -> logits (N,); the generator's mirror image. The side must fit `growth`."""

    def __init__(self, in_channels: int, channels: list[int]) -> None:
        super().__init__(len(channels) - 1)
        self.from_rgb = nn.ModuleList(EqualisedConv(in_channels, each, 1) for each in channels)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                EqualisedConv(after, after, 3), nn.LeakyReLU(0.2),
                EqualisedConv(after, before, 3), nn.LeakyReLU(0.2), nn.AvgPool2d(2),
            )
            for before, after in pairwise(channels)
        )  # fmt: skip
        self.last = nn.Sequential(
            EqualisedConv(channels[0] + 1, channels[0], 3), nn.LeakyReLU(0.2), nn.Flatten(),
            EqualisedDense(channels[0] * COARSEST**2, channels[0]), nn.LeakyReLU(0.2),
            EqualisedDense(channels[0], 1, gain=1.0),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        stage, share = self.stage
        maps = F.leaky_relu(self.from_rgb[stage](images), 0.2)
        for number in range(stage, 0, -1):
            maps = self.blocks[number - 1](maps)
            if number == stage and share < 1:
                smaller = F.leaky_relu(self.from_rgb[stage - 1](F.avg_pool2d(images, 2)), 0.2)
                maps = torch.lerp(smaller, maps, share)
        return self.last(torch.cat([maps, batch_deviation(maps)], 1)).flatten()


class PixelNorm(nn.Module):
    """Divides the features of each position by their root mean square (section 4.2); any (N, C, ...)."""

    def forward(self, maps: Tensor) -> Tensor:
        values = maps.float()
        return (values * (values.square().mean(1, keepdim=True) + 1e-8).rsqrt()).to(maps)


class EqualisedConv(nn.Module):
    """A convolution whose weights, drawn from N(0, 1), are scaled by gain / sqrt(fan_in) at run time (section 4.1)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, gain: float = math.sqrt(2)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.scale = gain / math.sqrt(in_channels * kernel_size**2)

    def forward(self, maps: Tensor) -> Tensor:
        return F.conv2d(maps, self.weight * self.scale, self.bias, padding=self.weight.shape[2] // 2)


class EqualisedDense(nn.Module):
    """A fully connected layer with scaled weights, as in `EqualisedConv`.

    Args:
        bias: number of biases, each of which is added to equally many adjacent outputs; None for one per output.
    """

    def __init__(self, inputs: int, outputs: int, *, gain: float = math.sqrt(2), bias: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs if bias is None else bias))
        self.scale = gain / math.sqrt(inputs)

    def forward(self, features: Tensor) -> Tensor:
        bias = self.bias.repeat_interleave(len(self.weight) // len(self.bias))
        return F.linear(features, self.weight * self.scale, bias)


def batch_deviation(maps: Tensor) -> Tensor:
    """How much the pictures of a batch differ, as a map per picture: (N, C, H, W) -> (N, 1, H, W) (section 3).

    Picture i belongs to group i modulo the number of groups, which have four pictures each, or one fewer if the number
    of pictures is no multiple of four. The standard deviation of each value over the group is averaged over all values.
    """
    count = len(maps)
    groups = -(-count // GROUP)
    deviations = []
    for group in range(groups):
        members = maps[group::groups].float()
        deviations.append((members.var(0, unbiased=False) + 1e-8).sqrt().mean())
    each = torch.stack(deviations)[torch.arange(count, device=maps.device) % groups]
    return each.to(maps)[:, None, None, None].expand(-1, 1, *maps.shape[2:])


def doubled(maps: Tensor) -> Tensor:
    """Each pixel becomes 2 x 2 pixels."""
    return F.interpolate(maps, scale_factor=2)
