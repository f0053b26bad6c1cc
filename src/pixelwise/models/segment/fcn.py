"""FCN: fully convolutional networks (Long, Shelhamer, Darrell, CVPR 2015, arXiv:1411.4038) over VGG-16.

FCN-32s, FCN-16s and FCN-8s (figure 3) share the names of their tensors, so each can initialise the next finer one
(section 4.2). The new skip scores start at zero and the new deconvolutions as bilinear interpolation, so that at first
the finer network predicts what the coarser one did, apart from the interpolation.

Three things differ from the paper. Convolutions are zero-padded at the border, fc6 by 3 positions; the paper pads the
picture by 100 pixels and crops. All deconvolutions are learned from their bilinear start; the paper fixes the last one.
The score of fc7 starts at random, so that the whole network learns from the first step; the paper starts it at zero.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.errors import UserError
from pixelwise.models.classify.vgg import vgg16
from pixelwise.models.variant import variant
from pixelwise.models.weights import WeightsFile, load_weights, read_weights
from pixelwise.nn.dense import DenseModel
from pixelwise.nn.encoder import Encoder
from pixelwise.nn.initialise import he_normal
from pixelwise.nn.upsampling import bilinear_kernel

logger = logging.getLogger(__name__)

POOLINGS = {32: (), 16: ("pool4",), 8: ("pool4", "pool3")}
"""Stride of the prediction -> poolings whose maps are scored in addition to fc7, coarsest first."""
CHANNELS = {"pool3": 4, "pool4": 8}
"""Channels of VGG's maps after the poolings, in multiples of its width."""


class FCN(DenseModel):
    """VGG-16 with its fully connected layers as convolutions, class scores, and their upsampling.

    Args:
        prediction_stride: stride of the finest map that is scored: 32, 16 or 8.
        width: channels of VGG's first block; fc6 and fc7 have 64 times as many.
        dropout: after fc6 and fc7.
        weights: pretrained weights of a VGG-16 classifier, including the fully connected layers if the file has them;
            see `load_vgg16`.

    Raises:
        UserError: the weights do not fit.
    """

    stride = 32

    def __init__(
        self,
        *,
        prediction_stride: int,
        num_classes: int,
        in_channels: int = 3,
        width: int = 64,
        dropout: float = 0.5,
        weights: Any = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.poolings = POOLINGS[prediction_stride]
        hidden = 64 * width
        self.encoder = vgg16(in_channels=in_channels, num_classes=0, width=width)
        self.fc6 = nn.Conv2d(8 * width, hidden, 7, padding=3)
        self.fc7 = nn.Conv2d(hidden, hidden, 1)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        # Everything that depends on the number of classes, including the upsampling.
        self.head = nn.ModuleDict({"score_fc7": nn.Conv2d(hidden, num_classes, 1)})
        for pooling in self.poolings:
            self.head[f"upscore_{pooling}"] = deconvolution(num_classes, 2)  # to the pooling's stride
            self.head[f"score_{pooling}"] = nn.Conv2d(CHANNELS[pooling] * width, num_classes, 1)
        self.head[f"upscore{prediction_stride}"] = deconvolution(num_classes, prediction_stride)
        self.last = f"upscore{prediction_stride}"
        he_normal(self.fc6, self.fc7)
        for pooling in self.poolings:
            for parameter in self.head[f"score_{pooling}"].parameters():
                nn.init.zeros_(parameter)  # section 4.2: the network starts with unmodified predictions
        if weights is not None:
            load_vgg16(self, weights)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W), multiples of 32 -> (N, K, H, W)."""
        pooled: dict[str, Tensor] = {}
        maps = images
        for layer in self.encoder.features:
            maps = layer(maps)
            if isinstance(layer, nn.MaxPool2d):
                pooled[f"pool{len(pooled) + 1}"] = maps
        height, width = maps.shape[-2:]  # (N, 512, H/32, W/32)
        # These zeros are inside fc6's padding anyway. On CPUs in bfloat16, its gradient for maps with a side of one or
        # two positions holds memory that was never written (torch 2.13).
        maps = F.pad(maps, (0, max(4 - width, 0), 0, max(4 - height, 0)))
        maps = self.dropout(self.relu(self.fc6(maps)[..., :height, :width]))  # (N, 4096, H/32, W/32)
        maps = self.dropout(self.relu(self.fc7(maps)))
        scores = self.head["score_fc7"](maps)  # (N, K, H/32, W/32)
        for pooling in self.poolings:
            scores = self.head[f"upscore_{pooling}"](scores) + self.head[f"score_{pooling}"](pooled[pooling])
        return self.head[self.last](scores)


class Deconvolution(nn.ConvTranspose2d):
    """A transposed convolution in the number format of its weights, also under autocast.

    On CPUs with AMX, the gradient for its input is wrong in bfloat16 if it has two to four channels and a kernel of
    16 x 16 or more (oneDNN in torch 2.13).
    """

    def forward(self, maps: Tensor, output_size: list[int] | None = None) -> Tensor:
        device = maps.device.type
        without = torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
        with without:  # the device "meta" has no autocast to switch off
            return super().forward(maps.to(self.weight.dtype), output_size)


def deconvolution(channels: int, factor: int) -> Deconvolution:
    """A transposed convolution that makes maps `factor` (even) times as large; it starts as bilinear interpolation.

    Its stride is `factor`, its kernel `2 factor` and its padding `factor // 2`. Within half a position of the border it
    interpolates towards the zeros outside.
    """
    layer = Deconvolution(channels, channels, 2 * factor, factor, factor // 2, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[range(channels), range(channels)] = bilinear_kernel(factor)
    return layer


class FullyConvolutionalVGG(Protocol):
    """A network with a VGG encoder, and with VGG's fully connected layers as convolutions."""

    @property
    def fc6(self) -> nn.Conv2d: ...

    @property
    def fc7(self) -> nn.Conv2d: ...

    @property
    def encoder(self) -> Encoder: ...


