"""The VAE's bounds against numerical integration, its terms against torch.distributions, and any size of picture."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from pixelwise.models.generate.vae import VAE, Autoencoder

TINY = {"latent": 3, "width": 4, "hidden": 8}


def pictures(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_parameters_at_full_size() -> None:
    with torch.device("meta"):
        counts = [sum(p.numel() for p in network.parameters()) for network in (VAE(), Autoencoder())]
    assert counts == [3_331_329, 3_314_913]


@pytest.mark.parametrize("size", [(28, 28), (8, 8), (5, 7), (33, 47), (64, 20), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size(size: tuple[int, int], channels: int) -> None:
    images = pictures(2, channels, *size)
    for network in (VAE(in_channels=channels, size=size, **TINY), Autoencoder(in_channels=channels, size=size, **TINY)):
        assert network(images).logits.shape == images.shape
        assert network.codes(images).shape == (2, 3)
        assert network.input_range == (0.0, 1.0)
    samples = VAE(in_channels=channels, size=size, **TINY).sample(4)
    assert samples.shape == (4, channels, *size)
    assert samples.min() >= 0
    assert samples.max() <= 1


@pytest.mark.parametrize("build", [VAE, Autoencoder])
def test_a_gradient_reaches_every_parameter_with_a_batch_of_one(build: type[nn.Module]) -> None:
    network = build(**TINY)
    network.losses(pictures(1, 1, 28, 28))["loss"].backward()  # type: ignore[operator]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("build", [VAE, Autoencoder])
def test_one_batch_is_overfitted(build: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = build(size=(12, 12), latent=8, width=16, hidden=64)
    images = (pictures(4, 1, 12, 12) > 0.5).float()
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(300):
        losses = network.losses(images)  # type: ignore[operator]
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
    assert losses["reconstruction"] < 0.1 * 144 * math.log(2)


def test_terms_are_those_of_torch_distributions() -> None:
    """In nats per picture: sums over pixels and dimensions of the code, means over pictures."""
    network, images = VAE(size=(10, 9), **TINY), pictures(5, 1, 10, 9)
    torch.manual_seed(7)
    losses = network.losses(images)
    torch.manual_seed(7)
    binary = (torch.rand(images.shape) < images).float()
    mean, log_variance = network.encode(binary)
    posterior = Normal(mean, (0.5 * log_variance).exp())
    z = mean + posterior.stddev * torch.randn(mean.shape)
    log_p = Bernoulli(logits=network.decode(z)).log_prob(binary).sum((1, 2, 3))
    torch.testing.assert_close(losses["reconstruction"], -log_p.mean())
    torch.testing.assert_close(losses["kl"], kl_divergence(posterior, Normal(0, 1)).sum(1).mean())
    torch.testing.assert_close(losses["loss"], losses["reconstruction"] + losses["kl"])
    torch.manual_seed(7)
    torch.testing.assert_close(network.elbo(images).mean(), -losses["loss"].detach())


def test_pictures_are_drawn_with_their_values_as_probabilities() -> None:
    network = VAE(size=(8, 8), **TINY)
    images = pictures(1, 1, 8, 8)
    images[..., :4, :] = images[..., :4, :].round()
    drawn = torch.stack([network._drawn(images, None) for _ in range(4000)])
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(drawn.mean(0), images, atol=0.04, rtol=0)
    assert torch.equal(drawn[0, ..., :4, :], images[..., :4, :])  # 0 stays 0 and 1 stays 1
    grey = VAE(size=(8, 8), binarise=False, **TINY)
    assert torch.equal(grey._drawn(images, None), images)
    torch.manual_seed(3)
    losses = grey.losses(images)
    torch.manual_seed(3)
    p = grey.train()(images).logits.sigmoid()
    expected = -(images * p.log() + (1 - images) * (1 - p).log()).sum()
    torch.testing.assert_close(losses["reconstruction"], expected)


def test_bounds_against_the_integral_over_codes() -> None:
    """With a code of one dimension log p(x) is an integral over a line."""
    torch.manual_seed(0)
    network = VAE(size=(4, 4), latent=1, width=4, hidden=8, binarise=False)
    with torch.no_grad():
        network.encoder.head.bias.copy_(torch.tensor([0.7, -0.5]))  # off the prior, so that the ELBO has a gap
        network.decoder.hidden.weight.mul_(5)
        network.decoder.convolutions[-1].weight.mul_(20)  # type: ignore[operator]
    x = pictures(1, 1, 4, 4).round()
    z = torch.linspace(-8, 8, 4001)[:, None]
    joint = Bernoulli(logits=network.decoder(z)).log_prob(x).sum((1, 2, 3)) + Normal(0, 1).log_prob(z[:, 0])
    log_p = float(joint.detach().double().logsumexp(0)) + math.log(16 / 4000)
    generator = torch.Generator().manual_seed(0)
    many = x.expand(4000, -1, -1, -1)
    elbo = network.elbo(many, generator)
    one = network.log_likelihood_bound(many, 1, generator)
    error = 4 * float(elbo.std() + one.std()) / math.sqrt(4000)
    assert float(one.mean()) == pytest.approx(float(elbo.mean()), abs=error)
    eight = float(network.log_likelihood_bound(many, 8, generator).mean())
    assert float(elbo.mean()) + error < eight < log_p
    tight = network.log_likelihood_bound(x.expand(4, -1, -1, -1), 5000, generator)
    assert tight.tolist() == pytest.approx([log_p] * 4, abs=0.1)


def test_codes_are_sampled_in_training_mode_alone() -> None:
    network, images = VAE(**TINY), pictures(2, 1, 28, 28)
    with torch.no_grad():
        network.encoder.head.bias[3:] = 1.0  # log variances
        answer = network.eval()(images)
        assert torch.equal(answer.z, answer.mean)
        assert torch.equal(network(images).logits, answer.logits)
        z = torch.stack([network.train()(images).z for _ in range(3000)])
    deviation = (0.5 * answer.log_variance).exp()
    torch.testing.assert_close(z.mean(0), answer.mean, atol=0.15, rtol=0)
    torch.testing.assert_close(z.std(0), deviation, atol=0, rtol=0.08)


def test_samples_depend_on_the_generator_alone() -> None:
    network = VAE(**TINY)
    first, again, other = (network.sample(3, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_losses_are_float32_under_autocast() -> None:
    network, images = VAE(**TINY), pictures(4, 1, 28, 28)
    torch.manual_seed(0)
    expected = network.losses(images)
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(0)
        losses = network.losses(images)
    for name, value in losses.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(expected[name].item(), rel=0.02)
