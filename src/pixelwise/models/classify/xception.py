"""Aligned Xception of 65 layers (Chollet, CVPR 2017, arXiv:1610.02357; Chen et al., ECCV 2018, arXiv:1802.02611).

The network follows figure 4 of the latter: a deeper middle flow than Chollet's, separable convolutions that stride in
place of all poolings, and batch norm with ReLU after each 3x3 depthwise convolution. The 65 layers are two convolutions
at the beginning and 63 separable ones: 3 in each of the 3 blocks of the entry flow, 3 in each of the 16 blocks of the
middle flow, and 6 in the exit flow.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from pixelwise.nn.depthwise import DepthwiseConv2d
from pixelwise.nn.encoder import Encoder
from pixelwise.nn.initialise import he_normal


class SeparableConv(nn.Sequential):
    """3x3 depthwise convolution, batch norm, ReLU, 1x1 convolution, batch norm."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(
            DepthwiseConv2d(inputs, 3, stride=stride, dilation=dilation),
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )


class Block(nn.Module):
    """Separable convolutions, each after a ReLU, and a shortcut; the last convolution may stride.

    Args:
        widths: input channels, then those after each separable convolution.
    """

    def __init__(self, widths: Sequence[int], *, stride: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(pairwise(widths), 1):
            last = number == len(widths) - 1
            # Not in place: the first ReLU's input is also the shortcut's.
            layers += [nn.ReLU(), SeparableConv(inputs, outputs, stride=stride if last else 1)]
        self.convs = nn.Sequential(*layers)
        self.shortcut = None
        if stride > 1 or widths[0] != widths[-1]:
            self.shortcut = nn.Sequential(
                nn.Conv2d(widths[0], widths[-1], 1, stride, bias=False), nn.BatchNorm2d(widths[-1])
            )

    def forward(self, maps: Tensor) -> Tensor:
        return self.convs(maps) + (maps if self.shortcut is None else self.shortcut(maps))


class Xception(Encoder):
    """Entry, middle and exit flow as classifier and as encoder; parameter names follow no published network.

    1,000 classes: 39,916,312 parameters, 37,867,312 without the classifier.

    Args:
        width: channels of the first convolution, 32 in the paper; all others scale with it.
        middle: blocks of the middle flow: 16 in Xception-65, 8 in Chollet's.
        num_classes: 0 builds only the encoder, without the classifier.
    """

    heads = ("fc",)
    feature_strides = (2, 4, 8, 16, 32)

    def __init__(self, *, in_channels: int = 3, num_classes: int = 1000, width: int = 32, middle: int = 16) -> None:
        super().__init__()
        narrow, stem, first, second, third, fourth, fifth, last = (
            channels * width // 32 for channels in (32, 64, 128, 256, 728, 1024, 1536, 2048)
        )
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, narrow, 3, 2, 1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, stem, 3, 1, 1, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(inplace=True),
        )
        self.entry1 = Block((stem, first, first, first), stride=2)
        self.entry2 = Block((first, second, second, second), stride=2)
        self.entry3 = Block((second, third, third, third), stride=2)
        self.middle = nn.Sequential(*(Block((third,) * 4) for _ in range(middle)))
        self.exit1 = Block((third, third, fourth, fourth), stride=2)
        self.exit2 = nn.Sequential(
            SeparableConv(fourth, fifth),
            nn.ReLU(inplace=True),
            SeparableConv(fifth, fifth),
            nn.ReLU(inplace=True),
            SeparableConv(fifth, last),
            nn.ReLU(inplace=True),
        )
        self.feature_channels = (stem, first, second, third, last)
        if num_classes:
            self.fc = nn.Linear(last, num_classes)
        he_normal(self, kinds=nn.Conv2d, mode="fan_out")

    def stages(self) -> list[nn.Module]:
        return [
            self.stem,
            self.entry1,
            self.entry2,
            nn.Sequential(self.entry3, self.middle),
            nn.Sequential(self.exit1, self.exit2),
        ]

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, num_classes)."""
        return self.fc(self.pyramid(images)[-1].mean((2, 3)))
