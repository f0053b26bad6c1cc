"""VGG: very deep networks of 3x3 convolutions (Simonyan & Zisserman, ICLR 2015, arXiv:1409.1556), 11 to 19 layers.

Configurations A, B, D and E of the paper's table 1, each with batch norm or, as in the paper, without. The classifier
reads a map of 7x7 positions, which a 224x224 picture has after the last pooling; maps of other sizes are averaged to
7x7 first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from pixelwise.models.variant import variant
from pixelwise.nn.encoder import Encoder
from pixelwise.nn.initialise import he_normal, small_normal

# Table 1: convolutions in each of the five blocks, which have 64, 128, 256, 512 and 512 channels.
A = (1, 1, 2, 2, 2)
B = (2, 2, 2, 2, 2)
D = (2, 2, 3, 3, 3)
E = (2, 2, 4, 4, 4)


class VGG(Encoder):
    """Blocks of 3x3 convolutions with a 2x2 max pooling after each, and three fully connected layers (section 2.1).

    As an encoder the network returns the map before each pooling, at strides 1, 2, 4, 8 and 16, and the map after the
    last. Parameters have torchvision's names.

    Args:
        convolutions: number of convolutions in each of the five blocks.
        batch_norm: between every convolution and its ReLU; the paper has none.
        num_classes: 0 builds only the encoder, without the classifier.
        width: channels of the first block; the others and the fully connected layers (64 width) scale with it.
        dropout: after the first two fully connected layers (section 3.1).
    """

    heads = ("classifier.6",)
    smallest = 32
    feature_strides = (1, 2, 4, 8, 16, 32)

    def __init__(
        self,
        *,
        convolutions: Sequence[int],
        batch_norm: bool,
        in_channels: int = 3,
        num_classes: int = 1000,
        width: int = 64,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        poolings = []
        channels = in_channels
        widths = [width * factor for factor in (1, 2, 4, 8, 8)]
        for count, outputs in zip(convolutions, widths, strict=True):
            for _ in range(count):
                layers.append(nn.Conv2d(channels, outputs, 3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(outputs))
                layers.append(nn.ReLU(inplace=True))
                channels = outputs
            poolings.append(len(layers))
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.feature_channels = (*widths, widths[-1])
        self._pyramid_ends = (*poolings, len(layers))
        if num_classes:
            hidden = 64 * width
            self.avgpool = nn.AdaptiveAvgPool2d(7)
            self.classifier = nn.Sequential(
                nn.Linear(channels * 7 * 7, hidden),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
                nn.Linear(hidden, hidden),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
                nn.Linear(hidden, num_classes),
            )
        # The paper initialises its deep networks from trained shallow ones; this initialisation needs none.
        he_normal(self, kinds=nn.Conv2d, mode="fan_out")
        small_normal(self, kinds=nn.Linear)

    def stages(self) -> list[nn.Module]:
        return [self.features[start:end] for start, end in pairwise((0, *self._pyramid_ends))]

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), at least 32x32 -> (N, num_classes)."""
        maps = self.avgpool(self.features(images))  # (N, 512, 7, 7)
        return self.classifier(maps.flatten(1))


def _vgg(name: str, convolutions: Sequence[int], about: str, *, batch_norm: bool = False) -> Callable[..., VGG]:
    return variant(name, VGG, about, convolutions=convolutions, batch_norm=batch_norm, dropout=0.5)


vgg11 = _vgg(
    "vgg11", A, "Configuration A: 132,863,336 parameters with 1,000 classes, 9,220,480 without the classifier."
)
vgg11_bn = _vgg(
    "vgg11_bn", A, "Configuration A with batch norm: 132,868,840 parameters with 1,000 classes.", batch_norm=True
)
vgg13 = _vgg("vgg13", B, "Configuration B: 133,047,848 parameters with 1,000 classes.")
vgg13_bn = _vgg(
    "vgg13_bn", B, "Configuration B with batch norm: 133,053,736 parameters with 1,000 classes.", batch_norm=True
)
vgg16 = _vgg(
    "vgg16", D, "Configuration D: 138,357,544 parameters with 1,000 classes, 14,714,688 without the classifier."
)
vgg16_bn = _vgg(
    "vgg16_bn", D, "Configuration D with batch norm: 138,365,992 parameters with 1,000 classes.", batch_norm=True
)
vgg19 = _vgg("vgg19", E, "Configuration E: 143,667,240 parameters with 1,000 classes.")
vgg19_bn = _vgg(
    "vgg19_bn", E, "Configuration E with batch norm: 143,678,248 parameters with 1,000 classes.", batch_norm=True
)
