"""Inception v3 (Szegedy et al., CVPR 2016, arXiv:1512.00567).

Table 1 of the paper gives the sizes of the maps, its figures 5 to 7 and 10 the blocks. Neither gives the widths of the
branches; these come from the network that the authors published. So do a few layers that differ from the paper: a 1x1
convolution of 80 channels, a pooling before the first block, and a 5x5 convolution where figure 5 has a 3x3.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.models.classify.googlenet import ConvNormReLU
from pixelwise.nn.encoder import UnpaddedEncoder
from pixelwise.nn.initialise import he_normal

FIRST = 32
"""Filters of the first convolution at the paper's size; the widths below refer to this size."""
Scale = Callable[[int], int]
"""Number of channels in the paper -> number of channels in this network."""


class InceptionA(nn.Module):
    """Parallel 1x1; 5x5; two 3x3; pooling (figure 5). 35x35 positions in the paper."""

    def __init__(self, inputs: int, w: Scale, *, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNormReLU(inputs, w(64), 1)
        self.branch5x5_1 = ConvNormReLU(inputs, w(48), 1)
        self.branch5x5_2 = ConvNormReLU(w(48), w(64), 5, padding=2)
        self.branch3x3dbl_1 = ConvNormReLU(inputs, w(64), 1)
        self.branch3x3dbl_2 = ConvNormReLU(w(64), w(96), 3, padding=1)
        self.branch3x3dbl_3 = ConvNormReLU(w(96), w(96), 3, padding=1)
        self.pool = nn.AvgPool2d(3, 1, 1)
        self.branch_pool = ConvNormReLU(inputs, w(pooled), 1)
        self.outputs = w(64) + w(64) + w(96) + w(pooled)

    def forward(self, maps: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(maps))
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(maps)))
        return torch.cat([self.branch1x1(maps), five, threes, self.branch_pool(self.pool(maps))], dim=1)


class InceptionB(nn.Module):
    """Parallel strided 3x3; 3x3 and strided 3x3; strided max pooling (figure 10). From 35x35 positions to 17x17."""

    def __init__(self, inputs: int, w: Scale) -> None:
        super().__init__()
        self.branch3x3dbl_1 = ConvNormReLU(inputs, w(64), 1)
        self.branch3x3dbl_2 = ConvNormReLU(w(64), w(96), 3, padding=1)
        # The layers that stride come last, as `Encoder.dilate` expects.
        self.branch3x3dbl_3 = ConvNormReLU(w(96), w(96), 3, stride=2)
        self.branch3x3 = ConvNormReLU(inputs, w(384), 3, stride=2)
        self.pool = nn.MaxPool2d(3, 2)
        self.outputs = w(384) + w(96) + inputs

    def forward(self, maps: Tensor) -> Tensor:
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(maps)))
        return torch.cat([self.branch3x3(maps), threes, self.pool(maps)], dim=1)


