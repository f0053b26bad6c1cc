"""DeepLab: atrous convolution for dense prediction, versions 1, 3 and 3+.

v1: Chen et al., ICLR 2015, arXiv:1412.7062. v3: Chen et al. 2017, arXiv:1706.05587. v3+: Chen et al., ECCV 2018,
arXiv:1802.02611. The fully connected CRF of v1 is a step after the network and not part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.errors import UserError
from pixelwise.models.classify.vgg import vgg16
from pixelwise.models.classify.xception import SeparableConv
from pixelwise.models.encoders import create_encoder
from pixelwise.models.weights import load_weights
from pixelwise.nn.atrous import AtrousConv2d, with_atrous_convolutions
from pixelwise.nn.dense import DenseModel
from pixelwise.nn.encoder import Encoder, widen
from pixelwise.nn.initialise import he_normal
from pixelwise.nn.pooled_norm import pooled_norm

RATES = (6, 12, 18)
"""Rates of the three atrous branches at output stride 16 (v3, section 3.3). At other strides the rates change so that
the reach in pixels stays the same."""


class DeepLabV1(DenseModel):
    """LargeFOV: VGG-16 at output stride 8, its classifier as a 3x3 convolution of rate 12 and two 1x1 ones.

    Sections 3.1 and 3.2, table 2: fc6 has a 3x3 kernel whose taps are 12 positions apart in place of VGG's 7x7, and fc6
    and fc7 have 1024 filters instead of 4096. 21 classes: 20,505,429 parameters. The last two poolings do not stride
    and are 3x3; the first three are VGG's. Logits at an eighth of the resolution are upsampled bilinearly.

    Args:
        width: channels of VGG's first block; fc6 and fc7 have 16 times as many.
        dropout: after fc6 and fc7.
        weights: pretrained weights of a VGG-16; its fully connected layers have other sizes and are not used.

    Raises:
        UserError: the weights do not fit.
    """

    stride = 8

    def __init__(
        self, *, num_classes: int, in_channels: int = 3, width: int = 64, dropout: float = 0.5, weights: Any = None
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.encoder = vgg16(in_channels=in_channels, num_classes=0, width=width)
        if weights is not None:
            load_weights(self.encoder, weights)
        self.encoder.dilate(self.stride)
        self.fc6 = AtrousConv2d(8 * width, 16 * width, 3, padding=12, dilation=12)
        self.fc7 = nn.Conv2d(16 * width, 16 * width, 1)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(16 * width, num_classes, 1)
        he_normal(self.fc6, self.fc7)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), multiples of 8 -> (N, K, H, W)."""
        maps = self.encoder.features(images)  # (N, 512, H/8, W/8)
        maps = self.dropout(self.relu(self.fc6(maps)))  # (N, 1024, H/8, W/8)
        maps = self.dropout(self.relu(self.fc7(maps)))
        return F.interpolate(self.head(maps), scale_factor=8, mode="bilinear")


