"""GoogLeNet, the first Inception network (Szegedy et al., CVPR 2015, arXiv:1409.4842).

This is the form of the published weights with these names. It differs from the paper: every convolution is followed by
batch norm, in place of response normalisation in two spots; filters are 3x3 where table 1 has 5x5; the pooling before
5a is 2x2 where table 1 has 3x3; and auxiliary heads average their map to 4x4 positions, whatever its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.nn.encoder import Encoder
from pixelwise.nn.initialise import he_normal
from pixelwise.nn.pooled_norm import pooled_norm

# Table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class ConvNormReLU(nn.Module):
    """Convolution without bias, batch norm, ReLU.

    For a single position of a single picture the batch norm uses its running statistics, in training too: see
    `pooled_norm`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        return self.relu(pooled_norm(self.bn, self.conv(maps)))


class Inception(nn.Module):
    """Four parallel branches: 1x1; 1x1 and 3x3; 1x1 and 3x3 again; pooling and 1x1 (figure 2, b).

    Args:
        widths: channels of the branches' convolutions, as in a row of table 1.
    """

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        ones, threes_reduce, threes, fives_reduce, fives, projected = widths
        self.branch1 = ConvNormReLU(inputs, ones, 1)
        self.branch2 = nn.Sequential(
            ConvNormReLU(inputs, threes_reduce, 1), ConvNormReLU(threes_reduce, threes, 3, padding=1)
        )
        self.branch3 = nn.Sequential(
            ConvNormReLU(inputs, fives_reduce, 1), ConvNormReLU(fives_reduce, fives, 3, padding=1)
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), ConvNormReLU(inputs, projected, 1))
        self.outputs = ones + threes + fives + projected

    def forward(self, maps: Tensor) -> Tensor:
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return torch.cat([branch(maps) for branch in branches], dim=1)


class GoogLeNetAuxiliaryHead(nn.Module):
    """Average pooling to 4x4, 1x1 convolution, two fully connected layers with 70 % dropout between (section 5).

    The paper pools 5x5 windows with stride 3, which turns the 14x14 map of a 224x224 picture into 4x4; adaptive pooling
    also takes the maps of other pictures.
    """

    def __init__(self, inputs: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.conv = ConvNormReLU(inputs, 2 * width, 1)
        self.fc1 = nn.Linear(2 * width * 4 * 4, 16 * width)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(16 * width, num_classes)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, h, w) -> logits (N, num_classes)."""
        maps = self.conv(F.adaptive_avg_pool2d(maps, 4))  # (N, 128, 4, 4)
        return self.fc2(self.dropout(self.relu(self.fc1(maps.flatten(1)))))


class GoogLeNet(Encoder):
    """Nine inception blocks as classifier and as encoder; torchvision's parameter names.

    1,000 classes: 6,624,904 parameters, 13,004,888 with the auxiliary heads. Weights start as in He et al. (ICCV 2015).

    Args:
        num_classes: 0 builds only the encoder, without the classifier.
        auxiliary: adds heads on 4a and 4d, of weight 0.3 each in the loss (section 5); they are not computed in
            prediction.
        width: filters of the first convolution; all others scale with it.
        dropout: before the classifier.
    """

    heads = ("fc", "aux1.fc2", "aux2.fc2")
    smallest = 15
    feature_strides = (2, 4, 8, 16, 32)

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 1000,
        auxiliary: bool = False,
        width: int = 64,
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        rows = {name: [max(channels * width // 64, 1) for channels in row] for name, row in INCEPTION.items()}
        self.conv1 = ConvNormReLU(in_channels, width, 7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = ConvNormReLU(width, width, 1)
        self.conv3 = ConvNormReLU(width, 3 * width, 3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception3a = Inception(3 * width, rows["3a"])
        self.inception3b = Inception(self.inception3a.outputs, rows["3b"])
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception4a = Inception(self.inception3b.outputs, rows["4a"])
        self.inception4b = Inception(self.inception4a.outputs, rows["4b"])
        self.inception4c = Inception(self.inception4b.outputs, rows["4c"])
        self.inception4d = Inception(self.inception4c.outputs, rows["4d"])
        self.inception4e = Inception(self.inception4d.outputs, rows["4e"])
        self.maxpool4 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.inception5a = Inception(self.inception4e.outputs, rows["5a"])
        self.inception5b = Inception(self.inception5a.outputs, rows["5b"])
        ends = (self.inception3b, self.inception4e, self.inception5b)
        self.feature_channels = (width, 3 * width, *(block.outputs for block in ends))
        if num_classes:
            self.dropout = nn.Dropout(dropout)
            self.fc = nn.Linear(self.inception5b.outputs, num_classes)
            if auxiliary:
                self.auxiliary_weights = (0.3, 0.3)
                self.aux1 = GoogLeNetAuxiliaryHead(self.inception4a.outputs, width, num_classes)
                self.aux2 = GoogLeNetAuxiliaryHead(self.inception4d.outputs, width, num_classes)
        he_normal(self)

    def stages(self) -> list[nn.Sequential]:
        return [
            nn.Sequential(self.conv1),
            nn.Sequential(self.maxpool1, self.conv2, self.conv3),
            nn.Sequential(self.maxpool2, self.inception3a, self.inception3b),
            nn.Sequential(
                self.maxpool3,
                self.inception4a,
                self.inception4b,
                self.inception4c,
                self.inception4d,
                self.inception4e,
            ),
            nn.Sequential(self.maxpool4, self.inception5a, self.inception5b),
        ]

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), at least 15x15 -> (N, num_classes)."""
        return self._classify(self.pyramid(images)[-1])

    def all_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """The logits, and those of the auxiliary heads if there are any."""
        if not self.auxiliary_weights:
            return (self.logits(images),)
        auxiliary_of: dict[nn.Module, GoogLeNetAuxiliaryHead] = {
            self.inception4a: self.aux1,
            self.inception4d: self.aux2,
        }
        maps, auxiliary = images, []
        for block in chain.from_iterable(self.stages()):
            maps = block(maps)
            if block in auxiliary_of:
                auxiliary.append(auxiliary_of[block](maps))
        return self._classify(maps), *auxiliary

    def _classify(self, maps: Tensor) -> Tensor:
        return self.fc(self.dropout(maps.mean((2, 3))))
