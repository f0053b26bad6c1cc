"""U-Net (Ronneberger, Fischer, Brox, MICCAI 2015, arXiv:1505.04597): the original, with same padding, over encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.errors import UserError
from pixelwise.models.encoders import create_encoder
from pixelwise.nn.dense import DenseModel


class DoubleConv(nn.Sequential):
    """Two 3x3 convolutions, each followed by ReLU; with batch norm before the ReLU they have no bias."""

    def __init__(self, inputs: int, outputs: int, *, padding: int, batch_norm: bool) -> None:
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers.append(nn.Conv2d(channels, outputs, 3, padding=padding, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class UNet(DenseModel):
    """Figure 1 of the paper: four poolings down, four 2x2 up-convolutions that halve the channels, skips in between.

    Args:
        width: channels of the first level; each level down has twice as many (64 in the paper).
        valid: unpadded convolutions and cropped skips as in the paper (572 -> 388 pixels); the border is mirrored, so
            that the logits still cover the picture (overlap-tile, figure 2). False pads by zeros instead.
        batch_norm: after every 3x3 convolution; the paper has none.
    """

    levels = 4

    def __init__(
        self, *, in_channels: int, num_classes: int, width: int = 64, valid: bool = False, batch_norm: bool = True
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.stride = 2**self.levels
        if valid:
            # A valid 3x3 convolution loses 1 pixel a side: at level l, 2 of them lose 2 * 2**l pixels of the input,
            # once on the way down and once on the way up, at the bottom once. 572 - 2 * 92 = 388.
            self.margin = 2 * (2 * sum(2**level for level in range(self.levels)) + 2**self.levels)
            self.offset = 4
        padding = 0 if valid else 1
        widths = [width * 2**level for level in range(self.levels + 1)]
        self.down = nn.ModuleList(
            DoubleConv(inputs, outputs, padding=padding, batch_norm=batch_norm)
            for inputs, outputs in zip([in_channels, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in reversed(widths[:-1]))
        self.merge = nn.ModuleList(
            DoubleConv(2 * w, w, padding=padding, batch_norm=batch_norm) for w in reversed(widths[:-1])
        )
        self.head = nn.Conv2d(width, num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")  # section 3: std = sqrt(2 / N)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, H - 2 margin, W - 2 margin)."""
        skips = []
        maps = images
        for level, block in enumerate(self.down):
            maps = block(self.pool(maps) if level else maps)  # (N, 64 * 2**level, H / 2**level, W / 2**level)
            skips.append(maps)
        skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            maps = up(maps)
            maps = merge(torch.cat([centre_crop(skips.pop(), maps.shape[-2:]), maps], dim=1))
        return self.head(maps)


def centre_crop(maps: Tensor, size: Sequence[int]) -> Tensor:
    """The middle (..., height, width) of (..., H, W); the same tensor where nothing is to be cut off."""
    top, left = ((have - want) // 2 for have, want in zip(maps.shape[-2:], size, strict=True))
    if top == left == 0:
        return maps
    return maps[..., top : top + size[0], left : left + size[1]]


class DecoderBlock(nn.Module):
    """Upsample twofold (nearest), join the encoder's map of that size, two 3x3 convolutions with batch norm."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.convs = DoubleConv(inputs + skip, outputs, padding=1, batch_norm=True)

    def forward(self, maps: Tensor, skip: Tensor | None) -> Tensor:
        maps = F.interpolate(maps, scale_factor=2, mode="nearest")
        return self.convs(maps if skip is None else torch.cat([maps, skip], dim=1))


class EncoderUNet(DenseModel):
    """A U-Net whose way down is a classification network.

    Args:
        encoder: anything with `pyramid(images)`, `feature_channels` and `feature_strides` (halving from 2 on).
        decoder_channels: of the blocks on the way up, coarsest first. With as many as the encoder has maps the last one
            works at the picture's resolution; each one less halves the resolution of the logits, which are then
            upsampled bilinearly. The last block is the cheapest in arithmetic and the dearest in memory traffic.

    Raises:
        UserError: no block, or more than the encoder has maps.
    """

    def __init__(self, *, encoder: nn.Module, num_classes: int, decoder_channels: Sequence[int]) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.encoder = encoder
        channels: Sequence[int] = encoder.feature_channels  # type: ignore[assignment]
        if not 1 <= len(decoder_channels) <= len(channels):
            raise UserError(
                f"decoder_channels: {len(decoder_channels)} blocks found, but the encoder has {len(channels)} maps, "
                f"so 1 to {len(channels)} are possible."
            )
        self.stride = 2 ** len(channels)
        self.upsampling = 2 ** (len(channels) - len(decoder_channels))
        skips = [*reversed(channels[:-1]), 0][: len(decoder_channels)]
        inputs = [channels[-1], *decoder_channels[:-1]]
        self.decoder = nn.ModuleList(
            DecoderBlock(*widths) for widths in zip(inputs, skips, decoder_channels, strict=True)
        )
        self.head = nn.Conv2d(decoder_channels[-1], num_classes, 3, padding=1)
        for module in (*self.decoder.modules(), self.head):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), H and W multiples of the stride -> (N, K, H, W)."""
        *skips, maps = self.encoder.pyramid(images)  # type: ignore[operator]
        for block, skip in zip(self.decoder, [*reversed(skips), None], strict=False):
            maps = block(maps, skip)
        logits = self.head(maps)
        if self.upsampling == 1:
            return logits
        return F.interpolate(logits, scale_factor=self.upsampling, mode="bilinear")


def unet(
    *,
    num_classes: int,
    in_channels: int = 3,
    encoder: str | None = None,
    weights: Any = None,
    width: int = 64,
    batch_norm: bool = True,
    decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
) -> DenseModel:
    """U-Net with same padding: the paper's own layers, or a decoder over `encoder`.

    Args:
        encoder: name of an encoder (`resnet18`, `mobilenet_v2`, ...); None for the paper's way down.
        weights: of the encoder: a file, a run, or a name on the Hugging Face hub.
        width, batch_norm: of the network without encoder. 3 -> 11 classes: 31,038,283 parameters, 31,032,395 without
            batch norm.
        decoder_channels: of the network with encoder, see `EncoderUNet`.

    Raises:
        UserError: unknown encoder, or weights that do not fit.
    """
    if encoder is None:
        if weights is not None:
            raise UserError(
                "unet: the weights are an encoder's, but no encoder is given; add one (encoder=resnet18), or "
                "give a run of the same network."
            )
        return UNet(in_channels=in_channels, num_classes=num_classes, width=width, batch_norm=batch_norm)
    return EncoderUNet(
        encoder=create_encoder(encoder, in_channels=in_channels, weights=weights),
        num_classes=num_classes,
        decoder_channels=decoder_channels,
    )


def unet_original(*, num_classes: int, in_channels: int = 1, width: int = 64) -> UNet:
    """The network of the paper: valid convolutions, no batch norm; 1 -> 2 classes: 31,030,658 parameters."""
    return UNet(in_channels=in_channels, num_classes=num_classes, width=width, valid=True, batch_norm=False)
