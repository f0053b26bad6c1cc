"""PixelRNN (van den Oord, Kalchbrenner, Kavukcuoglu, ICML 2016, arXiv:1601.06759): LSTMs over rows and diagonals."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.models.generate.autoregressive import Autoregressive
from pixelwise.models.generate.pixelcnn import Head
from pixelwise.nn.causal import Causal, Cursor, MaskedConv2d

GATES = 4
"""Output, forget and input gate, and the content, of an LSTM cell."""


class PixelRNN(Autoregressive):
    """The networks of table 1: a 7x7 convolution with mask A, residual LSTM layers, and two 1x1 layers.

    The paper has 12 layers of 128 features for CIFAR-10, and 7 of 16 for MNIST, as here.

    Args:
        in_channels, levels, size: see `Autoregressive`.
        width: h, features of the LSTM layers; there are 2h between them.
        layers: number of LSTM layers.
        head: channels of the 1x1 layers at the end.
    """

    layer: type[LSTMLayer]

    def __init__(
        self,
        *,
        in_channels: int = 1,
        levels: int = 1,
        size: tuple[int, int] = (28, 28),
        width: int = 16,
        layers: int = 7,
        head: int = 64,
    ) -> None:
        super().__init__(in_channels=in_channels, levels=levels, size=size)
        self.first = MaskedConv2d(in_channels, 2 * width, 7, "A", colours=in_channels)
        self.layers = nn.Sequential(*(ResidualLSTM(self.layer(width, in_channels)) for _ in range(layers)))
        self.head = Head(2 * width, head, in_channels, levels)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in 0..1 -> logits (N, C, L, H, W)."""
        return self.head(self.layers(self.first(images)))


class LSTMLayer(Causal):
    """Base class of the LSTM layers: (N, 2h, H, W) -> (N, h, H, W).

    Args:
        width: h.
        colours: see `MaskedConv2d`.
    """

    def __init__(self, width: int, colours: int) -> None:
        super().__init__()
        self.width = width
        self.colours = colours

    @abstractmethod
    def forward(self, maps: Tensor) -> Tensor: ...


