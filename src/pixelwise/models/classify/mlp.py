"""A multilayer perceptron on the pixels (Simard, Steinkraus, Platt, ICDAR 2003: 784-800-10 on MNIST)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from pixelwise.nn.encoder import Classifier
from pixelwise.nn.initialise import he_normal


class MLP(Classifier):
    """Fully connected layers with ReLU between them; 28x28 grey pixels and 10 classes: 636,010 parameters.

    The network makes no use of which pixels are neighbours. It has no feature maps, so it cannot be an encoder. Weights
    start as in He et al. (ICCV 2015), which suits the ReLU.

    Args:
        size: height and width, or the side of a square, of the pictures.
        hidden: units of each hidden layer.
        dropout: after each hidden layer.
        batch_norm: between each hidden layer and its ReLU.
    """

    heads = ("head",)

    def __init__(
        self,
        *,
        in_channels: int = 1,
        num_classes: int = 10,
        size: int | tuple[int, int] = 28,
        hidden: Sequence[int] = (800,),
        dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        height, width = (size, size) if isinstance(size, int) else size
        self.window = (height, width)
        self.smallest = min(height, width)
        units = [in_channels * height * width, *hidden]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(units):
            norm = [nn.BatchNorm1d(outputs)] if batch_norm else []
            layers += [nn.Linear(inputs, outputs), *norm, nn.ReLU(inplace=True), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear(units[-1], num_classes)
        he_normal(self)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W) of the given size -> (N, num_classes)."""
        return self.head(self.hidden(images.flatten(1)))
