"""The rules of DCGAN, exact parameter counts, and the shapes of all sizes."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from pixelwise.losses.adversarial import discriminator_loss, generator_loss
from pixelwise.models.generate.dcgan import DCGAN

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_at_full_size() -> None:
    with torch.device("meta"):
        network = DCGAN()
    assert count(network.generator) == 3_576_704
    assert count(network.discriminator) == 2_765_568


@pytest.mark.parametrize("size", [16, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_rules(size: int, channels: int) -> None:
    """Section 3: no pooling, no dense layers, batch norm but at the pictures, ReLU and tanh, leaky ReLU."""
    network = DCGAN(in_channels=channels, size=size, latent=8, width=4)
    allowed = (*CONVOLUTIONS, nn.BatchNorm2d, nn.ReLU, nn.Tanh, nn.LeakyReLU)
    halvings = size.bit_length() - 3
    for side, convolution, activation in (
        (network.generator, nn.ConvTranspose2d, nn.ReLU),
        (network.discriminator, nn.Conv2d, nn.LeakyReLU),
    ):
        layers = list(side.main)
        assert all(isinstance(layer, allowed) for layer in layers)
        convolutions = [layer for layer in layers if isinstance(layer, CONVOLUTIONS)]
        assert all(isinstance(layer, convolution) and layer.bias is None for layer in convolutions)
        assert sum(layer.stride == (2, 2) for layer in convolutions) == halvings
        assert len(convolutions) == halvings + 1
        for layer, following in pairwise(layers):
            if isinstance(layer, nn.BatchNorm2d):
                assert isinstance(following, activation)
        assert sum(isinstance(layer, nn.BatchNorm2d) for layer in layers) == len(convolutions) - (
            1 if side is network.generator else 2
        )
        assert not any(isinstance(layer, nn.ReLU if activation is nn.LeakyReLU else nn.LeakyReLU) for layer in layers)
    assert isinstance(network.generator.main[-1], nn.Tanh)
    assert isinstance(network.generator.main[1], nn.BatchNorm2d)
    assert isinstance(network.discriminator.main[1], nn.LeakyReLU)  # no batch norm beside the pictures
    assert isinstance(network.discriminator.main[-1], nn.Conv2d)  # logits, no sigmoid
    assert all(m.negative_slope == 0.2 for m in network.discriminator.main if isinstance(m, nn.LeakyReLU))
    images = network(network.noise(3))
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() <= 1
    assert network.discriminator(images).shape == (3,)
    assert network.input_range == (-1.0, 1.0)


def test_published_names() -> None:
    with torch.device("meta"):
        network = DCGAN()
    generator, discriminator = network.generator.state_dict(), network.discriminator.state_dict()
    assert generator["main.0.weight"].shape == (100, 512, 4, 4)
    assert generator["main.12.weight"].shape == (64, 3, 4, 4)
    assert discriminator["main.0.weight"].shape == (64, 3, 4, 4)
    assert discriminator["main.11.weight"].shape == (1, 512, 4, 4)


def test_weights_start_as_in_the_paper() -> None:
    torch.manual_seed(0)
    network = DCGAN(size=32, width=32)
    for module in network.modules():
        if isinstance(module, CONVOLUTIONS):
            assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
            assert float(module.weight.detach().mean()) == pytest.approx(0, abs=0.002)
        elif isinstance(module, nn.BatchNorm2d):
            assert float(module.weight.detach().mean()) == pytest.approx(1, abs=0.02)
            assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.5)
            assert not module.bias.any()


def test_samples_depend_on_the_generator_alone() -> None:
    network = DCGAN(size=16, latent=5, width=4).eval()
    first, again, other = (network.sample(2, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not first.requires_grad


def test_a_gradient_reaches_every_parameter() -> None:
    network = DCGAN(size=16, latent=5, width=4)
    fake = network(network.noise(4))
    generator_loss(network.discriminator(fake)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    network.zero_grad()
    discriminator_loss(network.discriminator(fake.detach()), network.discriminator(fake.detach())).backward()
    assert all(p.grad is None for p in network.generator.parameters())


@pytest.mark.parametrize(
    ("size", "side"), [(8, 16), (16, 16), (24, 32), (28, 32), (33, 64), ((20, 40), 64), ((64, 64), 64)]
)
def test_pictures_are_square_with_a_power_of_two(size: int | tuple[int, int], side: int) -> None:
    network = DCGAN(size=size, latent=5, width=4)
    assert network.size == (side, side)
    with torch.inference_mode():
        assert network.sample(2).shape == (2, 3, side, side)
