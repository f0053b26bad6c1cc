"""Losses of a generative adversarial network (Goodfellow et al., NeurIPS 2014) from the discriminator's logits.

Logits may have any shape: one per picture, or one per patch. Losses are computed in float32 whatever the logits' dtype
(float64 stays), as softplus, so they are finite for logits of any magnitude. In a run of several processes the means
are over the logits of all processes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.distributed import total


def generator_loss(fake_logits: Tensor) -> Tensor:
    """The non-saturating loss -log D(G(z)), averaged over logits (section 3); log 2 if D cannot decide."""
    return _mean(_real_cost(_precise(fake_logits)))


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """-log D(x) - log(1 - D(G(z))), each averaged over its logits (equation 1); 2 log 2 if D cannot decide.

    Args:
        label_smoothing: a, if real pictures have the target 1 - a. Fakes keep the target 0 (one-sided label smoothing,
            Salimans et al., NeurIPS 2016, section 3.4).

    Raises:
        ValueError: the smoothing is below 0, or not below 1.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing: found {label_smoothing}, expected at least 0 and less than 1")
    real, fake = _precise(real_logits), _precise(fake_logits)
    real_cost = (1 - label_smoothing) * _real_cost(real) + label_smoothing * _fake_cost(real)
    return _mean(real_cost) + _mean(_fake_cost(fake))


def _real_cost(logits: Tensor) -> Tensor:
    """-log D, the cost of each logit for the target 1."""
    return F.softplus(-logits)


def _fake_cost(logits: Tensor) -> Tensor:
    """-log(1 - D), the cost of each logit for the target 0."""
    return F.softplus(logits)


def _precise(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _mean(costs: Tensor) -> Tensor:
    return total(costs.sum()) / total(costs.new_full((), costs.numel()))