class ResidualLSTM(nn.Module):
    """An LSTM layer and a 1x1 convolution from h back to 2h features, added to the input (figure 5, right)."""

    def __init__(self, layer: LSTMLayer) -> None:
        super().__init__()
        self.lstm = layer
        self.expand = MaskedConv2d(layer.width, 2 * layer.width, 1, "B", colours=layer.colours)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, 2h, H, W) -> (N, 2h, H, W)"""
        return maps + self.expand(self.lstm(maps))


class RowLSTM(LSTMLayer):
    """The Row LSTM (section 3.1): row after row, each position sees three states of the row above.

    The receptive field is a triangle above the position, so that part of the earlier values is never seen.
    """

    def __init__(self, width: int, colours: int) -> None:
        super().__init__(width, colours)
        self.input_to_state = MaskedConv2d(2 * width, width, (1, 3), "B", colours=colours, repeats=GATES)
        self.state_to_state = nn.Conv1d(width, GATES * width, 3, padding=1, bias=False)

    def start(self, cursor: Cursor) -> None:
        super().start(cursor)
        count, width = len(cursor.pictures), cursor.pictures.shape[3]
        self._row = -1
        self._state = self.state_to_state.weight.new_zeros(2, count, self.width, width)  # of the row so far

    def forward(self, maps: Tensor) -> Tensor:
        gates = self.input_to_state(maps)  # (N, 4h, H, W)
        if self.cursor is not None:
            return self._at(gates, self.cursor)
        # Features first, then pictures and columns: a row is one product of matrices, on memory without gaps.
        kernel = by_gate(self.state_to_state.weight[None]).squeeze(1).transpose(2, 3).flatten(2).flatten(0, 1)
        kernel = kernel.to(gates.dtype)  # (4h, 3h), once for all rows
        hidden = cell = gates.new_zeros(self.width, len(gates), gates.shape[3])
        rows = []
        for row in by_gate(gates).permute(3, 0, 2, 1, 4).contiguous():  # (4, h, N, W)
            padded = F.pad(hidden, (1, 1))
            above = torch.cat([padded[:, :, :-2], hidden, padded[:, :, 2:]])  # (3h, N, W)
            hidden, cell = lstm_cell(row + (kernel @ above.flatten(1)).view_as(row), cell)
            rows.append(hidden)
        return torch.stack(rows, 2).transpose(0, 1)

    def _at(self, gates: Tensor, cursor: Cursor) -> Tensor:
        if self._row != cursor.row:
            self._row = cursor.row
            hidden, cell = self._state
            self._from_above = self.state_to_state(hidden)  # (N, 4h, W)
            self._cell_above = cell.clone()
        column = slice(cursor.column, cursor.column + 1)
        found = by_gate(gates[:, :, 0] + self._from_above[:, :, column])
        hidden, cell = lstm_cell(found, self._cell_above[:, :, column])
        self._state[0, :, :, column], self._state[1, :, :, column] = hidden, cell
        return hidden[:, :, None]


class DiagonalBiLSTM(LSTMLayer):
    """The Diagonal BiLSTM (section 3.2): two LSTMs that run along the diagonals, from the left and from the right.

    Each state depends on the state beside it and the one above it. In a skewed map, in which each row is shifted by one
    position against the row above, both are in the previous column, so that all rows of a diagonal are computed at
    once. The map of the right-to-left direction is shifted down by one row before it is added to the other, so that no
    position sees later ones. Together they see all earlier values except the last one of the row above, which enters
    the maps only at the next position, in the row itself.
    """

    def __init__(self, width: int, colours: int) -> None:
        super().__init__(width, colours)
        self.input_to_state = MaskedConv2d(2 * width, width, 1, "B", colours=colours, repeats=2 * GATES)
        # Two groups: the directions. The kernel covers the state above and the one beside.
        self.state_to_state = nn.Conv1d(2 * width, 2 * GATES * width, 2, groups=2, bias=False)

    def start(self, cursor: Cursor) -> None:
        super().start(cursor)
        count, width = len(cursor.pictures), cursor.pictures.shape[3]
        zeros = self.state_to_state.weight.new_zeros
        self._weights = [weight.flatten(1).T.contiguous() for weight in self.state_to_state.weight.chunk(2)]
        self._row = -1
        # Of the row so far, from the left; the first column is the border.
        self._hidden, self._cell = zeros(count, self.width, width + 1), zeros(count, self.width, width + 1)
        self._gates = zeros(count, GATES * self.width, width)  # of the row so far, for the pass from the right
        self._left_above, self._right_above = zeros(count, self.width, width), zeros(count, self.width, width)

    def forward(self, maps: Tensor) -> Tensor:
        gates = self._by_direction(self.input_to_state(maps))  # (N, 8h, H, W)
        if self.cursor is not None:
            return self._at(gates, self.cursor)
        height, width = gates.shape[2:]
        left, right = gates.chunk(2, 1)
        skewed = skew(torch.cat([left, right.flip(3)], 1))  # (N, 8h, H, W + H - 1)
        steps = torch.arange(skewed.shape[3], device=skewed.device)
        offsets = steps - torch.arange(height, device=skewed.device)[:, None]
        inside = ((offsets >= 0) & (offsets < width)).to(gates.dtype)  # (H, W + H - 1); states outside stay zero
        # Directions and features first, as in the Row LSTM.
        kernel = self.state_to_state.weight.unflatten(0, (2, -1, GATES)).permute(0, 2, 1, 4, 3).flatten(3).flatten(1, 2)
        kernel = kernel.to(gates.dtype)  # (2, 4h, 2h)
        hidden = cell = gates.new_zeros(2, self.width, len(gates), height)
        columns = []
        apart = skewed.unflatten(1, (2, -1, GATES)).permute(5, 1, 3, 2, 0, 4).contiguous()
        for step, column in enumerate(apart):  # (2, 4, h, N, H)
            before = torch.cat([F.pad(hidden, (1, 0))[..., :-1], hidden], 1)  # (2, 2h, N, H)
            found = column + (kernel @ before.flatten(2)).view_as(column)
            hidden, cell = lstm_cell(found.transpose(0, 1), cell)
            hidden, cell = hidden * inside[:, step], cell * inside[:, step]
            columns.append(hidden)
        states = torch.stack(columns, 4).permute(2, 0, 1, 3, 4)  # (N, 2, h, H, W + H - 1)
        left, right = unskew(states.flatten(1, 2), width).chunk(2, 1)
        return left + F.pad(right.flip(3), (0, 0, 1, -1))

    def _by_direction(self, gates: Tensor) -> Tensor:
        """Channels in the order (feature, direction, gate) -> (direction, feature, gate)."""
        return gates.unflatten(1, (self.width, 2, GATES)).transpose(1, 2).flatten(1, 3)

    def _at(self, gates: Tensor, cursor: Cursor) -> Tensor:
        if self._row != cursor.row:
            if cursor.row:
                self._left_above, self._right_above = self._hidden[:, :, 1:].clone(), self._from_right()
            self._row = cursor.row
        left, right = gates[:, :, 0, 0].chunk(2, 1)
        column = cursor.column
        self._gates[:, :, column] = right
        before = self._from_states(self._left_above[:, :, column], self._hidden[:, :, column], 0)
        hidden, cell = lstm_cell(by_gate(left + before), self._cell[:, :, column])
        self._hidden[:, :, column + 1], self._cell[:, :, column + 1] = hidden, cell
        return (hidden + self._right_above[:, :, column])[:, :, None, None]

    def _from_right(self) -> Tensor:
        """The hidden states (N, h, W) of the right-to-left direction in the row that was finished last."""
        width = self._gates.shape[2]
        hidden = cell = torch.zeros_like(self._right_above[:, :, 0])
        row = torch.empty_like(self._right_above)
        for column in reversed(range(width)):
            before = self._from_states(self._right_above[:, :, column], hidden, 1)
            hidden, cell = lstm_cell(by_gate(self._gates[:, :, column] + before), cell)
            row[:, :, column] = hidden
        return row

    def _from_states(self, above: Tensor, beside: Tensor, direction: int) -> Tensor:
        """The contribution (N, 4h) of the states above and beside, each (N, h), to the gates of one position."""
        return torch.stack([above, beside], 2).flatten(1) @ self._weights[direction]


class PixelRNNRow(PixelRNN):
    """PixelRNN with Row LSTM layers.

    1 channel, 1 level, width 16, 7 layers: 72,545 parameters.
    """

    layer = RowLSTM


class PixelRNNDiagonal(PixelRNN):
    """PixelRNN with Diagonal BiLSTM layers.

    1 channel, 1 level, width 16, 7 layers: 65,825 parameters.
    """

    layer = DiagonalBiLSTM


def by_gate(gates: Tensor) -> Tensor:
    """Four adjacent channels per feature (N, 4h, ...) -> all features of each gate (4, N, h, ...)."""
    return gates.unflatten(1, (-1, GATES)).movedim(2, 0)


def lstm_cell(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """One step of LSTM cells (equation 3).

    Args:
        gates: (4, ...): output, forget and input gate, and the content.
        cell: (...), the previous cell states.

    Returns:
        The hidden and the cell states, each (...).
    """
    output, forget, update = gates[:3].sigmoid()
    cell = forget * cell + update * gates[3].tanh()
    return output * cell.tanh(), cell


def skew(maps: Tensor) -> Tensor:
    """Shifts row r by r positions to the right (figure 3): (N, C, H, W) -> (N, C, H, W + H - 1), filled with zeros."""
    height, width = maps.shape[2:]
    rows = F.pad(maps, (0, height)).flatten(2)  # rows of W + H values, read as rows of W + H - 1
    return rows[..., :-height].unflatten(2, (height, width + height - 1))


def unskew(maps: Tensor, width: int) -> Tensor:
    """The inverse of `skew`: (N, C, H, W + H - 1) -> (N, C, H, W)."""
    height = maps.shape[2]
    rows = F.pad(maps.flatten(2), (0, height)).unflatten(2, (height, width + height))
    return rows[..., :width]
