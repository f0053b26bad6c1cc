"""DenseNet: every layer reads the maps of all layers before it (Huang et al., CVPR 2017, arXiv:1608.06993).

The networks of 121, 161, 169 and 201 layers are DenseNet-BC, with bottlenecks and transitions that halve the channels
(section 3). The network of 161 layers, with growth rate 48, is not in the paper's table 1, but was published by its
authors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelwise.nn.encoder import Encoder
from pixelwise.nn.initialise import he_normal

BOTTLENECK = 4
"""Channels after a layer's 1x1 convolution, as a multiple of the growth rate (section 3, bottleneck layers)."""


class DenseLayer(nn.Module):
    """Batch norm, ReLU and 1x1 convolution to 4k channels; batch norm, ReLU and 3x3 convolution to k channels."""

    def __init__(self, inputs: int, growth_rate: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, BOTTLENECK * growth_rate, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * growth_rate)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(BOTTLENECK * growth_rate, growth_rate, 3, padding=1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.conv1(self.relu1(self.norm1(maps)))
        return self.conv2(self.relu2(self.norm2(maps)))


class DenseBlock(nn.Module):
    """Layers whose maps are concatenated with all earlier ones (equation 2)."""

    def __init__(self, inputs: int, growth_rate: int, layers: int) -> None:
        super().__init__()
        for number in range(layers):
            self.add_module(f"denselayer{number + 1}", DenseLayer(inputs + number * growth_rate, growth_rate))
        self.outputs = inputs + layers * growth_rate

    def forward(self, maps: Tensor) -> Tensor:
        for layer in self.children():
            maps = torch.cat([maps, layer(maps)], dim=1)
        return maps


class Transition(nn.Module):
    """Batch norm, ReLU, 1x1 convolution to half the channels, 2x2 average pooling (section 3, compression of 0.5)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(inputs, inputs // 2, 1, bias=False)
        self.pool = nn.AvgPool2d(2)

    def forward(self, maps: Tensor) -> Tensor:
        return self.pool(self.conv(self.relu(self.norm(maps))))


class DenseNet(Encoder):
    """Four dense blocks as classifier and as encoder; torchvision's parameter names.

    As an encoder the network returns each block's map after the batch norm and ReLU that follow the block, because the
    block's own output is a concatenation of maps that are not normalised. Convolutions start as in He et al. (ICCV
    2015), as in the paper.

    Args:
        blocks: layers in each of the four dense blocks (table 1).
        growth_rate: k, the channels that each layer adds; the first convolution has 2k.
        num_classes: 0 builds only the encoder, without the classifier.
    """

    heads = ("classifier",)
    smallest = 29
    feature_strides = (2, 4, 8, 16, 32)

    def __init__(
        self, *, blocks: tuple[int, int, int, int], growth_rate: int, in_channels: int = 3, num_classes: int = 1000
    ) -> None:
        super().__init__()
        channels = 2 * growth_rate
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(in_channels, channels, 7, 2, 3, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(channels))
        self.features.add_module("relu0", nn.ReLU(inplace=True))
        self.features.add_module("pool0", nn.MaxPool2d(3, 2, 1))
        maps = [channels]
        for number, layers in enumerate(blocks, 1):
            block = DenseBlock(channels, growth_rate, layers)
            self.features.add_module(f"denseblock{number}", block)
            maps.append(block.outputs)
            if number < len(blocks):
                self.features.add_module(f"transition{number}", Transition(block.outputs))
                channels = block.outputs // 2
        self.features.add_module("norm5", nn.BatchNorm2d(maps[-1]))
        self.relu = nn.ReLU(inplace=True)
        self.feature_channels = tuple(maps)
        if num_classes:
            self.classifier = nn.Linear(maps[-1], num_classes)
            nn.init.zeros_(self.classifier.bias)
        he_normal(self, kinds=nn.Conv2d)

    def stages(self) -> list[nn.Module]:
        stages: list[nn.Module] = []
        layers: list[nn.Module] = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):  # the stem ends before it
                stages.append(nn.Sequential(*layers))
                layers = [layer]
            elif isinstance(layer, Transition):
                stages.append(nn.Sequential(*layers, layer.norm, layer.relu))
                layers = [layer.conv, layer.pool]
            else:
                layers.append(layer)
        return [*stages, nn.Sequential(*layers, self.relu)]

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), at least 29x29 -> (N, num_classes)."""
        return self.classifier(self.pyramid(images)[-1].mean((2, 3)))


def densenet121(*, in_channels: int = 3, num_classes: int = 1000, growth_rate: int = 32) -> DenseNet:
    """DenseNet with 121 layers: 7,978,856 parameters with 1,000 classes."""
    return DenseNet(blocks=(6, 12, 24, 16), growth_rate=growth_rate, in_channels=in_channels, num_classes=num_classes)


def densenet161(*, in_channels: int = 3, num_classes: int = 1000, growth_rate: int = 48) -> DenseNet:
    """DenseNet with 161 layers and growth rate 48: 28,681,000 parameters with 1,000 classes."""
    return DenseNet(blocks=(6, 12, 36, 24), growth_rate=growth_rate, in_channels=in_channels, num_classes=num_classes)


def densenet169(*, in_channels: int = 3, num_classes: int = 1000, growth_rate: int = 32) -> DenseNet:
    """DenseNet with 169 layers: 14,149,480 parameters with 1,000 classes."""
    return DenseNet(blocks=(6, 12, 32, 32), growth_rate=growth_rate, in_channels=in_channels, num_classes=num_classes)


def densenet201(*, in_channels: int = 3, num_classes: int = 1000, growth_rate: int = 32) -> DenseNet:
    """DenseNet with 201 layers: 20,013,928 parameters with 1,000 classes."""
    return DenseNet(blocks=(6, 12, 48, 32), growth_rate=growth_rate, in_channels=in_channels, num_classes=num_classes)
