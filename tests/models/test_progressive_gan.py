"""Progressive GAN: growing without jumps, scaled weights, and the deviation of a batch of any size."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from pixelwise.catalog import create_model
from pixelwise.models.generate.progressive_gan import (
    EqualisedConv,
    EqualisedDense,
    PixelNorm,
    ProgressiveGAN,
    batch_deviation,
    doubled,
)


@pytest.fixture
def network() -> ProgressiveGAN:
    torch.manual_seed(0)
    return ProgressiveGAN(in_channels=2, size=32, latent=8, width=8, base=64).double()


def grown(network: ProgressiveGAN, growth: float) -> ProgressiveGAN:
    network.generator.growth = network.discriminator.growth = growth
    return network


def test_the_papers_network_has_its_parameters() -> None:
    with torch.device("meta"):
        network = create_model("progressive_gan")
    counts = [sum(value.numel() for value in part.parameters()) for part in (network.generator, network.discriminator)]
    assert counts == [23_079_115, 23_087_249]


@pytest.mark.parametrize("size", [32, 256])
def test_the_last_maps_have_as_many_channels_as_in_the_paper(size: int) -> None:
    network = ProgressiveGAN(size=size, width=64)
    channels = [layer.weight.shape[1] for layer in network.generator.to_rgb]
    assert channels[-3:] == [64, 32, 16]
    assert set(channels[:-3]) == {64}


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_at_the_ends_of_a_fade_the_outputs_are_those_of_the_two_sizes(network: ProgressiveGAN, stage: int) -> None:
    z, images = torch.randn(5, 8).double(), torch.randn(5, 2, 4 << stage, 4 << stage).double()
    small = grown(network, stage - 1)
    smaller, before = small.generator(z), small.discriminator(F.avg_pool2d(images, 2))
    begun = grown(network, stage - 1 + 2e-5)
    torch.testing.assert_close(begun.generator(z), doubled(smaller), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(begun.discriminator(images), before, atol=1e-3, rtol=1e-3)
    large = grown(network, stage)
    larger, after = large.generator(z), large.discriminator(images)
    assert larger.shape == images.shape
    done = grown(network, stage - 2e-5)
    torch.testing.assert_close(done.generator(z), larger, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(done.discriminator(images), after, atol=1e-3, rtol=1e-3)
    half = grown(network, stage - 0.5).generator(z)
    torch.testing.assert_close(half, (doubled(smaller) + larger) / 2)


def test_growth_follows_the_run_without_jumps(network: ProgressiveGAN) -> None:
    steps = torch.linspace(0, 1, 1201).tolist()
    found = []
    for progress in steps:
        network.grow(progress)
        found.append(network.generator.growth)
        assert network.discriminator.growth == network.generator.growth
    growth = torch.tensor(found)
    assert (growth[0], growth[-1]) == (0, 3)
    assert (growth.diff() >= 0).all()
    assert growth.diff().max() < 0.02
    shares = [float((growth == size).float().mean()) for size in range(4)]
    for size in range(3):
        fading = float(((growth > size) & (growth < size + 1)).float().mean())
        assert shares[size] == pytest.approx(0.6 * 2**size / 21, abs=0.002)  # twice as long as the size before
        assert fading == pytest.approx(2 * shares[size], abs=0.002)  # at twice the size, as many pictures
    assert shares[3] == pytest.approx(0.4, abs=0.002)


def test_real_pictures_are_shown_at_the_size_of_the_generator(network: ProgressiveGAN) -> None:
    images = torch.rand(3, 2, 32, 32).double()
    assert torch.equal(grown(network, 3).at_size(images), images)
    for growth, side in ((0, 4), (0.5, 8), (1, 8), (2.25, 32)):
        shown = grown(network, growth).at_size(images)
        assert shown.shape[2:] == (side, side)
        assert network.generator(torch.randn(1, 8).double()).shape[2:] == (side, side)
        torch.testing.assert_close(F.adaptive_avg_pool2d(shown, 4), F.adaptive_avg_pool2d(images, 4))
    assert network(torch.randn(1, 8).double()).shape == (1, 2, 32, 32)


def test_weights_are_scaled_by_their_fan_in() -> None:
    network = ProgressiveGAN(size=8, latent=12, width=6)
    layers = dict(network.named_modules())
    expected = {
        "generator.dense": math.sqrt(2) / 4 / math.sqrt(12),
        "generator.blocks.0.0": math.sqrt(2) / math.sqrt(6 * 9),
        "generator.to_rgb.1": 1 / math.sqrt(6),
        "discriminator.from_rgb.0": math.sqrt(2) / math.sqrt(3),
        "discriminator.last.5": 1 / math.sqrt(6),
    }
    for name, scale in expected.items():
        layer = layers[name]
        assert isinstance(layer, EqualisedConv | EqualisedDense)
        assert layer.scale == pytest.approx(scale)
    conv = EqualisedConv(50, 60, 3)
    assert conv.weight.detach().std() == pytest.approx(1, abs=0.02)
    assert conv(torch.randn(4, 50, 12, 12)).detach()[:, :, 1:-1, 1:-1].std() == pytest.approx(math.sqrt(2), rel=0.1)


def test_pixel_norm_gives_each_position_a_mean_square_of_1() -> None:
    maps = 30 * torch.randn(2, 8, 3, 4)
    torch.testing.assert_close(PixelNorm()(maps).square().mean(1), torch.ones(2, 3, 4))
    assert PixelNorm()(torch.zeros(1, 3, 2, 2)).abs().max() == 0


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 8, 13])
def test_the_deviation_works_for_any_batch(count: int) -> None:
    maps = torch.randn(count, 3, 4, 5)
    found = batch_deviation(maps)
    assert found.shape == (count, 1, 4, 5)
    groups = math.ceil(count / 4)
    for picture in range(count):
        members = maps[picture % groups :: groups]
        expected = (members.var(0, unbiased=False) + 1e-8).sqrt().mean()
        torch.testing.assert_close(found[picture], expected.expand(1, 4, 5))
    assert batch_deviation(maps[:1].expand(4, -1, -1, -1)).max() == pytest.approx(1e-4, rel=1e-3)
