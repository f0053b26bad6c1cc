"""TernausNet (Iglovikov & Shvets 2018, arXiv:1801.05746): a U-Net whose encoder is VGG-11, trained on ImageNet."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.models.classify.vgg import vgg11
from pixelwise.models.weights import load_weights
from pixelwise.nn.dense import DenseModel
from pixelwise.nn.initialise import he_normal


class TernausNet(DenseModel):
    """VGG-11 and five transposed convolutions, each joined by the encoder's map of the same size (figure 2).

    3 channels and 1 class: 22,927,393 parameters, of which the encoder has 9,220,480. One class means one logit, the
    foreground's.

    Args:
        width: channels of VGG's first block; the decoder's channels scale with it.
        weights: pretrained weights of VGG-11, a classifier's or an encoder's.

    Raises:
        UserError: the weights do not fit.
    """

    stride = 32

    def __init__(self, *, num_classes: int, in_channels: int = 3, width: int = 64, weights: Any = None) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.encoder = vgg11(in_channels=in_channels, num_classes=0, width=width)
        if weights is not None:
            load_weights(self.encoder, weights)
        w = width
        self.centre = up(8 * w, 8 * w, 4 * w)  # from the last pooling
        # Coarsest first; the inputs of each are the output of the previous one and the encoder's map of that size.
        self.decoder = nn.ModuleList(
            [
                up(4 * w + 8 * w, 8 * w, 4 * w),
                up(4 * w + 8 * w, 8 * w, 2 * w),
                up(2 * w + 4 * w, 4 * w, w),
                up(w + 2 * w, 2 * w, w // 2),
                nn.Sequential(nn.Conv2d(w // 2 + w, w // 2, 3, padding=1), nn.ReLU(inplace=True)),
            ]
        )
        self.head = nn.Conv2d(w // 2, num_classes, 1)
        he_normal(self.centre, self.decoder, self.head)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), multiples of 32 -> (N, K, H, W)."""
        *skips, pooled = self.encoder.pyramid(images)
        maps = self.centre(pooled)  # (N, 256, H/16, W/16)
        for block in self.decoder:
            maps = block(torch.cat([maps, skips.pop()], dim=1))
        return self.head(maps)  # from (N, 32, H, W)


def up(inputs: int, middle: int, outputs: int) -> nn.Sequential:
    """A 3x3 convolution, then a 3x3 transposed one of stride 2 that doubles height and width, ReLU after both."""
    return nn.Sequential(
        nn.Conv2d(inputs, middle, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(middle, outputs, 3, stride=2, padding=1, output_padding=1),
        nn.ReLU(inplace=True),
    )
