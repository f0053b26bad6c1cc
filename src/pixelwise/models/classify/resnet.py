"""ResNet: deep residual learning (He et al., CVPR 2016, arXiv:1512.03385), 18, 34, 50, 101 and 152 layers.

Bottlenecks stride in their 3x3 convolution, as in all published weights with these names; the paper strides in the
first 1x1 convolution.
"""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.nn.encoder import Encoder
from pixelwise.nn.initialise import he_normal


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the shortcut (figure 5, left)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(inputs, width, stride) if stride > 1 or inputs != width else None

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = maps if self.downsample is None else self.downsample(maps)
        maps = self.relu(self.bn1(self.conv1(maps)))
        maps = self.bn2(self.conv2(maps))
        return self.relu(maps + shortcut)


class Bottleneck(nn.Module):
    """1x1 convolution that narrows, 3x3, 1x1 that widens fourfold, and the shortcut (figure 5, right)."""

    expansion = 4

    def __init__(self, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(inputs, outputs, stride) if stride > 1 or inputs != outputs else None

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = maps if self.downsample is None else self.downsample(maps)
        maps = self.relu(self.bn1(self.conv1(maps)))
        maps = self.relu(self.bn2(self.conv2(maps)))
        maps = self.bn3(self.conv3(maps))
        return self.relu(maps + shortcut)


def projection(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """The shortcut where sizes change: a strided 1x1 convolution (option B, section 3.3)."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(Encoder):
    """A residual network as classifier and as encoder; torchvision's parameter names.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        layers: blocks in each of the four stages (table 1).
        num_classes: 0 builds only the encoder, without the classifier.
    """

    heads = ("fc",)
    feature_strides = (2, 4, 8, 16, 32)

    def __init__(
        self,
        *,
        block: type[BasicBlock] | type[Bottleneck],
        layers: tuple[int, int, int, int],
        in_channels: int = 3,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self._channels = 64
        self.layer1 = self._stage(block, 64, layers[0], stride=1)
        self.layer2 = self._stage(block, 128, layers[1], stride=2)
        self.layer3 = self._stage(block, 256, layers[2], stride=2)
        self.layer4 = self._stage(block, 512, layers[3], stride=2)
        self.feature_channels = (64, *(width * block.expansion for width in (64, 128, 256, 512)))
        if num_classes:
            self.fc = nn.Linear(512 * block.expansion, num_classes)
        he_normal(self, kinds=nn.Conv2d, mode="fan_out")

    def _stage(
        self, block: type[BasicBlock] | type[Bottleneck], width: int, count: int, *, stride: int
    ) -> nn.Sequential:
        blocks = []
        for number in range(count):
            blocks.append(block(self._channels, width, stride=stride if number == 0 else 1))
            self._channels = width * block.expansion
        return nn.Sequential(*blocks)

    def stages(self) -> list[nn.Module]:
        stem = nn.Sequential(self.conv1, self.bn1, self.relu)
        return [stem, nn.Sequential(self.maxpool, self.layer1), self.layer2, self.layer3, self.layer4]

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, num_classes)."""
        return self.fc(self.pyramid(images)[-1].mean((2, 3)))


def resnet18(*, in_channels: int = 3, num_classes: int = 1000) -> ResNet:
    """ResNet with 18 layers: 11,689,512 parameters with 1,000 classes."""
    return ResNet(block=BasicBlock, layers=(2, 2, 2, 2), in_channels=in_channels, num_classes=num_classes)


def resnet34(*, in_channels: int = 3, num_classes: int = 1000) -> ResNet:
    """ResNet with 34 layers: 21,797,672 parameters with 1,000 classes."""
    return ResNet(block=BasicBlock, layers=(3, 4, 6, 3), in_channels=in_channels, num_classes=num_classes)


def resnet50(*, in_channels: int = 3, num_classes: int = 1000) -> ResNet:
    """ResNet with 50 layers: 25,557,032 parameters with 1,000 classes."""
    return ResNet(block=Bottleneck, layers=(3, 4, 6, 3), in_channels=in_channels, num_classes=num_classes)


def resnet101(*, in_channels: int = 3, num_classes: int = 1000) -> ResNet:
    """ResNet with 101 layers: 44,549,160 parameters with 1,000 classes."""
    return ResNet(block=Bottleneck, layers=(3, 4, 23, 3), in_channels=in_channels, num_classes=num_classes)


def resnet152(*, in_channels: int = 3, num_classes: int = 1000) -> ResNet:
    """ResNet with 152 layers: 60,192,808 parameters with 1,000 classes."""
    return ResNet(block=Bottleneck, layers=(3, 8, 36, 3), in_channels=in_channels, num_classes=num_classes)
