"""U-Net (Ronneberger, Fischer, Brox, MICCAI 2015, arXiv:1505.04597): as in the paper, with same padding, or over an
encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.errors import UserError
from pixelwise.models.encoders import create_encoder
from pixelwise.nn.dense import DenseModel
from pixelwise.nn.encoder import Encoder
from pixelwise.nn.initialise import he_normal
from pixelwise.nn.upsampled_conv import UpsampledConv2d
from pixelwise.nn.upsampling import MaxUnpool, create_upsampling


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
    """U-Net of the paper's figure 1: four poolings down, four 2x2 up-convolutions that halve the channels, and skips.

    Args:
        width: channels of the first level (64 in the paper); each level down has twice as many.
        valid: unpadded convolutions and cropped skips as in the paper (572 -> 388 pixels). The border is mirrored, so
            that the logits still cover the picture (overlap-tile, figure 2). False pads with zeros instead.
        batch_norm: after every 3x3 convolution; the paper has none.
        upsampling: a name in `nn.upsampling.UPSAMPLINGS`; the paper's is `transposed`.
    """

    levels = 4

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        width: int = 64,
        valid: bool = False,
        batch_norm: bool = True,
        upsampling: str = "transposed",
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.stride = 2**self.levels
        if valid:
            # A valid 3x3 convolution loses 1 pixel per side. At level l, two of them lose 2 * 2**l pixels of the input,
            # once on the way down and once on the way up, and only once at the bottom. 572 - 2 * 92 = 388.
            self.margin = 2 * (2 * sum(2**level for level in range(self.levels)) + 2**self.levels)
            self.offset = 4
        padding = 0 if valid else 1
        widths = [width * 2**level for level in range(self.levels + 1)]
        self.down = nn.ModuleList(
            DoubleConv(inputs, outputs, padding=padding, batch_norm=batch_norm)
            for inputs, outputs in zip([in_channels, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.up = nn.ModuleList(create_upsampling(upsampling, 2 * w, w) for w in reversed(widths[:-1]))
        self.merge = nn.ModuleList(
            DoubleConv(2 * w, w, padding=padding, batch_norm=batch_norm) for w in reversed(widths[:-1])
        )
        self.head = nn.Conv2d(width, num_classes, 1)
        he_normal(self, kinds=nn.Conv2d)  # section 3: std = sqrt(2 / N)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, H - 2 margin, W - 2 margin)."""
        skips, pooled = [], []
        maps = images
        for level, block in enumerate(self.down):
            if level:
                skips.append(maps)
                maps, indices = self.pool(maps)
                pooled.append(indices)
            maps = block(maps)  # (N, 64 * 2**level, H / 2**level, W / 2**level)
        for up, merge in zip(self.up, self.merge, strict=True):
            indices = pooled.pop()
            maps = up(maps, indices) if isinstance(up, MaxUnpool) else up(maps)
            maps = merge(torch.cat([centre_crop(skips.pop(), maps.shape[-2:]), maps], dim=1))
        return self.head(maps)


