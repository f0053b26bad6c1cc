"""Losses of generative adversarial networks from the discriminator's logits.

Logits may have any shape: one per picture, or one per patch. Losses are computed in float32 whatever the logits' dtype
(float64 stays). Logarithms are computed as softplus, so losses are finite for logits of any magnitude. In a run of
several processes the means are over the logits of all processes.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.distributed import total

Kind = Literal["non_saturating", "minimax", "wasserstein", "least_squares"]
"""The cost of a logit, where D is its sigmoid:

- non_saturating: -log D for real and -log(1 - D) for generated pictures; the generator minimises -log D (Goodfellow et
  al., NIPS 2014, section 3).
- minimax: the same, but the generator maximises -log(1 - D) (equation 1), whose gradient vanishes where the
  discriminator is certain.
- wasserstein: the logit itself (Arjovsky et al., ICML 2017, arXiv:1701.07875).
- least_squares: the squared distance of the logit to 1 for real and 0 for generated pictures (Mao et al., ICCV 2017,
  arXiv:1611.04076).
"""
KINDS: tuple[Kind, ...] = get_args(Kind)
ZERO_SUM: frozenset[Kind] = frozenset({"minimax", "wasserstein"})
"""The losses with which the generator loses what the discriminator wins."""


def generator_loss(fake_logits: Tensor, kind: Kind = "non_saturating") -> Tensor:
    """The generator's loss, averaged over logits; log 2 for a logarithmic one if D cannot decide."""
    fake = _precise(fake_logits)
    if kind == "minimax":
        return -mean(_fake_cost(fake, kind))
    return mean(_real_cost(fake, kind))


def discriminator_loss(
    real_logits: Tensor, fake_logits: Tensor, kind: Kind = "non_saturating", *, label_smoothing: float = 0.0
) -> Tensor:
    """The discriminator's loss: the costs of real and of generated pictures, each averaged over its logits.

    It is 2 log 2 for a logarithmic one if D cannot decide.

    Args:
        label_smoothing: a, if real pictures have the target 1 - a. Fakes keep the target 0 (one-sided label smoothing,
            Salimans et al., NeurIPS 2016, section 3.4).

    Raises:
        ValueError: the smoothing is below 0, or not below 1.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing: found {label_smoothing}, expected at least 0 and less than 1")
    real, fake = _precise(real_logits), _precise(fake_logits)
    real_cost = (1 - label_smoothing) * _real_cost(real, kind) + label_smoothing * _fake_cost(real, kind)
    return mean(real_cost) + mean(_fake_cost(fake, kind))


def _real_cost(logits: Tensor, kind: Kind) -> Tensor:
    """The cost of each logit for the target 1."""
    if kind == "wasserstein":
        return -logits
    return (logits - 1).square() if kind == "least_squares" else F.softplus(-logits)


def _fake_cost(logits: Tensor, kind: Kind) -> Tensor:
    """The cost of each logit for the target 0."""
    if kind == "wasserstein":
        return logits
    return logits.square() if kind == "least_squares" else F.softplus(logits)


def _precise(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def mean(costs: Tensor) -> Tensor:
    """The mean over the logits of all processes."""
    return total(costs.sum()) / total(costs.new_full((), costs.numel()))
