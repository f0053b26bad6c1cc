"""Patch classifier: a network classifies the pixel in the middle of a window, and the window slides over the picture.

Ciresan, Giusti, Gambardella, Schmidhuber: Deep neural networks segment neuronal membranes in electron microscopy
images, NIPS 2012, section 2 and table 1. Dense evaluation: Giusti et al., ICIP 2013 (arXiv:1302.1700).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.errors import UserError
from pixelwise.nn.atrous import atrous_conv2d
from pixelwise.nn.dense import DenseModel, mirror_pad
from pixelwise.nn.initialise import he_normal

KERNELS = {65: (4, 4, 5, 4), 95: (4, 5, 4, 4)}
"""Window -> sides of the convolutions' filters, such that no 2x2 pooling leaves a remainder. 95 is the paper's N4."""


class PatchClassifier(DenseModel):
    """Four times convolution, ReLU and 2x2 max pooling, then two fully connected layers, on a window around each pixel.

    Classifying the windows one by one costs thousands of times more than classifying them all together, because
    neighbouring windows share nearly all of their maps. `logits` computes the shared maps once: each pooling of stride
    2 becomes a pooling of stride 1, and the layers after it read positions that are twice as far apart (Giusti et al.
    get the same result from fragments). `classify` is the network as in the paper; `slide` is the slow evaluation, kept
    as the reference.

    ReLU takes the place of the paper's scaled tanh.

    Args:
        window: side in pixels, 65 or 95; the border of the picture is mirrored by half of it.
        width: maps of every convolution.
        hidden: units of the first fully connected layer.

    Raises:
        UserError: the window is neither 65 nor 95.
    """

    def __init__(
        self, *, num_classes: int, in_channels: int = 3, window: int = 65, width: int = 48, hidden: int = 200
    ) -> None:
        super().__init__()
        if window not in KERNELS:
            raise UserError(
                f"window {window}: the patch classifier has windows of {' or '.join(map(str, KERNELS))} pixels."
            )
        self.num_classes = num_classes
        self.window = window
        self.margin = window // 2
        side = window
        for kernel in KERNELS[window]:
            side = (side - kernel + 1) // 2
        inputs = (in_channels, width, width, width)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, width, kernel) for channels, kernel in zip(inputs, KERNELS[window], strict=True)
        )
        self.hidden = nn.Conv2d(width, hidden, side)  # fully connected: its kernel is as large as its input map
        self.head = nn.Conv2d(hidden, num_classes, 1)
        he_normal(self.convs, self.hidden)

    def classify(self, windows: Tensor) -> Tensor:
        """(N, C, window, window) -> logits (N, K) of the pixel in the middle of each window."""
        maps = windows
        for conv in self.convs:
            maps = F.max_pool2d(F.relu(conv(maps)), 2)  # 65: 31, 14, 5, 1
        return self.head(F.relu(self.hidden(maps))).flatten(1)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, H - 2 margin, W - 2 margin): the result of `classify` for the window at each pixel."""
        maps = images
        apart = 1  # distance in pixels between positions that are neighbours in the strided network
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d)
            maps = atrous_conv2d(maps, conv.weight, conv.bias, dilation=(apart, apart))
            maps = F.max_pool2d(F.relu(maps), 2, stride=1, dilation=apart)
            apart *= 2
        maps = atrous_conv2d(maps, self.hidden.weight, self.hidden.bias, dilation=(apart, apart))
        return self.head(F.relu(maps))

    def slide(self, images: Tensor, *, rows: Sequence[int] | None = None, batch: int = 256) -> Tensor:
        """(N, C, H, W) -> logits (N, K, H, W), one window after the other; a slow equivalent of `forward`.

        Args:
            rows: the rows of the picture to classify; None for all.
            batch: windows that are classified together.
        """
        number, _, height, width = images.shape
        rows = range(height) if rows is None else rows
        padded = mirror_pad(images, self.padding(height, width))
        windows = padded.unfold(2, self.window, 1).unfold(3, self.window, 1)  # (N, C, H, W, window, window), a view
        positions = torch.cartesian_prod(torch.arange(number), torch.tensor(rows), torch.arange(width))
        logits = [self.classify(windows[chunk[:, 0], :, chunk[:, 1], chunk[:, 2]]) for chunk in positions.split(batch)]
        return torch.cat(logits).view(number, len(rows), width, -1).permute(0, 3, 1, 2)
