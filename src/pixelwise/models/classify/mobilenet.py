"""MobileNetV2: inverted residuals with linear bottlenecks (Sandler et al., CVPR 2018, arXiv:1801.04381)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.nn.depthwise import DepthwiseConv2d, depthwise_conv2d
from pixelwise.nn.encoder import Encoder
from pixelwise.nn.initialise import he_normal, small_normal

# Table 2 of the paper: expansion t, output channels c, repetitions n, stride s of the first repetition.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding: if the total is odd, the extra zero comes after the map.

    On an even size, a 3x3 convolution of stride 2 pads 0 before and 1 after, while `padding=1` pads 1 on both sides
    (and never reads the last). The two inputs are shifted by one pixel, so weights trained with one padding work worse
    with the other.
    """

    def forward(self, images: Tensor) -> Tensor:
        pads: list[int] = []
        for axis in (-1, -2):
            size, stride = images.shape[axis], self.stride[axis]
            reach = (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
            pads += [total // 2, total - total // 2]
        images = F.pad(images, pads)
        if self.groups == self.out_channels:
            return depthwise_conv2d(images, self.weight, self.bias, self.stride, (0, 0), self.dilation)
        return F.conv2d(images, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def conv_norm_relu6(
    inputs: int, outputs: int, kernel: int, stride: int, groups: int, tf_padding: bool
) -> nn.Sequential:
    """Convolution, batch norm, ReLU6; the two paddings differ only for strided convolutions."""
    conv: nn.Module
    if tf_padding and stride > 1:
        conv = SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
    elif groups > 1:  # a depthwise convolution
        conv = DepthwiseConv2d(inputs, kernel, stride=stride)
    else:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(
        conv,
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """1x1 convolution that expands, 3x3 depthwise convolution, linear 1x1 convolution that projects, and a shortcut.

    Section 3.3 and table 1. The shortcut needs stride 1 and equal channels.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, expansion: int, tf_padding: bool) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [conv_norm_relu6(inputs, hidden, 1, 1, 1, tf_padding)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *expand,
            conv_norm_relu6(hidden, hidden, 3, stride, hidden, tf_padding),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.conv(maps) if self.residual else self.conv(maps)


class MobileNetV2(Encoder):
    """MobileNetV2 1.0 as classifier and as encoder; torchvision's parameter names.

    Args:
        num_classes: 0 builds only the encoder, without the 1280-channel layer and the classifier.
        dropout: before the classifier.
        tf_padding: TensorFlow's SAME padding, for weights that were trained with it.
    """

    heads = ("classifier.1",)
    feature_strides = (2, 4, 8, 16, 32)
    feature_channels = (16, 24, 32, 96, 320)

    def __init__(
        self, *, in_channels: int = 3, num_classes: int = 1000, dropout: float = 0.2, tf_padding: bool = False
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm_relu6(in_channels, 32, 3, 2, 1, tf_padding)]
        channels = 32
        for expansion, outputs, repetitions, first_stride in STAGES:
            for number in range(repetitions):
                stride = first_stride if number == 0 else 1
                layers.append(
                    InvertedResidual(channels, outputs, stride=stride, expansion=expansion, tf_padding=tf_padding)
                )
                channels = outputs
        self._pyramid_ends = (2, 4, 7, 14, 18)  # one past the last layer of each stride
        if num_classes:
            layers.append(conv_norm_relu6(channels, 1280, 1, 1, 1, tf_padding))
            self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(1280, num_classes))
        self.features = nn.Sequential(*layers)
        small_normal(self, kinds=nn.Linear)
        he_normal(self, kinds=nn.Conv2d, mode="fan_out")

    def stages(self) -> list[nn.Module]:
        return [self.features[start:end] for start, end in pairwise((0, *self._pyramid_ends))]

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, num_classes)."""
        pooled = self.features(images).mean((2, 3))  # (N, 1280)
        return self.classifier(pooled)
