"""Gaussians with diagonal covariance: the KL divergence in the loss of a VAE, and log densities of codes."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, I)) per sample, in nats: the sum over the dimensions of the code.

    Kingma & Welling, ICLR 2014, appendix B: -1/2 sum(1 + log variance - mean^2 - variance). Computed as
    1/2 sum(mean^2 + expm1(log variance) - log variance), which stays exact where the posterior is close to the prior,
    in float32 whatever the dtype of the inputs (float64 stays).

    Args:
        mean, log_variance: (N, D).

    Returns:
        (N,), at least 0 up to rounding; 0 at mean 0 and log variance 0.
    """
    if mean.dtype != torch.float64:
        mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * (mean.square() + log_variance.expm1() - log_variance).sum(-1)


def gaussian_log_density(values: Tensor, mean: Tensor | float = 0.0, log_variance: Tensor | float = 0.0) -> Tensor:
    """log N(values; mean, variance) per sample, in nats: (..., D) -> (...); the standard Gaussian by default."""
    if values.dtype != torch.float64:
        values = values.float()
    log_variance = torch.as_tensor(log_variance, dtype=values.dtype, device=values.device)
    squared = (values - mean).square() * (-log_variance).exp()
    return -0.5 * (squared + log_variance + math.log(2 * math.pi)).sum(-1)