def conv_norm_relu(inputs: int, outputs: int, kernel: int, rate: int = 1) -> nn.Sequential:
    """Convolution of a given rate, batch norm, ReLU."""
    return nn.Sequential(
        AtrousConv2d(inputs, outputs, kernel, padding=rate * (kernel // 2), dilation=rate, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def separable_norm_relu(inputs: int, outputs: int, kernel: int, rate: int = 1) -> nn.Sequential:
    """Atrous separable convolution (v3+, section 3.1), batch norm, ReLU; 1x1 convolutions stay ordinary."""
    if kernel == 1:
        return conv_norm_relu(inputs, outputs, 1)
    return nn.Sequential(*SeparableConv(inputs, outputs, dilation=rate), nn.ReLU(inplace=True))


class ImagePooling(nn.Sequential):
    """Averages the map, applies a 1x1 convolution, batch norm and ReLU, and copies the result to every position.

    Section 3.3 of v3. A batch of one picture has one value per channel here and therefore no variance: the batch norm
    then uses its running statistics, in training too.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, maps: Tensor) -> Tensor:
        pool, convolution, norm, relu = self
        pooled = relu(pooled_norm(norm, convolution(pool(maps))))  # (N, 256, 1, 1)
        return F.interpolate(pooled, maps.shape[-2:], mode="bilinear")


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (v3, figure 5).

    A 1x1 convolution, three atrous 3x3 convolutions and image pooling run in parallel; a 1x1 convolution joins them.

    Args:
        rates: dilation of each 3x3 branch.
        branch: makes a branch from (inputs, outputs, kernel, rate).
        dropout: after the last convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        rates: Sequence[int],
        branch: Callable[[int, int, int, int], nn.Module],
        dropout: float,
    ) -> None:
        super().__init__()
        branches = [branch(inputs, outputs, 1, 1), *(branch(inputs, outputs, 3, rate) for rate in rates)]
        self.convs = nn.ModuleList([*branches, ImagePooling(inputs, outputs)])
        self.project = conv_norm_relu(outputs * len(self.convs), outputs, 1)
        self.project.append(nn.Dropout(dropout))

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, outputs, h, w)."""
        return self.project(torch.cat([branch(maps) for branch in self.convs], dim=1))


def rates_at(output_stride: int) -> tuple[int, ...]:
    """The rates (6, 12, 18) at output stride 16, twice these at 8 (v3, section 3.3), half of these at 32."""
    return tuple(rate * 16 // output_stride for rate in RATES)


def apply_multi_grid(encoder: Encoder, multi_grid: Sequence[int]) -> None:
    """Multiplies the rates of the last stage's blocks, one factor per block (v3, section 3.2.1).

    Raises:
        UserError: the number of factors differs from the stage's number of blocks.
    """
    blocks = [block for block in encoder.stages()[-1].children() if _wide_convolutions(block)]
    if len(blocks) != len(multi_grid):
        raise UserError(
            f"multi_grid: {len(multi_grid)} factors found, but the last stage of the encoder has {len(blocks)} blocks "
            f"with 3x3 convolutions; give one per block{', or none at all' if blocks else ''}."
        )
    for block, factor in zip(blocks, multi_grid, strict=True):
        for convolution in _wide_convolutions(block):
            widen(convolution, factor)
    with_atrous_convolutions(encoder)


def _wide_convolutions(block: nn.Module) -> list[nn.Conv2d]:
    return [m for m in block.modules() if isinstance(m, nn.Conv2d) and max(m.kernel_size) > 1]


def atrous_encoder(name: str, in_channels: int, weights: Any, output_stride: int, multi_grid: Sequence[int]) -> Encoder:
    """An encoder dilated to an output stride, with multi-grid rates if some are given."""
    encoder = create_encoder(name, in_channels=in_channels, weights=weights, output_stride=output_stride)
    if multi_grid:
        apply_multi_grid(encoder, multi_grid)
    return encoder


class DeepLabV3(DenseModel):
    """ASPP on a dilated encoder; logits are upsampled bilinearly from the output stride.

    Names and shapes of tensors are torchvision's (`backbone`, `classifier`, `aux_classifier`), so that published
    weights load. ResNet-50, 21 classes: 39,638,869 parameters, 42,004,074 with the auxiliary classifier.

    Args:
        output_stride: stride of the encoder's last map: 16, or 8, which is twice as fine and four times as expensive.
            The rates of the branches are (6, 12, 18) at 16 and (12, 24, 36) at 8. The stride changes no tensor, so a
            network trained at 16 can be used at 8.
        multi_grid: factors on the rates of the last stage's blocks. The paper's best for a ResNet of bottlenecks is
            (1, 2, 4); published weights with these names were trained without factors.
        width: channels of each branch.
        auxiliary: adds a second classifier on the map before the last, of weight 0.4 in the loss. The paper has none.

    Raises:
        UserError: the encoder is unknown or does not have that stride, or the weights or factors do not fit.
    """

    heads = ("classifier", "aux_classifier")
    global_context = True

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int = 3,
        encoder: str = "resnet50",
        weights: Any = None,
        output_stride: int = 16,
        multi_grid: Sequence[int] = (),
        width: int = 256,
        dropout: float = 0.5,
        auxiliary: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.stride = output_stride
        self.backbone = atrous_encoder(encoder, in_channels, weights, output_stride, multi_grid)
        self.classifier = nn.Sequential(
            ASPP(
                self.backbone.feature_channels[-1],
                width,
                rates=rates_at(output_stride),
                branch=conv_norm_relu,
                dropout=dropout,
            ),
            *conv_norm_relu(width, width, 3),
            nn.Conv2d(width, num_classes, 1),
        )
        if auxiliary:
            self.auxiliary_weights = (0.4,)
            channels = self.backbone.feature_channels[-2]
            self.aux_classifier = nn.Sequential(
                *conv_norm_relu(channels, channels // 4, 3), nn.Dropout(0.1), nn.Conv2d(channels // 4, num_classes, 1)
            )

    @property
    def encoder(self) -> Encoder:
        return self.backbone

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), multiples of the output stride -> (N, K, H, W)."""
        return resized(self.classifier(self.backbone.pyramid(images)[-1]), images)

    def all_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """The logits, and those of the auxiliary classifier if there is one."""
        if not self.auxiliary_weights:
            return (self.logits(images),)
        *_, before, last = self.backbone.pyramid(images)
        return resized(self.classifier(last), images), resized(self.aux_classifier(before), images)


def resized(maps: Tensor, like: Tensor) -> Tensor:
    """Resizes maps (N, C, h, w) bilinearly to the height and width of `like`."""
    return F.interpolate(maps, like.shape[-2:], mode="bilinear")


class DeepLabV3Plus(DenseModel):
    """ASPP of atrous separable convolutions, and a decoder that joins the encoder's map of stride 4 (v3+, figure 2).

    ResNet-50, 21 classes: 26,696,133 parameters; Xception-65: 41,049,269.

    Args:
        encoder: `xception`, `resnet101`, or any other.
        output_stride: as in `DeepLabV3`.
        multi_grid: as in `DeepLabV3`.
        width: channels of the branches and of the decoder.
        low_level: channels to which the map of stride 4 is reduced (table 1).

    Raises:
        UserError: as in `DeepLabV3`, or the output stride is below 4.
    """

    global_context = True

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int = 3,
        encoder: str = "resnet50",
        weights: Any = None,
        output_stride: int = 16,
        multi_grid: Sequence[int] = (),
        width: int = 256,
        low_level: int = 48,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if output_stride < 4:
            raise UserError(f"output_stride {output_stride}: the decoder needs the map of stride 4; choose 4 or more.")
        self.num_classes = num_classes
        self.stride = output_stride
        self.encoder = atrous_encoder(encoder, in_channels, weights, output_stride, multi_grid)
        self.aspp = ASPP(
            self.encoder.feature_channels[-1],
            width,
            rates=rates_at(output_stride),
            branch=separable_norm_relu,
            dropout=dropout,
        )
        self.finer = self.encoder.feature_strides.index(4)
        self.reduce = conv_norm_relu(self.encoder.feature_channels[self.finer], low_level, 1)
        self.decoder = nn.Sequential(
            separable_norm_relu(width + low_level, width, 3), separable_norm_relu(width, width, 3)
        )
        self.head = nn.Conv2d(width, num_classes, 1)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), multiples of the output stride -> (N, K, H, W)."""
        maps = self.encoder.pyramid(images)
        low = self.reduce(maps[self.finer])  # (N, 48, H/4, W/4)
        high = resized(self.aspp(maps[-1]), low)  # (N, 256, H/4, W/4)
        return resized(self.head(self.decoder(torch.cat([low, high], dim=1))), images)
