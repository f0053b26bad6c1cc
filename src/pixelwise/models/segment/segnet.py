"""SegNet (Badrinarayanan, Kendall, Cipolla, TPAMI 2017, arXiv:1511.00561): upsampling by the indices of max pooling.

The encoder consists of VGG-16's convolutions, the decoder of their mirror image (figure 2): each unpooling puts the
values of a map back where the pooling of the same size found its maxima, and convolutions fill in the zeros between
them. The decoder receives only these indices from the encoder, and none of its maps.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.models.classify.vgg import vgg16_bn
from pixelwise.models.weights import load_weights
from pixelwise.nn.dense import DenseModel
from pixelwise.nn.initialise import he_normal


class SegNet(DenseModel):
    """13 convolutions down and 13 up, each with batch norm and ReLU except the last, which returns logits (figure 2).

    3 channels and 11 classes: 29,449,355 parameters, of which VGG-16 with batch norm has 14,723,136, the decoder
    14,719,872 and the head 6,347. The convolutions before batch norm have biases, as VGG's do.

    Args:
        width: channels of VGG's first block.
        weights: pretrained weights of VGG-16 with batch norm, a classifier's or an encoder's.

    Raises:
        UserError: the weights do not fit.
    """

    stride = 32

    def __init__(self, *, num_classes: int, in_channels: int = 3, width: int = 64, weights: Any = None) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.encoder = vgg16_bn(in_channels=in_channels, num_classes=0, width=width)
        if weights is not None:
            load_weights(self.encoder, weights)
        w = width
        # Mirror images of VGG's blocks, coarsest first; the last convolution of each gives the next one's channels.
        self.decoder = nn.ModuleList(
            [
                decoder_block(8 * w, 8 * w, 8 * w, 8 * w),
                decoder_block(8 * w, 8 * w, 8 * w, 4 * w),
                decoder_block(4 * w, 4 * w, 4 * w, 2 * w),
                decoder_block(2 * w, 2 * w, w),
                decoder_block(w, w),
            ]
        )
        self.head = nn.Conv2d(w, num_classes, 3, padding=1)
        he_normal(self.decoder, self.head)  # section 4.1

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
        for block in self.decoder:  # from (N, 512, H/32, W/32) to (N, 64, H, W)
            maps = block(F.max_unpool2d(maps, indices.pop(), (2, 2)))
        return self.head(maps)


def decoder_block(*channels: int) -> nn.Sequential:
    """3x3 convolutions from each number of channels to the next, with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
