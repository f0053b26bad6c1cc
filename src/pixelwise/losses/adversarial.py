"""Losses of a generative adversarial network (Goodfellow et al., NeurIPS 2014) from the discriminator's logits.

Logits may have any shape: one per picture, or one per patch. Losses are computed in float32 whatever the logits' dtype
(float64 stays), as softplus, so they are finite for logits of any size. In a run of several processes the means are
over the logits of all of them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.distributed import total


def generator_loss(fake_logits: Tensor) -> Tensor:
    """The non-saturating loss -log D(G(z)) (section 3), the mean over logits: log 2 where D cannot tell."""
    return _mean(_real_cost(_precise(fake_logits)))


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """-log D(x) - log(1 - D(G(z))), each the mean over its logits (equation 1): 2 log 2 where D cannot tell.

    Args:
        label_smoothing: a where real pictures have the target 1 - a; fakes keep 0 (one-sided label smoothing, Salimans
            et al., NeurIPS 2016, section 3.4).

    Raises:
        ValueError: a smoothing outside 0..1.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"a label smoothing of {label_smoothing}, at least 0 and less than 1 expected")
    real, fake = _precise(real_logits), _precise(fake_logits)
    real_cost = (1 - label_smoothing) * _real_cost(real) + label_smoothing * _fake_cost(real)
    return _mean(real_cost) + _mean(_fake_cost(fake))


def _real_cost(logits: Tensor) -> Tensor:
    """-log D, the cost of each logit where the target is 1."""
    return F.softplus(-logits)


def _fake_cost(logits: Tensor) -> Tensor:
    """-log(1 - D), the cost of each logit where the target is 0."""
    return F.softplus(logits)


def _precise(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _mean(costs: Tensor) -> Tensor:
    return total(costs.sum()) / total(costs.new_full((), costs.numel()))