def load_vgg16(network: FullyConvolutionalVGG, weights: Any) -> None:
    """Fills a network from a VGG classifier; the fully connected layers become convolutions with the same numbers.

    A file that holds only an encoder fills only the encoder. The classifier's last layer, with its own classes, is left
    out.

    Raises:
        UserError: the weights are of another network or width.
    """
    file = weights if isinstance(weights, WeightsFile) else read_weights(weights)
    load_weights(network.encoder, file)
    for convolution, name in ((network.fc6, "classifier.0"), (network.fc7, "classifier.3")):
        key = next((key for key in file.tensors if key.endswith(f"{name}.weight")), None)
        if key is None:
            logger.info("%s: no '%s' in the file; that layer starts from random weights", file.path, name)
            continue
        matrix = file.tensors[key]  # (4096, 512 * 7 * 7): the columns in the order of a (512, 7, 7) map
        if matrix.numel() != convolution.weight.numel() or len(matrix) != convolution.out_channels:
            raise UserError(
                f"{file.path}: '{key}' is {tuple(matrix.shape)}, expected {convolution.weight.shape[0]} x "
                f"{convolution.weight[0].numel()}; these weights are of another network (or another width)."
            )
        with torch.no_grad():
            convolution.weight.copy_(matrix.view_as(convolution.weight))
            convolution.bias.copy_(file.tensors[key.removesuffix("weight") + "bias"])  # type: ignore[union-attr]


fcn32s = variant(
    "fcn32s", FCN, "Scores of fc7, upsampled 32-fold; 21 classes: 136,152,917 parameters.", prediction_stride=32
)
fcn16s = variant(
    "fcn16s", FCN, "With scores of pool4, upsampled 16-fold; 21 classes: 134,815,994 parameters.", prediction_stride=16
)
fcn8s = variant(
    "fcn8s",
    FCN,
    "With scores of pool4 and pool3, upsampled 8-fold; 21 classes: 134,489,759 parameters.",
    prediction_stride=8,
)
