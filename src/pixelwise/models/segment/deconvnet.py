"""DeconvNet (Noh, Hong, Han, ICCV 2015, arXiv:1505.04366): unpooling and deconvolution up to the full resolution.

The encoder is VGG-16 with its first two fully connected layers as convolutions, the decoder its mirror image (figure 2,
table 1 of the supplement): a 7x7 deconvolution after fc7, then unpooling by the indices of each pooling, with
deconvolutions of stride 1. Batch norm follows every convolution and deconvolution (section 4.1).

fc6 is a 7x7 convolution without padding. For a picture of 224x224, the paper's size, it has a single output position.
For a larger picture it has one for every 7x7 window of the last pooling's map, and the deconvolution adds up what
overlaps. The map of a smaller picture is padded with zeros to 7x7 and cropped after the deconvolution.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.models.classify.vgg import vgg16_bn
from pixelwise.models.segment.fcn import load_vgg16
from pixelwise.nn.dense import DenseModel
from pixelwise.nn.initialise import he_normal
from pixelwise.nn.pooled_norm import pooled_norm


class DeconvNet(DenseModel):
    """DeconvNet as in figure 2; 3 channels and 21 classes: 251,805,653 parameters.

    fc6 and its deconvolution have 205,525,504 of them. In training on a single picture of at most 224x224 the map
    between the two has one position and therefore no variance; its batch norms then use their running statistics.

    Args:
        width: channels of VGG's first block; fc6 and fc7 have 64 times as many.
        weights: pretrained weights of VGG-16 with batch norm and, if the file has them, of its fully connected layers.

    Raises:
        UserError: the weights do not fit.
    """

    stride = 32

    def __init__(self, *, num_classes: int, in_channels: int = 3, width: int = 64, weights: Any = None) -> None:
        super().__init__()
        self.num_classes = num_classes
        w, hidden = width, 64 * width
        self.encoder = vgg16_bn(in_channels=in_channels, num_classes=0, width=width)
        self.fc6 = nn.Conv2d(8 * w, hidden, 7)
        self.bn6 = nn.BatchNorm2d(hidden)
        self.fc7 = nn.Conv2d(hidden, hidden, 1)
        self.bn7 = nn.BatchNorm2d(hidden)
        self.relu = nn.ReLU(inplace=True)
        self.deconv_fc6 = deconvolutions(hidden, 8 * w, kernel=7)
        # The blocks after each unpooling, coarsest first: mirror images of VGG's blocks.
        self.decoder = nn.ModuleList(
            [
                deconvolutions(8 * w, 8 * w, 8 * w, 8 * w),
                deconvolutions(8 * w, 8 * w, 8 * w, 4 * w),
                deconvolutions(4 * w, 4 * w, 4 * w, 2 * w),
                deconvolutions(2 * w, 2 * w, w),
                deconvolutions(w, w, w),
            ]
        )
        self.head = nn.Conv2d(w, num_classes, 1)
        he_normal(self.fc6, self.fc7, self.head)
        if weights is not None:
            load_vgg16(self, weights)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), multiples of 32 -> (N, K, H, W)."""
        indices = []
        maps = images
        for layer in self.encoder.features:
            if isinstance(layer, nn.MaxPool2d):
                maps, where = F.max_pool2d(maps, 2, return_indices=True)
                indices.append(where)
            else:
                maps = layer(maps)
        height, width = maps.shape[-2:]  # (N, 512, H/32, W/32)
        maps = F.pad(maps, (0, max(7 - width, 0), 0, max(7 - height, 0)))
        maps = self.relu(pooled_norm(self.bn6, self.fc6(maps)))  # (N, 4096, H/32 - 6, W/32 - 6), at least 1 x 1
        maps = self.relu(pooled_norm(self.bn7, self.fc7(maps)))
        maps = self.deconv_fc6(maps)[..., :height, :width]  # (N, 512, H/32, W/32)
        for block in self.decoder:
            maps = block(F.max_unpool2d(maps, indices.pop(), (2, 2)))
        return self.head(maps)  # from (N, 64, H, W)


def deconvolutions(*channels: int, kernel: int = 3) -> nn.Sequential:
    """Transposed convolutions of stride 1 from each number of channels to the next, with batch norm and ReLU.

    A kernel of 3x3 keeps the size of a map, one of 7x7 adds 6 rows and columns.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layer = nn.ConvTranspose2d(inputs, outputs, kernel, padding=1 if kernel == 3 else 0)
        he_normal(layer, mode="fan_out")  # "out" is a deconvolution's input
        layers += [layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
