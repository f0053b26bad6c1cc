"""PSPNet: pyramid scene parsing (Zhao et al., CVPR 2017, arXiv:1612.01105)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.errors import unknown
from pixelwise.models.encoders import create_encoder
from pixelwise.nn.dense import DenseModel
from pixelwise.nn.encoder import Encoder
from pixelwise.nn.pooled_norm import pooled_norm

POOLINGS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "average": F.adaptive_avg_pool2d,
    "max": F.adaptive_max_pool2d,
}
"""How a bin of the pyramid becomes one value (table 1: AVE and MAX)."""


class Reduction(nn.Module):
    """1x1 convolution, batch norm and ReLU after the pooling of one level (section 3.2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(pooled_norm(self.norm, self.conv(maps)))


class PyramidPooling(nn.Module):
    """Concatenates a map with its average or maximum in each of bins x bins parts of the picture (figure 3, c).

    A batch of one picture has one value per channel in the 1x1 level and therefore no variance: the batch norm of that
    level then uses its running statistics, in training too.

    Args:
        bins: number of bins along a side, for each level.
        pooling: a name in `POOLINGS`.
        reduction: reduces each level to 1 / len(bins) of the channels, so that all levels together are as wide as the
            map (DR in table 1).

    Attributes:
        outputs: channels of the result. On a ResNet-50: 4096 for the bins (1,), 10240 for (1, 2, 3, 6), and 4096 for
            (1, 2, 3, 6) with reduction.
    """

    def __init__(self, inputs: int, *, bins: Sequence[int], pooling: str, reduction: bool) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise unknown("pooling", pooling, POOLINGS)
        self.bins = tuple(bins)
        self.pool = POOLINGS[pooling]
        width = inputs // len(self.bins) if reduction and self.bins else inputs
        self.levels = nn.ModuleList(Reduction(inputs, width) if reduction else nn.Identity() for _ in self.bins)
        self.outputs = inputs + width * len(self.bins)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, outputs, h, w)."""
        size = maps.shape[-2:]
        levels = [level(self.pool(maps, side)) for side, level in zip(self.bins, self.levels, strict=True)]
        return torch.cat([maps, *(F.interpolate(level, size, mode="bilinear") for level in levels)], dim=1)


def classifier(inputs: int, width: int, num_classes: int) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU, dropout of 0.1, 1x1 convolution to the classes."""
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Dropout2d(0.1),
        nn.Conv2d(width, num_classes, 1),
    )


class PSPNet(DenseModel):
    """A dilated encoder, pyramid pooling, and a classifier with a quarter of the encoder's channels (figure 3).

    Args:
        encoder: dilated; the auxiliary classifier reads its map before the last (section 4: conv4 of a ResNet).
        bins: see `PyramidPooling`; empty for the network without pyramid (the baseline of table 1).
        pooling, reduction: see `PyramidPooling`.
        auxiliary: adds a second classifier, of weight 0.4 in the loss, which is not computed in prediction.
    """

    heads = ("head", "auxiliary_head")

    def __init__(
        self,
        *,
        encoder: Encoder,
        num_classes: int,
        bins: Sequence[int] = (1, 2, 3, 6),
        pooling: str = "average",
        reduction: bool = True,
        auxiliary: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.stride = max(encoder.feature_strides)
        self.global_context = len(bins) > 0
        self.encoder = encoder
        channels = encoder.feature_channels[-1]
        self.pyramid = PyramidPooling(channels, bins=bins, pooling=pooling, reduction=reduction)
        self.head = classifier(self.pyramid.outputs, channels // 4, num_classes)
        if auxiliary:
            self.auxiliary_weights = (0.4,)
            channels = encoder.feature_channels[-2]
            self.auxiliary_head = classifier(channels, channels // 4, num_classes)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, H, W)."""
        return self._classify(self.encoder.pyramid(images)[-1], images)

    def all_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """The logits, and those of the auxiliary classifier if there is one."""
        if not self.auxiliary_weights:
            return (self.logits(images),)
        *_, before, last = self.encoder.pyramid(images)
        auxiliary = F.interpolate(self.auxiliary_head(before), images.shape[-2:], mode="bilinear")
        return self._classify(last, images), auxiliary

    def _classify(self, maps: Tensor, images: Tensor) -> Tensor:
        logits = self.head(self.pyramid(maps))  # (N, K, H / stride, W / stride)
        return F.interpolate(logits, images.shape[-2:], mode="bilinear")


def pspnet(
    *,
    num_classes: int,
    in_channels: int = 3,
    encoder: str = "resnet50",
    weights: Any = None,
    output_stride: int = 8,
    bins: Sequence[int] = (1, 2, 3, 6),
    pooling: str = "average",
    reduction: bool = True,
    auxiliary: bool = False,
) -> PSPNet:
    """PSPNet over an encoder of the catalog, dilated to `output_stride`.

    ResNet-50 and 21 classes: 46,592,597 parameters, 48,957,802 with the auxiliary classifier. The ResNet is the one of
    He et al., whose first layer is one 7x7 convolution; the paper's has three 3x3 there.

    Raises:
        UserError: the encoder or pooling is unknown, the encoder does not have that stride, or the weights do not fit.
    """
    return PSPNet(
        encoder=create_encoder(encoder, in_channels=in_channels, weights=weights, output_stride=output_stride),
        num_classes=num_classes,
        bins=bins,
        pooling=pooling,
        reduction=reduction,
        auxiliary=auxiliary,
    )
