"""PixelCNN, gated PixelCNN and PixelRNN: what each value may depend on, exact probabilities, and sampling."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from pixelwise.models.generate.autoregressive import Autoregressive, bits_per_dimension
from pixelwise.models.generate.gated_pixelcnn import GatedPixelCNN
from pixelwise.models.generate.pixelcnn import PixelCNN
from pixelwise.models.generate.pixelrnn import DiagonalBiLSTM, PixelRNNDiagonal, PixelRNNRow, lstm_cell, skew, unskew
from pixelwise.nn.causal import MaskedConv2d

NETWORKS = (PixelCNN, GatedPixelCNN, PixelRNNRow, PixelRNNDiagonal)
SEES_ALL = (GatedPixelCNN, PixelRNNDiagonal)
every_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)


def randomised(network: nn.Module, deviation: float = 0.3, *, seed: int = 0) -> nn.Module:
    """The network in float64 with random weights, of which none is zero."""
    generator = torch.Generator().manual_seed(seed)
    network.double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=deviation, generator=generator)
    return network


def dependencies(network: nn.Module, channels: int, height: int, width: int) -> Tensor:
    """(V, V) bool: which of the V values, in raster order, the logits of each value depend on; by gradient."""
    values = channels * height * width
    images = torch.rand(
        values, channels, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    ).requires_grad_()
    logits = network(images).square().sum(2)  # (V, C, H, W)
    each = logits.permute(0, 2, 3, 1).reshape(values, values)
    (gradient,) = torch.autograd.grad(each.diagonal().sum(), images)
    return gradient.permute(0, 2, 3, 1).reshape(values, values) != 0


@every_network
@pytest.mark.parametrize("channels", [1, 3])
def test_a_value_depends_only_on_earlier_values(network: type[Autoregressive], channels: int) -> None:
    tiny = network(in_channels=channels, levels=3, size=(5, 6), width=8, head=24)
    found = torch.zeros(30 * channels, 30 * channels, dtype=torch.bool)
    for seed in range(6):  # each leaves other units dead under ReLU
        found |= dependencies(randomised(tiny, seed=seed), channels, 5, 6)
    earlier = torch.ones_like(found).tril(-1)
    assert not (found & ~earlier).any()
    share = found.sum() / earlier.sum()
    assert share > (0.98 if network in SEES_ALL else 0.8)


class Stack(nn.Module):
    """Masked 3x3 convolutions with one channel and weights of 1: the receptive field of a PixelCNN of this depth."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(MaskedConv2d(1, 1, 3, "B" if layer else "A") for layer in range(depth)))
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.1)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)[:, :, None]


def test_the_blind_spot_of_masked_convolutions_is_as_large_as_counted() -> None:
    missed = torch.ones(784, 784, dtype=torch.bool).tril(-1) & ~dependencies(Stack(60).double(), 1, 28, 28)
    by_position = missed.sum(1).view(28, 28)
    assert by_position[14, 14] == 78
    assert by_position[27, 0] == 351
    assert by_position[27, 27] == 0
    assert missed.sum() / (784 * 783 / 2) == pytest.approx(0.221, abs=5e-4)


def test_the_gated_network_has_no_blind_spot() -> None:
    network = randomised(GatedPixelCNN(width=4, layers=16, kernel_size=5, head=16), 0.5)
    assert torch.equal(dependencies(network, 1, 28, 28), torch.ones(784, 784, dtype=torch.bool).tril(-1))


@every_network
def test_the_probabilities_of_all_pictures_add_up_to_one(network: type[Autoregressive]) -> None:
    tiny = randomised(network(size=(3, 3), width=4, head=5), 0.5)
    pictures = torch.tensor([[number >> bit & 1 for bit in range(9)] for number in range(512)]).double()
    with torch.no_grad():
        nats = tiny.surprise(pictures.view(512, 1, 3, 3)).flatten(1).sum(1)
    assert float((-nats).exp().sum()) == pytest.approx(1.0, abs=1e-6)
    assert nats.std() > 0.1


@every_network
@pytest.mark.parametrize(("channels", "levels"), [(1, 1), (1, 4), (3, 5)])
def test_cached_sampling_equals_naive_sampling(network: type[Autoregressive], channels: int, levels: int) -> None:
    tiny = randomised(network(in_channels=channels, levels=levels, size=(5, 7), width=6, head=9), 0.25).float()
    cached, naive = (
        tiny.sample(4, torch.Generator().manual_seed(3), cached=cached, temperature=1.3) for cached in (True, False)
    )
    assert torch.equal(cached, naive)
    assert cached.dtype == torch.float32
    assert not torch.equal(cached, tiny.sample(4, torch.Generator().manual_seed(4)))
    assert set((cached * max(levels - 1, 1)).unique().tolist()) <= set(range(max(levels, 2)))
    assert all(getattr(module, "cursor", None) is None for module in tiny.modules())


