"""Feature pyramids for segmentation.

Lin et al., CVPR 2017, arXiv:1612.03144; Kirillov et al., CVPR 2019, arXiv:1901.02446. `fpn` is the semantic branch of
Panoptic FPN (Kirillov, section 3.1); `unet_fpn` is a U-Net in which every level of the decoder predicts, as in the
pyramid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.errors import UserError
from pixelwise.models.encoders import create_encoder
from pixelwise.models.segment.unet import EncoderUNet
from pixelwise.nn.dense import DenseModel
from pixelwise.nn.encoder import Encoder
from pixelwise.nn.pyramid import top_down

FINEST = 4
"""Stride of the pyramid's finest level, and of the logits before their last upsampling."""
GROUP = 4
"""Channels per group of the group norm: 128 channels make 32 groups."""


class FeaturePyramid(nn.Module):
    """Maps of one width at every stride, each combined with the coarser ones (Lin et al., section 3).

    Args:
        channels: number of channels of each map of the encoder, finest first; each map has half the resolution of the
            map before it.
        width: channels of every output map.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(inputs, width, 1) for inputs in channels)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (N, channels[i], H_i, W_i) -> (N, width, H_i, W_i), both finest first."""
        return top_down(maps, self.lateral, self.smooth)


class SemanticBranch(nn.Sequential):
    """Brings a level of the pyramid to the stride `FINEST` (Kirillov, figure 3).

    Each halving in between is undone by a 3x3 convolution, group norm, ReLU and twofold bilinear upsampling. The level
    that already has this stride gets one such convolution without upsampling.
    """

    def __init__(self, inputs: int, outputs: int, *, halvings: int) -> None:
        layers: list[nn.Module] = []
        for number in range(max(halvings, 1)):
            layers += [
                nn.Conv2d(outputs if number else inputs, outputs, 3, padding=1, bias=False),
                nn.GroupNorm(outputs // GROUP, outputs),
                nn.ReLU(inplace=True),
            ]
            if halvings:
                layers.append(nn.Upsample(scale_factor=2, mode="bilinear"))
        super().__init__(*layers)


class SemanticFPN(DenseModel):
    """A feature pyramid over an encoder; its levels are brought to a quarter of the resolution, summed and classified.

    Group norm takes its mean and variance over the whole picture, so the logits of a tile differ from the picture's.

    Args:
        width: channels of the pyramid's maps; the semantic branches have half as many.

    Raises:
        UserError: the width is not a multiple of 8.
    """

    global_context = True

    def __init__(self, *, encoder: Encoder, num_classes: int, width: int = 256) -> None:
        super().__init__()
        if width % (2 * GROUP):
            raise UserError(
                f"width {width}: the branches have half as many channels, in groups of {GROUP}; "
                f"choose a multiple of {2 * GROUP}."
            )
        self.num_classes = num_classes
        self.encoder = encoder
        self.stride = max(encoder.feature_strides)
        # Level -> stride. Of several maps of one stride this takes the last, which has the largest receptive field.
        last = {stride: number for number, stride in enumerate(encoder.feature_strides)}
        self.levels = {number: stride for stride, number in last.items() if stride >= FINEST}
        self.pyramid = FeaturePyramid([encoder.feature_channels[number] for number in self.levels], width)
        self.branches = nn.ModuleList(
            SemanticBranch(width, width // 2, halvings=(stride // FINEST).bit_length() - 1)
            for stride in self.levels.values()
        )
        self.head = nn.Conv2d(width // 2, num_classes, 1)
        for module in (*self.pyramid.modules(), *self.branches.modules()):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), multiples of the stride -> (N, K, H, W)."""
        maps = self.encoder.pyramid(images)
        levels = self.pyramid([maps[number] for number in self.levels])
        finest, *coarser = (branch(each) for branch, each in zip(self.branches, levels, strict=True))
        logits = self.head(sum(coarser, finest))  # (N, K, H/4, W/4)
        return F.interpolate(logits, scale_factor=FINEST, mode="bilinear")


def fpn(
    *, num_classes: int, in_channels: int = 3, encoder: str = "resnet50", weights: Any = None, width: int = 256
) -> SemanticFPN:
    """Semantic FPN over an encoder of the catalog.

    ResNet-50, 21 classes: 28,478,933 parameters.

    Raises:
        UserError: the encoder is unknown, the weights do not fit, or the width is not a multiple of 8.
    """
    return SemanticFPN(
        encoder=create_encoder(encoder, in_channels=in_channels, weights=weights),
        num_classes=num_classes,
        width=width,
    )


class UNetFPN(EncoderUNet):
    """A U-Net over an encoder in which every decoder block outputs logits; these are upsampled and summed.

    The sum computes the same function as one prediction from the concatenated maps of all blocks: a 1x1 convolution of
    a concatenation is a sum of 1x1 convolutions, and it commutes with linear upsampling. The sum is cheaper, because
    only maps of K channels are upsampled.

    Args:
        decoder_channels: as in `EncoderUNet`.
    """

    head: nn.ModuleList  # type: ignore[assignment]

    def __init__(self, *, encoder: Encoder, num_classes: int, decoder_channels: Sequence[int]) -> None:
        super().__init__(encoder=encoder, num_classes=num_classes, decoder_channels=decoder_channels)
        self.head = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for channels in decoder_channels)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), multiples of the stride -> (N, K, H, W)."""
        skips = self.encoder.pyramid(images)
        maps = skips.pop()
        logits = None
        for block, head in zip(self.decoder, self.head, strict=True):
            maps = block(maps, skips.pop() if skips else None)
            here = head(maps)
            # Twofold from level to level: the coarsest logits are upsampled most often and become the smoothest.
            logits = here if logits is None else here + F.interpolate(logits, scale_factor=2, mode="bilinear")
        assert logits is not None
        return F.interpolate(
            logits, images.shape[-2:], mode="bilinear"
        )  # unchanged if the last block has that size already


def unet_fpn(
    *,
    num_classes: int,
    in_channels: int = 3,
    encoder: str = "resnet50",
    weights: Any = None,
    decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
) -> UNetFPN:
    """U-Net + FPN over an encoder of the catalog.

    ResNet-50, 21 classes: 32,531,481 parameters.

    Raises:
        UserError: the encoder is unknown, the weights do not fit, or there are more blocks than the picture's
            resolution needs.
    """
    return UNetFPN(
        encoder=create_encoder(encoder, in_channels=in_channels, weights=weights),
        num_classes=num_classes,
        decoder_channels=decoder_channels,
    )
