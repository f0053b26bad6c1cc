"""Dilated convolutions: front end and context module (Yu & Koltun, ICLR 2016, arXiv:1511.07122).

One thing differs from the paper: convolutions here are zero-padded, while the paper mirrors the border of the picture
as far as the network reaches and uses valid convolutions. The front end reaches 186 pixels on each side and the context
module 264 more, so a crop of 256 pixels would grow to 1156, with twenty times the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.errors import unknown
from pixelwise.models.classify.vgg import vgg16
from pixelwise.models.segment.fcn import load_vgg16
from pixelwise.nn.atrous import AtrousConv2d, with_atrous_convolutions
from pixelwise.nn.dense import DenseModel
from pixelwise.nn.encoder import widen
from pixelwise.nn.initialise import he_normal

RATES = (1, 1, 2, 4, 8, 16, 1)
"""Table 1: dilation of the seven 3x3 layers; a receptive field of 67 x 67 positions."""
CONTEXTS = {"basic": (1, 1, 1, 1, 1, 1, 1), "large": (2, 2, 4, 8, 16, 32, 32)}
"""Table 1: channels of the seven 3x3 layers, in multiples of the classes."""


class ContextModule(nn.Sequential):
    """Seven dilated 3x3 convolutions with ReLU and a 1x1 convolution without, from C maps to C maps (section 3).

    The module starts as the identity on maps that are not negative, with a little noise if layers are wider than C; the
    ReLUs cut off negative values. 21 classes: 28,392 parameters with the widths of `basic`, 6,803,139 with those of
    `large`.

    Args:
        widths: channels of the 3x3 layers, in multiples of C.
    """

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        layers: list[nn.Module] = []
        inputs = channels
        for rate, width in zip(RATES, widths, strict=True):
            layers += [AtrousConv2d(inputs, width * channels, 3, padding=rate, dilation=rate), nn.ReLU(inplace=True)]
            inputs = width * channels
        layers.append(nn.Conv2d(inputs, channels, 1))
        super().__init__(*layers)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                start_as_identity(layer, channels, noise=0.0 if max(widths) == 1 else 1e-3)


@torch.no_grad()
def start_as_identity(layer: nn.Conv2d, channels: int, *, noise: float) -> None:
    """Initialises a layer to pass on the inputs of each class, divided among its outputs of that class.

    Equations 4 and 5: with c_i channels before and c_{i+1} after the layer, the weight from input a to output b is
    C / c_{i+1} at the filter's centre if both belong to the same class, floor(a C / c_i) = floor(b C / c_{i+1}). Over
    a whole module these factors cancel.

    Args:
        channels: C.
        noise: standard deviation of the noise on all taps, as a share of C / c_{i+1}; it makes the outputs of one class
            differ.
    """
    outputs, inputs = layer.weight.shape[:2]
    share = channels / outputs
    same = (torch.arange(outputs) * channels // outputs)[:, None] == (torch.arange(inputs) * channels // inputs)
    nn.init.normal_(layer.weight, std=noise * share)
    row, column = (side // 2 for side in layer.kernel_size)
    layer.weight[:, :, row, column] += (share * same).to(layer.weight.device)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


class DilatedNet(DenseModel):
    """VGG-16 without its last two poolings and with dilated layers after them, followed by the context module.

    VGG's fully connected layers are convolutions.
    21 classes: 134,346,581 parameters without context, 134,374,973 with the basic one, 141,149,720 with the large one.

    Args:
        context: a name in `CONTEXTS`, or None for the front end alone.
        width: channels of VGG's first block; fc6 and fc7 have 64 times as many.
        dropout: after fc6 and fc7.
        weights: pretrained weights of a VGG-16 classifier or encoder.

    Raises:
        UserError: the context is unknown, or the weights do not fit.
    """

    stride = 8

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int = 3,
        context: str | None = "basic",
        width: int = 64,
        dropout: float = 0.5,
        weights: Any = None,
    ) -> None:
        super().__init__()
        if context is not None and context not in CONTEXTS:
            raise unknown("context", context, CONTEXTS)
        self.num_classes = num_classes
        hidden = 64 * width
        self.encoder = vgg16(in_channels=in_channels, num_classes=0, width=width)
        without_last_poolings(self.encoder.features)
        self.fc6 = AtrousConv2d(8 * width, hidden, 7, padding=12, dilation=4)
        self.fc7 = nn.Conv2d(hidden, hidden, 1)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        # Everything that depends on the number of classes.
        self.head = nn.ModuleDict({"score": nn.Conv2d(hidden, num_classes, 1)})
        if context is not None:
            self.head["context"] = ContextModule(num_classes, CONTEXTS[context])
        he_normal(self.fc6, self.fc7)
        if weights is not None:
            load_vgg16(self, weights)

    def front_end(self, images: Tensor) -> Tensor:
        """(N, C, H, W), multiples of 8 -> scores (N, K, H/8, W/8) (section 4)."""
        maps = self.encoder.features(images)  # (N, 512, H/8, W/8)
        maps = self.dropout(self.relu(self.fc6(maps)))  # (N, 4096, H/8, W/8)
        maps = self.dropout(self.relu(self.fc7(maps)))
        return self.head["score"](maps)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), multiples of 8 -> (N, K, H, W)."""
        scores = self.front_end(images)
        if "context" in self.head:
            scores = self.head["context"](scores)
        return F.interpolate(scores, scale_factor=8, mode="bilinear")


def without_last_poolings(features: nn.Sequential) -> None:
    """Removes the last two poolings from VGG's layers and dilates the block between them by 2; names stay the same."""
    poolings = [number for number, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d)]
    for layer in list(features)[poolings[-2] :]:
        if isinstance(layer, nn.Conv2d):
            widen(layer, 2)
    for number in poolings[-2:]:
        features[number] = nn.Identity()
    with_atrous_convolutions(features)
