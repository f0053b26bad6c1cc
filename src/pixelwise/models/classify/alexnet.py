"""AlexNet (Krizhevsky, Sutskever, Hinton, NIPS 2012), in its author's later form with one column (arXiv:1404.5997).

Published weights with these names have the later form. It differs from the first form: 64, 192, 384, 256 and 256
filters instead of 96, 256, 384, 384 and 256, no groups, and no response normalisation.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from pixelwise.nn.encoder import UnpaddedEncoder
from pixelwise.nn.initialise import he_normal


class AlexNet(UnpaddedEncoder):
    """Five convolutions, three overlapping 3x3 max poolings, three fully connected layers; torchvision's names.

    1,000 classes: 61,100,840 parameters, 2,469,696 without the classifier. The classifier reads a map of 6x6 positions,
    which a 224x224 picture has after the last pooling; maps of other sizes are averaged to 6x6 first. As an encoder the
    network returns the map before each pooling, at strides 4, 8 and 16, and the map after the last. Poolings do not
    pad, and the first convolution pads less than half of its kernel, so every map is one position short of its grid
    along each side; `pyramid` makes up for that.

    Weights start as in He et al. (ICCV 2015), biases at zero. The paper starts all weights with a deviation of 0.01,
    and the biases of half the layers at one.

    Args:
        num_classes: 0 builds only the encoder, without the classifier.
        width: filters of the first convolution; the others and the fully connected layers (64 width) scale with it.
        dropout: before the first two fully connected layers (section 4.2).
    """

    heads = ("classifier.6",)
    smallest = 63
    feature_strides = (4, 8, 16, 32)

    def __init__(self, *, in_channels: int = 3, num_classes: int = 1000, width: int = 64, dropout: float = 0.5) -> None:
        super().__init__()
        first, second, third, fourth = width, 3 * width, 6 * width, 4 * width
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, first, 11, 4, 2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(first, second, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(second, third, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(third, fourth, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(fourth, fourth, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
        )
        self.feature_channels = (first, second, fourth, fourth)
        if num_classes:
            hidden = 64 * width
            self.avgpool = nn.AdaptiveAvgPool2d(6)
            self.classifier = nn.Sequential(
                nn.Dropout(dropout),
                nn.Linear(fourth * 6 * 6, hidden),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
                nn.Linear(hidden, hidden),
                nn.ReLU(inplace=True),
                nn.Linear(hidden, num_classes),
            )
        he_normal(self)

    def stages(self) -> list[nn.Module]:
        return [self.features[start:end] for start, end in pairwise((0, 2, 5, 12, 13))]

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), at least 63x63 -> (N, num_classes)."""
        maps = self.avgpool(self.features(images))  # (N, 256, 6, 6)
        return self.classifier(maps.flatten(1))
