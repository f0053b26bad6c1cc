"""Gated PixelCNN (van den Oord et al., NIPS 2016, arXiv:1606.05328): two stacks, so that nothing earlier is unseen.

The vertical stack sees all rows above a position, the horizontal stack the positions to the left in its own row. The
vertical features feed the horizontal ones at every layer, but not the other way round.
"""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.models.generate.autoregressive import Autoregressive
from pixelwise.models.generate.pixelcnn import Head
from pixelwise.nn.causal import Causal, Cursor, Mask, MaskedConv2d, RowsAbove


class GatedPixelCNN(Autoregressive):
    """Gated layers (figure 2), the first with 7x7 kernels and mask A, and two 1x1 layers.

    1 channel, 1 level, width 32, 8 layers: 176,193 parameters.

    Args:
        in_channels, levels, size: see `Autoregressive`.
        width: p, channels of each stack.
        layers: number of gated layers, including the first.
        kernel_size: of the layers after the first; odd.
        head: channels of the 1x1 layers at the end.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        levels: int = 1,
        size: tuple[int, int] = (28, 28),
        width: int = 32,
        layers: int = 8,
        kernel_size: int = 3,
        head: int = 64,
    ) -> None:
        super().__init__(in_channels=in_channels, levels=levels, size=size)
        self.first = GatedLayer(in_channels, width, 7, "A", colours=in_channels)
        self.layers = nn.ModuleList(
            GatedLayer(width, width, kernel_size, "B", colours=in_channels) for _ in range(layers - 1)
        )
        self.head = Head(width, head, in_channels, levels)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in 0..1 -> logits (N, C, L, H, W)."""
        vertical, horizontal = self.first(images, images)
        for layer in self.layers:
            vertical, horizontal = layer(vertical, horizontal)
        return self.head(horizontal)


class GatedLayer(Causal):
    """One layer of both stacks (figure 2); from mask B on, the horizontal stack has a residual connection.

    Args:
        in_channels: channels of both inputs.
        width: p, channels of both outputs.
        kernel_size: n; the vertical stack has a kernel of n // 2 + 1 rows and n columns, the horizontal stack one of
            1 x n with a mask.
        colours: see `MaskedConv2d`.
    """

    def __init__(self, in_channels: int, width: int, kernel_size: int, mask: Mask, *, colours: int) -> None:
        super().__init__()
        self.vertical = RowsAbove(in_channels, 2 * width, kernel_size, mask)
        self.link = nn.Conv2d(2 * width, 2 * width, 1)
        self.horizontal = MaskedConv2d(in_channels, width, (1, kernel_size), mask, colours=colours, repeats=2)
        self.output = MaskedConv2d(width, width, 1, "B", colours=colours)
        self.residual = mask == "B"

    def start(self, cursor: Cursor) -> None:
        super().start(cursor)
        self._row = -1

    def forward(self, vertical: Tensor, horizontal: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs of both stacks -> their outputs, each (N, width, H, W).

        At a cursor, the vertical maps are (N, C, 1, W) and the horizontal ones (N, C, 1, 1). The vertical stack does
        not depend on the row itself, so it runs once per row.
        """
        if self.cursor is None:
            above = self.vertical(vertical)  # (N, 2p, H, W), before the gate
            link = self.link(above)
        else:
            if self._row != self.cursor.row:
                self._row = self.cursor.row
                self._above = self.vertical(vertical)
                self._link = self.link(self._above)
            above = self._above
            link = self._link[:, :, :, self.cursor.column : self.cursor.column + 1]
        features = self.output(gate(self.horizontal(horizontal) + link))
        return gate(above), horizontal + features if self.residual else features


def gate(maps: Tensor) -> Tensor:
    """tanh of each even channel times the sigmoid of the next (equation 2): (N, 2p, H, W) -> (N, p, H, W)."""
    return maps[:, 0::2].tanh() * maps[:, 1::2].sigmoid()