class InceptionC(nn.Module):
    """Parallel 1x1; 7x7 as 1x7 and 7x1; the same twice; pooling (figure 6, n = 7). 17x17 positions in the paper."""

    def __init__(self, inputs: int, w: Scale, *, sevens: int) -> None:
        super().__init__()
        narrow = w(sevens)
        self.branch1x1 = ConvNormReLU(inputs, w(192), 1)
        self.branch7x7_1 = ConvNormReLU(inputs, narrow, 1)
        self.branch7x7_2 = ConvNormReLU(narrow, narrow, (1, 7), padding=(0, 3))
        self.branch7x7_3 = ConvNormReLU(narrow, w(192), (7, 1), padding=(3, 0))
        self.branch7x7dbl_1 = ConvNormReLU(inputs, narrow, 1)
        self.branch7x7dbl_2 = ConvNormReLU(narrow, narrow, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = ConvNormReLU(narrow, narrow, (1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = ConvNormReLU(narrow, narrow, (7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = ConvNormReLU(narrow, w(192), (1, 7), padding=(0, 3))
        self.pool = nn.AvgPool2d(3, 1, 1)
        self.branch_pool = ConvNormReLU(inputs, w(192), 1)
        self.outputs = 4 * w(192)

    def forward(self, maps: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(maps)))
        sevens = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(maps)))
        sevens = self.branch7x7dbl_5(self.branch7x7dbl_4(sevens))
        return torch.cat([self.branch1x1(maps), seven, sevens, self.branch_pool(self.pool(maps))], dim=1)


class InceptionD(nn.Module):
    """Parallel strided 3x3; 1x7, 7x1 and strided 3x3; strided max pooling. From 17x17 positions to 8x8."""

    def __init__(self, inputs: int, w: Scale) -> None:
        super().__init__()
        self.branch3x3_1 = ConvNormReLU(inputs, w(192), 1)
        self.branch7x7x3_1 = ConvNormReLU(inputs, w(192), 1)
        self.branch7x7x3_2 = ConvNormReLU(w(192), w(192), (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = ConvNormReLU(w(192), w(192), (7, 1), padding=(3, 0))
        # The layers that stride come last, as `Encoder.dilate` expects.
        self.branch7x7x3_4 = ConvNormReLU(w(192), w(192), 3, stride=2)
        self.branch3x3_2 = ConvNormReLU(w(192), w(320), 3, stride=2)
        self.pool = nn.MaxPool2d(3, 2)
        self.outputs = w(320) + w(192) + inputs

    def forward(self, maps: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(maps))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(maps)))
        return torch.cat([three, self.branch7x7x3_4(seven), self.pool(maps)], dim=1)


class InceptionE(nn.Module):
    """Parallel 1x1; 1x3 and 3x1; 3x3, then 1x3 and 3x1; pooling (figure 7). 8x8 positions in the paper."""

    def __init__(self, inputs: int, w: Scale) -> None:
        super().__init__()
        self.branch1x1 = ConvNormReLU(inputs, w(320), 1)
        self.branch3x3_1 = ConvNormReLU(inputs, w(384), 1)
        self.branch3x3_2a = ConvNormReLU(w(384), w(384), (1, 3), padding=(0, 1))
        self.branch3x3_2b = ConvNormReLU(w(384), w(384), (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = ConvNormReLU(inputs, w(448), 1)
        self.branch3x3dbl_2 = ConvNormReLU(w(448), w(384), 3, padding=1)
        self.branch3x3dbl_3a = ConvNormReLU(w(384), w(384), (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = ConvNormReLU(w(384), w(384), (3, 1), padding=(1, 0))
        self.pool = nn.AvgPool2d(3, 1, 1)
        self.branch_pool = ConvNormReLU(inputs, w(192), 1)
        self.outputs = w(320) + 4 * w(384) + w(192)

    def forward(self, maps: Tensor) -> Tensor:
        three = self.branch3x3_1(maps)
        threes = self.branch3x3dbl_2(self.branch3x3dbl_1(maps))
        return torch.cat(
            [
                self.branch1x1(maps),
                self.branch3x3_2a(three),
                self.branch3x3_2b(three),
                self.branch3x3dbl_3a(threes),
                self.branch3x3dbl_3b(threes),
                self.branch_pool(self.pool(maps)),
            ],
            dim=1,
        )


class InceptionAuxiliaryHead(nn.Module):
    """5x5 average pooling of stride 3, 1x1 and 5x5 convolution, both with batch norm, linear layer (figure 8).

    The 17x17 map of a 299x299 picture becomes 5x5 and then a single position; smaller maps than 17x17 are too small.
    """

    def __init__(self, inputs: int, w: Scale, num_classes: int) -> None:
        super().__init__()
        self.conv0 = ConvNormReLU(inputs, w(128), 1)
        self.conv1 = ConvNormReLU(w(128), w(768), 5)
        self.fc = nn.Linear(w(768), num_classes)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, h, w) -> logits (N, num_classes)."""
        maps = self.conv0(F.avg_pool2d(maps, 5, 3))  # (N, 128, 5, 5)
        return self.fc(self.conv1(maps).mean((2, 3)))


class InceptionV3(UnpaddedEncoder):
    """Eleven inception blocks as classifier and as encoder; torchvision's parameter names.

    1,000 classes: 23,834,568 parameters, 27,161,264 with the auxiliary head. Pictures are 299x299 in the paper and must
    be at least 75x75. As an encoder the network returns the map before each layer that strides. Layers that stride, and
    two others, do not pad, so maps are two to four positions short of their grid along each side; `pyramid` makes up
    for that. Weights start as in He et al. (ICCV 2015).

    Args:
        num_classes: 0 builds only the encoder, without the classifier.
        auxiliary: adds a head on the last map of stride 16, of weight 0.4 in the loss (from the authors' code; the
            paper gives no weight); it is not computed in prediction. Pictures must then be at least 299x299.
        width: filters of the first convolution; all others scale with it.
        dropout: before the classifier; the authors' code has 0.2.
    """

    heads = ("fc", "AuxLogits.fc")
    smallest = 75
    feature_strides = (2, 4, 8, 16, 32)

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 1000,
        auxiliary: bool = False,
        width: int = FIRST,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()

        def w(channels: int) -> int:
            return max(channels * width // FIRST, 1)

        self.Conv2d_1a_3x3 = ConvNormReLU(in_channels, w(32), 3, stride=2)
        self.Conv2d_2a_3x3 = ConvNormReLU(w(32), w(32), 3)
        self.Conv2d_2b_3x3 = ConvNormReLU(w(32), w(64), 3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = ConvNormReLU(w(64), w(80), 1)
        self.Conv2d_4a_3x3 = ConvNormReLU(w(80), w(192), 3)
        self.maxpool2 = nn.MaxPool2d(3, 2)
        self.Mixed_5b = InceptionA(w(192), w, pooled=32)
        self.Mixed_5c = InceptionA(self.Mixed_5b.outputs, w, pooled=64)
        self.Mixed_5d = InceptionA(self.Mixed_5c.outputs, w, pooled=64)
        self.Mixed_6a = InceptionB(self.Mixed_5d.outputs, w)
        self.Mixed_6b = InceptionC(self.Mixed_6a.outputs, w, sevens=128)
        self.Mixed_6c = InceptionC(self.Mixed_6b.outputs, w, sevens=160)
        self.Mixed_6d = InceptionC(self.Mixed_6c.outputs, w, sevens=160)
        self.Mixed_6e = InceptionC(self.Mixed_6d.outputs, w, sevens=192)
        self.Mixed_7a = InceptionD(self.Mixed_6e.outputs, w)
        self.Mixed_7b = InceptionE(self.Mixed_7a.outputs, w)
        self.Mixed_7c = InceptionE(self.Mixed_7b.outputs, w)
        ends = (self.Mixed_5d, self.Mixed_6e, self.Mixed_7c)
        self.feature_channels = (w(64), w(192), *(block.outputs for block in ends))
        if num_classes:
            self.dropout = nn.Dropout(dropout)
            self.fc = nn.Linear(self.Mixed_7c.outputs, num_classes)
            if auxiliary:
                self.auxiliary_weights = (0.4,)
                self.smallest = 299
                self.AuxLogits = InceptionAuxiliaryHead(self.Mixed_6e.outputs, w, num_classes)
        he_normal(self)

    def stages(self) -> list[nn.Sequential]:
        return [
            nn.Sequential(self.Conv2d_1a_3x3, self.Conv2d_2a_3x3, self.Conv2d_2b_3x3),
            nn.Sequential(self.maxpool1, self.Conv2d_3b_1x1, self.Conv2d_4a_3x3),
            nn.Sequential(self.maxpool2, self.Mixed_5b, self.Mixed_5c, self.Mixed_5d),
            nn.Sequential(self.Mixed_6a, self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e),
            nn.Sequential(self.Mixed_7a, self.Mixed_7b, self.Mixed_7c),
        ]

    def dilate(self, output_stride: int) -> None:
        """As in the base class. Where 6a and 7a no longer stride, their 3x3 filters and their pooling pad, so that the
        map keeps its size. In a map that is n times as fine, the coarse map's position i is at n i + n - 1."""
        super().dilate(output_stride)
        for block in (
            self.Mixed_6a.branch3x3,
            self.Mixed_6a.branch3x3dbl_3,
            self.Mixed_7a.branch3x3_2,
            self.Mixed_7a.branch7x7x3_4,
        ):
            if max(block.conv.stride) == 1:
                block.conv.padding = block.conv.dilation

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), at least 75x75 -> (N, num_classes)."""
        return self._classify(nn.Sequential(*self.stages())(images))

    def all_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """The logits, and those of the auxiliary head if there is one."""
        if not self.auxiliary_weights:
            return (self.logits(images),)
        *stages, last = self.stages()
        maps = nn.Sequential(*stages)(images)  # (N, 768, 17, 17)
        return self._classify(last(maps)), self.AuxLogits(maps)

    def _classify(self, maps: Tensor) -> Tensor:
        return self.fc(self.dropout(maps.mean((2, 3))))
