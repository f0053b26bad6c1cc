"""PixelCNN (van den Oord, Kalchbrenner, Kavukcuoglu, ICML 2016, arXiv:1601.06759): masked convolutions.

The receptive field of masked 3x3 convolutions grows upwards and to both sides, but a cone to the right of each position
stays unseen at any depth (the blind spot; van den Oord et al., NIPS 2016, section 2.2). `gated_pixelcnn` has none.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.models.generate.autoregressive import Autoregressive
from pixelwise.nn.causal import MaskedConv2d


class PixelCNN(Autoregressive):
    """The network of table 1: a 7x7 convolution with mask A, residual blocks, and two 1x1 layers.

    The paper's networks have 15 blocks of 128 channels for CIFAR-10. The default, 6 blocks of 32, is for small grey
    pictures on a CPU.

    1 channel, 1 level, width 32, 6 blocks: 88,065 parameters.

    Args:
        in_channels, levels, size: see `Autoregressive`.
        width: h, channels inside the blocks; there are 2h between them.
        blocks: number of residual blocks.
        head: channels of the 1x1 layers at the end.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        levels: int = 1,
        size: tuple[int, int] = (28, 28),
        width: int = 32,
        blocks: int = 6,
        head: int = 64,
    ) -> None:
        super().__init__(in_channels=in_channels, levels=levels, size=size)
        self.first = MaskedConv2d(in_channels, 2 * width, 7, "A", colours=in_channels)
        self.blocks = nn.Sequential(*(Residual(width, in_channels) for _ in range(blocks)))
        self.head = Head(2 * width, head, in_channels, levels)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in 0..1 -> logits (N, C, L, H, W)."""
        return self.head(self.blocks(self.first(images)))


class Residual(nn.Module):
    """The residual block of figure 5: from 2h channels to h, a masked 3x3 convolution, and back to 2h."""

    def __init__(self, width: int, colours: int) -> None:
        super().__init__()
        self.reduce = MaskedConv2d(2 * width, width, 1, "B", colours=colours)
        self.conv = MaskedConv2d(width, width, 3, "B", colours=colours)
        self.expand = MaskedConv2d(width, 2 * width, 1, "B", colours=colours)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, 2h, H, W) -> (N, 2h, H, W)"""
        return maps + self.expand(F.relu(self.conv(F.relu(self.reduce(F.relu(maps))))))


class Head(nn.Module):
    """ReLU and a 1x1 convolution, twice: features (N, in_channels, H, W) -> logits (N, C, L, H, W)."""

    def __init__(self, in_channels: int, width: int, colours: int, levels: int) -> None:
        super().__init__()
        self.hidden = MaskedConv2d(in_channels, width, 1, "B", colours=colours)
        self.logits = MaskedConv2d(width, colours, 1, "B", colours=colours, repeats=levels)
        self.shape = (colours, levels)

    def forward(self, maps: Tensor) -> Tensor:
        return self.logits(F.relu(self.hidden(F.relu(maps)))).unflatten(1, self.shape)