def centre_crop(maps: Tensor, size: Sequence[int]) -> Tensor:
    """The middle (..., height, width) of (..., H, W); the same tensor if nothing has to be cut off."""
    top, left = ((have - want) // 2 for have, want in zip(maps.shape[-2:], size, strict=True))
    if top == left == 0:
        return maps
    return maps[..., top : top + size[0], left : left + size[1]]


class DecoderBlock(nn.Module):
    """Upsamples twofold, joins the encoder's map of that size, and applies two 3x3 convolutions with batch norm.

    With nearest neighbours the first convolution also upsamples and joins, see `UpsampledConv2d`.
    """

    def __init__(self, inputs: int, skip: int, outputs: int, *, upsampling: str = "nearest") -> None:
        super().__init__()
        self.convs = DoubleConv(inputs + skip, outputs, padding=1, batch_norm=True)
        self.up = None
        if upsampling == "nearest":
            self.convs[0] = UpsampledConv2d(inputs, skip, outputs, bias=False)
        else:
            self.up = create_upsampling(upsampling, inputs, inputs)

    def forward(self, maps: Tensor, skip: Tensor | None) -> Tensor:
        """(N, inputs, H, W) and (N, skip, 2H, 2W) -> (N, outputs, 2H, 2W)."""
        first, *others = self.convs
        if self.up is None:
            maps = first(maps, skip)
        else:
            maps = self.up(maps)
            maps = first(maps if skip is None else torch.cat([maps, skip], dim=1))
        for layer in others:  # one by one, because a call of `convs` would keep its input in memory until it returns
            maps = layer(maps)
        return maps


class EncoderUNet(DenseModel):
    """A U-Net whose encoder is a classification network.

    Args:
        encoder: a network whose maps' strides are powers of two.
        decoder_channels: channels of the decoder's blocks, coarsest first. Each block doubles the resolution. With
            enough blocks to undo the encoder's stride, the last one works at the picture's resolution; each block fewer
            halves the resolution of the logits, which are then upsampled bilinearly. The last block needs the least
            arithmetic and the most memory traffic.
        upsampling: a name in `nn.upsampling.UPSAMPLINGS` other than `unpool`, because encoders do not keep the
            positions of maxima.
        deep_supervision: whether the two blocks before the last also output logits in training, with half and a quarter
            of the weight (Lee et al., Deeply-Supervised Nets, AISTATS 2015; Isensee et al., nnU-Net, Nature Methods
            2021).

    Raises:
        UserError: there is no block, there are more blocks than the picture's resolution needs, or the upsampling is
            not possible.
    """

    heads = ("head", "auxiliary_heads")

    def __init__(
        self,
        *,
        encoder: Encoder,
        num_classes: int,
        decoder_channels: Sequence[int],
        upsampling: str = "nearest",
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        if upsampling == "unpool":
            raise UserError(
                "upsampling unpool needs the positions of a pooling's maxima, which encoders do not keep; leave out "
                "the encoder, or choose another upsampling."
            )
        self.num_classes = num_classes
        self.encoder = encoder
        self.stride = encoder.feature_strides[-1]
        depth = self.stride.bit_length() - 1
        if not 1 <= len(decoder_channels) <= depth:
            raise UserError(
                f"decoder_channels: {len(decoder_channels)} blocks found, but the encoder's stride is {self.stride}, "
                f"so 1 to {depth} are possible."
            )
        channels = dict(zip(encoder.feature_strides, encoder.feature_channels, strict=True))
        # From stride 32 to 16, 8, 4, 2, 1; most encoders have no map at the picture's own resolution.
        skips = [channels.get(2**level, 0) for level in reversed(range(depth))][: len(decoder_channels)]
        inputs = [encoder.feature_channels[-1], *decoder_channels[:-1]]
        self.decoder = nn.ModuleList(
            DecoderBlock(*widths, upsampling=upsampling) for widths in zip(inputs, skips, decoder_channels, strict=True)
        )
        self.head = nn.Conv2d(decoder_channels[-1], num_classes, 3, padding=1)
        he_normal(self.decoder, kinds=nn.Conv2d, zero_bias=False)
        he_normal(self.head)
        if deep_supervision:
            supervised = decoder_channels[-2:-4:-1]  # finest first
            self.auxiliary_weights = tuple(0.5**number for number in range(1, len(supervised) + 1))
            self.auxiliary_heads = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for channels in supervised)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), H and W multiples of the stride -> (N, K, H, W)."""
        return self._whole(self.head(self._decoded(images)[-1]), images)

    def all_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """The logits, then those of the blocks before the last if these are supervised, finest first."""
        if not self.auxiliary_weights:
            return (self.logits(images),)
        last, *before = reversed(self._decoded(images, keep=1 + len(self.auxiliary_weights)))
        others = (head(maps) for head, maps in zip(self.auxiliary_heads, before, strict=True))
        return self._whole(self.head(last), images), *(self._whole(each, images) for each in others)

    def _decoded(self, images: Tensor, keep: int = 1) -> list[Tensor]:
        """The maps of the last `keep` blocks."""
        skips = self.encoder.pyramid(images)
        maps = skips.pop()
        kept: list[Tensor] = []
        for number, block in enumerate(self.decoder, 1):
            maps = block(maps, skips.pop() if skips else None)  # popped, so that its memory is free once it is joined
            if number > len(self.decoder) - keep:
                kept.append(maps)
        return kept

    @staticmethod
    def _whole(logits: Tensor, images: Tensor) -> Tensor:
        """Resizes logits to the size of the pictures."""
        if logits.shape[-2:] == images.shape[-2:]:
            return logits
        return F.interpolate(logits, images.shape[-2:], mode="bilinear")


def unet(
    *,
    num_classes: int,
    in_channels: int = 3,
    encoder: str | None = None,
    weights: Any = None,
    width: int | None = None,
    batch_norm: bool | None = None,
    decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
    upsampling: str | None = None,
    deep_supervision: bool = False,
) -> DenseModel:
    """U-Net with same padding: the layers of the paper, or a decoder over `encoder`.

    Args:
        encoder: name of an encoder (`resnet18`, `mobilenet_v2`, ...); None for the paper's contracting path.
        weights: pretrained weights of the encoder: a file, a run, or a name on the Hugging Face hub.
        width, batch_norm: options of the network without encoder; None for 64 and True. 3 channels and 11 classes:
            31,038,283 parameters, 31,032,395 without batch norm.
        decoder_channels, deep_supervision: options of the network with encoder, see `EncoderUNet`; ignored without it.
        upsampling: a name in `nn.upsampling.UPSAMPLINGS`; None for `transposed` without and `nearest` with encoder.

    Raises:
        UserError: the encoder or upsampling is unknown, the weights do not fit, or an option does not go with an
            encoder.
    """
    if encoder is None:
        if weights is not None:
            raise UserError(
                "unet: the weights are for an encoder, but no encoder is given; add one (encoder=resnet18), or "
                "give a run of the same network."
            )
        return UNet(
            in_channels=in_channels,
            num_classes=num_classes,
            width=64 if width is None else width,
            batch_norm=batch_norm is not False,
            upsampling=upsampling or "transposed",
        )
    for option, value in (("width", width), ("batch_norm", batch_norm)):
        if value is not None:
            raise UserError(
                f"unet: {option} is an option of the network without encoder, but the encoder {encoder} is given; "
                "leave out one of them (encoder=null for the paper's network)."
            )
    return EncoderUNet(
        encoder=create_encoder(encoder, in_channels=in_channels, weights=weights),
        num_classes=num_classes,
        decoder_channels=decoder_channels,
        upsampling=upsampling or "nearest",
        deep_supervision=deep_supervision,
    )


def unet_original(*, num_classes: int, in_channels: int = 1, width: int = 64) -> UNet:
    """The network of the paper: valid convolutions, no batch norm; 1 -> 2 classes: 31,030,658 parameters."""
    return UNet(in_channels=in_channels, num_classes=num_classes, width=width, valid=True, batch_norm=False)
