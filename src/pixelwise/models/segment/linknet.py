"""LinkNet (Chaurasia & Culurciello, VCIP 2017, arXiv:1707.03718): the encoder's maps are added to the decoder's."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pixelwise.models.encoders import create_encoder
from pixelwise.nn.dense import DenseModel
from pixelwise.nn.initialise import he_normal


class LinkNet(DenseModel):
    """One decoder block per encoder block, linked by sums, and three last layers (figure 1).

    The encoder blocks are those whose maps have stride 4 or more. Finer maps are not linked, like the paper's initial
    block. ResNet-18, 3 channels and 11 classes: 11,535,659 parameters; convolutions before batch norm have biases.

    Args:
        encoder: name of an encoder.
        weights: pretrained weights of the encoder.

    Raises:
        UserError: the encoder is unknown, or the weights do not fit.
    """

    def __init__(
        self, *, num_classes: int, in_channels: int = 3, encoder: str = "resnet18", weights: Any = None
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.encoder = create_encoder(encoder, in_channels=in_channels, weights=weights)
        self.stride = self.encoder.feature_strides[-1]
        blocks = [
            (stride, channels)
            for stride, channels in zip(self.encoder.feature_strides, self.encoder.feature_channels, strict=True)
            if stride >= 4
        ]
        self.decoder = nn.ModuleList()
        for (stride, channels), (finer, outputs) in zip(blocks[:0:-1], blocks[-2::-1], strict=True):
            self.decoder.append(decoder_block(channels, outputs, stride // finer))
        stride, channels = blocks[0]
        self.decoder.append(decoder_block(channels, channels, 1))  # for the first encoder block, which does not stride
        self.last = nn.Sequential(
            transposed(channels, 32, 2),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
        )
        self.head = nn.ConvTranspose2d(32, num_classes, stride // 2, stride // 2)  # 2x2 after maps of stride 4
        he_normal(self.decoder, self.last)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), multiples of the encoder's stride -> (N, K, H, W)."""
        *links, maps = self.encoder.pyramid(images)  # (N, 512, H/32, W/32)
        *blocks, first = self.decoder
        for block in blocks:
            maps = block(maps) + links.pop()
        return self.head(self.last(first(maps)))  # from (N, 64, H/4, W/4) over (N, 32, H/2, W/2)


def decoder_block(inputs: int, outputs: int, factor: int) -> nn.Sequential:
    """Figure 3: 1x1 to a quarter of the channels, a 3x3 transposed convolution of stride `factor`, 1x1 to `outputs`."""
    quarter = inputs // 4
    return nn.Sequential(
        nn.Conv2d(inputs, quarter, 1),
        nn.BatchNorm2d(quarter),
        nn.ReLU(inplace=True),
        transposed(quarter, quarter, factor),
        nn.BatchNorm2d(quarter),
        nn.ReLU(inplace=True),
        nn.Conv2d(quarter, outputs, 1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def transposed(inputs: int, outputs: int, factor: int) -> nn.ConvTranspose2d:
    """A 3x3 transposed convolution that makes maps `factor` times as large."""
    return nn.ConvTranspose2d(inputs, outputs, 3, stride=factor, padding=1, output_padding=factor - 1)
