"""LeNet-5 (LeCun, Bottou, Bengio, Haffner, Proceedings of the IEEE 1998).

The layers and sizes are those of the paper's figure 2. Four parts of section II.B have the form that is usual today:
subsampling is plain averaging, without a trained factor and bias; every map of C3 reads all six maps of S2, not the
selection of table I; the nonlinearity is tanh without the paper's scaling; and the last layer is linear, before a
softmax, rather than distances to drawn characters (the RBF outputs).
"""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.nn.encoder import Classifier


class LeNet5(Classifier):
    """Two 5x5 convolutions, each with tanh and 2x2 averaging, and three fully connected layers; nothing is padded.

    1 channel and 10 classes: 61,706 parameters. Pictures are 32x32: a digit of MNIST, 28x28, with a border of 2 pixels.
    Weights start as in Glorot & Bengio (AISTATS 2010), which suits the tanh; biases start at zero.
    """

    heads = ("head",)
    smallest = 32
    window = (32, 32)

    def __init__(self, *, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(in_channels, 6, 5)
        self.s2 = nn.AvgPool2d(2)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.s4 = nn.AvgPool2d(2)
        self.c5 = nn.Linear(16 * 5 * 5, 120)  # in the paper a convolution whose filter covers the whole map
        self.f6 = nn.Linear(120, 84)
        self.head = nn.Linear(84, num_classes)
        self.tanh = nn.Tanh()
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, 32, 32) -> (N, num_classes)."""
        maps = self.s2(self.tanh(self.c1(images)))  # (N, 6, 28, 28), then (N, 6, 14, 14)
        maps = self.s4(self.tanh(self.c3(maps)))  # (N, 16, 10, 10), then (N, 16, 5, 5)
        units = self.tanh(self.c5(maps.flatten(1)))  # (N, 400), then (N, 120)
        units = self.tanh(self.f6(units))  # (N, 84)
        return self.head(units)
