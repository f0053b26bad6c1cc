"""Instance norm is torch's, treats each picture alone, and takes the statistics of a whole picture from its tiles."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from pixelwise.nn.picture_norm import PictureNorm2d, Tile, statistics_of_all


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_it_is_torchs_instance_norm(affine: bool, training: bool) -> None:
    torch.manual_seed(0)
    maps = 3 * torch.randn(3, 5, 7, 9) + 2
    own, theirs = PictureNorm2d(5, affine=affine), nn.InstanceNorm2d(5, affine=affine)
    if affine:
        for norm in (own, theirs):
            norm.weight.data.copy_(torch.linspace(0.5, 2, 5))
            norm.bias.data.copy_(torch.linspace(-1, 1, 5))
    torch.testing.assert_close(own.train(training)(maps), theirs.train(training)(maps))


def test_for_a_single_picture_it_is_batch_norm_in_training() -> None:
    maps = torch.randn(1, 4, 6, 5)
    torch.testing.assert_close(PictureNorm2d(4, affine=True).eval()(maps), nn.BatchNorm2d(4).train()(maps))


def test_a_picture_does_not_depend_on_its_neighbours() -> None:
    maps = torch.randn(4, 3, 8, 8)
    norm = PictureNorm2d(3).train()
    assert torch.equal(norm(maps)[2:3], norm(maps[2:3]))


def test_a_single_position_becomes_the_shift_and_passes_gradients() -> None:
    norm = PictureNorm2d(2, affine=True).train()
    norm.bias.data.copy_(torch.tensor([3.0, -1.0]))
    out = norm(torch.randn(2, 2, 1, 1, requires_grad=True))
    assert torch.equal(out.detach(), torch.tensor([3.0, -1.0])[None, :, None, None].expand(2, 2, 1, 1))
    out.sum().backward()
    assert norm.bias.grad is not None
    assert torch.equal(norm.bias.grad, torch.full((2,), 2.0))


def pointwise() -> nn.Sequential:
    """Without convolutions that reach beyond a pixel, so that only the statistics can tell tiles from the whole."""
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for before, after in ((3, 6), (6, 6), (6, 2)):
        layers += [nn.Conv2d(before, after, 1), PictureNorm2d(after, affine=True), nn.ReLU()]
    return nn.Sequential(*layers).eval()


def test_tiles_with_common_statistics_are_parts_of_the_whole() -> None:
    network = pointwise()
    picture = torch.randn(1, 3, 8, 40) * torch.linspace(0.1, 4, 40) + torch.linspace(-2, 5, 40)
    tiles = list(picture.split(10, dim=3))
    with torch.no_grad():
        whole = network(picture)
        alone = torch.cat([network(tile) for tile in tiles], 3)
        with statistics_of_all(network, list(map(Tile, tiles)), network):
            together = torch.cat([network(tile) for tile in tiles], 3)
        after = network(picture)
    assert (alone - whole).abs().max() > 1  # what the statistics of tiles would do
    torch.testing.assert_close(together, whole, atol=1e-4, rtol=1e-4)
    assert torch.equal(after, whole)  # the context leaves nothing behind


def test_statistics_are_exact_for_one_norm_and_released_after_an_error() -> None:
    network = nn.Sequential(PictureNorm2d(3)).eval()
    picture = torch.randn(1, 3, 8, 12) + torch.arange(12.0)
    before = copy.deepcopy(network)(picture)
    tiles = list(picture.split(4, dim=3))
    with torch.no_grad(), statistics_of_all(network, list(map(Tile, tiles)), network):
        torch.testing.assert_close(torch.cat([network(tile) for tile in tiles], 3), before)
    with pytest.raises(ZeroDivisionError), statistics_of_all(network, list(map(Tile, tiles)), lambda tile: 1 // 0):
        pass
    torch.testing.assert_close(network(picture), before)


def test_what_tiles_share_is_counted_once() -> None:
    network = nn.Sequential(PictureNorm2d(3)).eval()
    picture = torch.randn(1, 3, 8, 30) + torch.arange(30.0)
    tiles = [Tile(picture[..., :18], right=15 / 18), Tile(picture[..., 12:], left=3 / 18)]
    with torch.no_grad(), statistics_of_all(network, tiles, network):
        parts = [network(picture[..., :15]), network(picture[..., 15:])]
    torch.testing.assert_close(torch.cat(parts, 3), network(picture))
