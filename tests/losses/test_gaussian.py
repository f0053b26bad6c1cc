"""KL divergence and densities of diagonal Gaussians against torch.distributions."""

from __future__ import annotations

import torch
from torch.distributions import Normal, kl_divergence

from pixelwise.losses.gaussian import gaussian_kl, gaussian_log_density


def test_kl_equals_torch_distributions() -> None:
    torch.manual_seed(0)
    mean, log_variance = 2 * torch.randn(9, 4, dtype=torch.float64), 3 * torch.randn(9, 4, dtype=torch.float64)
    posterior = Normal(mean, (0.5 * log_variance).exp())
    torch.testing.assert_close(gaussian_kl(mean, log_variance), kl_divergence(posterior, Normal(0.0, 1.0)).sum(1))
    assert (gaussian_kl(mean, log_variance) > 0).all()


def test_kl_is_zero_at_the_prior_and_exact_near_it() -> None:
    assert torch.equal(gaussian_kl(torch.zeros(2, 3), torch.zeros(2, 3)), torch.zeros(2))
    near = torch.full((1, 1), 1e-4)
    torch.testing.assert_close(gaussian_kl(torch.zeros(1, 1), near), torch.tensor([0.25e-8]), rtol=0.02, atol=0)


def test_kl_of_bfloat16_is_computed_in_float32() -> None:
    mean = torch.full((1, 300), 0.1, dtype=torch.bfloat16)
    found = gaussian_kl(mean, torch.zeros_like(mean))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, (mean.float().square() / 2).sum(1))


def test_density_equals_torch_distributions() -> None:
    torch.manual_seed(0)
    z, mean, log_variance = torch.randn(3, 5, 6).double().unbind(0)
    density = Normal(mean, (0.5 * log_variance).exp()).log_prob(z).sum(1)
    torch.testing.assert_close(gaussian_log_density(z, mean, log_variance), density)
    torch.testing.assert_close(gaussian_log_density(z), Normal(0.0, 1.0).log_prob(z).sum(1))