@every_network
def test_a_picture_is_completed_from_the_part_that_is_kept(network: type[Autoregressive]) -> None:
    tiny = randomised(network(in_channels=3, levels=4, size=(5, 6), width=6, head=9), 0.4)
    given = torch.randint(0, 4, (2, 3, 5, 6), generator=torch.Generator().manual_seed(0)).double() / 3
    keep = torch.zeros(5, 6, dtype=torch.bool)
    keep[:2], keep[3, 4] = True, True
    cached, naive = (
        tiny.sample(2, torch.Generator().manual_seed(1), cached=cached, given=given, keep=keep)
        for cached in (True, False)
    )
    assert torch.equal(cached, naive)
    assert torch.equal(cached[:, :, keep], given[:, :, keep])
    assert not torch.equal(cached[:, :, ~keep], given[:, :, ~keep])


def test_a_picture_is_sampled_with_the_probability_that_the_network_gives_it() -> None:
    tiny = randomised(PixelCNN(size=(1, 3), width=3, head=4, blocks=1), 0.8)
    drawn = tiny.sample(20_000, torch.Generator().manual_seed(0))
    pictures = torch.tensor([[number >> bit & 1 for bit in range(3)] for number in range(8)]).double()
    with torch.no_grad():
        expected = (-tiny.surprise(pictures.view(8, 1, 1, 3)).flatten(1).sum(1)).exp()
    numbers = (drawn.view(-1, 3) * torch.tensor([1.0, 2.0, 4.0])).sum(1).long()
    found = torch.bincount(numbers, minlength=8) / len(drawn)
    assert (found - expected).abs().max() < 4 * math.sqrt(0.25 / len(drawn))


def test_the_skewed_diagonals_equal_the_recurrence_over_positions() -> None:
    layer = randomised(DiagonalBiLSTM(3, 1), 0.5)
    maps = torch.rand(2, 6, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gates = layer.input_to_state(maps).unflatten(1, (3, 2, 4))  # (N, h, directions, gates, H, W)
    weights = layer.state_to_state.weight.unflatten(0, (2, 12))  # (directions, 4h, h, above and beside)

    def recurrence(direction: int, columns: list[int]) -> Tensor:
        hidden: dict[tuple[int, int], Tensor] = {}
        cells: dict[tuple[int, int], Tensor] = {}
        zeros = maps.new_zeros(2, 3)
        for row in range(4):
            for column, before in zip(columns, [None, *columns[:-1]], strict=True):
                beside = zeros if before is None else hidden[row, before]
                states = hidden.get((row - 1, column), zeros) @ weights[direction, :, :, 0].T
                states = states + beside @ weights[direction, :, :, 1].T
                own = gates[:, :, direction, :, row, column].flatten(1) + states
                cell = zeros if before is None else cells[row, before]
                hidden[row, column], cells[row, column] = lstm_cell(own.unflatten(1, (3, 4)).movedim(2, 0), cell)
        return torch.stack([torch.stack([hidden[row, column] for column in range(5)], -1) for row in range(4)], -2)

    left, right = recurrence(0, [0, 1, 2, 3, 4]), recurrence(1, [4, 3, 2, 1, 0])
    expected = left.clone()
    expected[:, :, 1:] += right[:, :, :-1]
    torch.testing.assert_close(layer(maps), expected)


def test_an_lstm_cell_equals_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    gates, cell = torch.randn(4, 5, 3, generator=generator), torch.randn(5, 3, generator=generator)
    oracle = nn.LSTMCell(12, 3)
    output, forget, update, content = gates
    with torch.no_grad():
        oracle.weight_ih.copy_(torch.eye(12))
        for parameter in (oracle.weight_hh, oracle.bias_ih, oracle.bias_hh):
            parameter.zero_()
        expected = oracle(torch.cat([update, forget, content, output], 1), (torch.zeros(5, 3), cell))
    torch.testing.assert_close(lstm_cell(gates, cell), expected)


def test_skewing_shifts_each_row_by_one_more_position_and_can_be_undone() -> None:
    maps = torch.arange(1.0, 13.0).view(1, 1, 3, 4)
    skewed = skew(maps)
    assert skewed[0, 0].tolist() == [[1, 2, 3, 4, 0, 0], [0, 5, 6, 7, 8, 0], [0, 0, 9, 10, 11, 12]]
    assert torch.equal(unskew(skewed, 4), maps)


@pytest.mark.parametrize("levels", [1, 2, 256])
def test_values_are_brought_to_the_levels(levels: int) -> None:
    network = PixelCNN(levels=levels, width=2, head=2, blocks=1)
    images = torch.linspace(0, 1, 784).view(1, 1, 28, 28)
    found = network.discrete(images, torch.Generator().manual_seed(0))
    if levels == 1:
        assert set(found.unique().tolist()) == {0.0, 1.0}
        assert found.mean() == pytest.approx(0.5, abs=0.05)
    else:
        assert (found - images).abs().max() <= 0.5 / (levels - 1) + 1e-6
        assert len(found.unique()) == levels


def test_the_nats_of_uniform_levels_are_their_entropy() -> None:
    network = PixelCNN(levels=256, size=(4, 5), width=2, head=2, blocks=1)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    nats = network.losses(torch.rand(3, 1, 4, 5))["loss"].item()
    assert nats == pytest.approx(20 * math.log(256), rel=1e-5)
    assert bits_per_dimension(nats, 20) == pytest.approx(8.0, rel=1e-5)
