"""What predictions for one picture say about each other: pseudo-labels, and the distance of probabilities.

Logits are (N, K) for classes or (N, K, H, W) for pixels. A single logit (K = 1) is the foreground's against a
background of logit 0. Everything is computed in float32, and float64 stays. In a run of several processes, means are
over all of them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.distributed import total


def log_probabilities(logits: Tensor) -> Tensor:
    """Logits (N, K, ...) -> the logarithms of the probabilities; two classes for a single logit."""
    if logits.dtype != torch.float64:
        logits = logits.float()
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    return F.log_softmax(logits, 1)


def pseudo_labels(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The most probable classes (N, ...) int64, and their probabilities (N, ...)."""
    confidence, labels = log_probabilities(logits).max(1)
    return labels, confidence.exp()


def probability_distance(logits: Tensor, other_logits: Tensor) -> Tensor:
    """Squared distance of two probability vectors, between 0 and 2, averaged over positions.

    As in Tarvainen & Valpola, NeurIPS 2017, section 3.2, but summed over classes; their mean over K classes is K times
    smaller.

    Args:
        logits, other_logits: (N, K, ...).
    """
    p, q = log_probabilities(logits).exp(), log_probabilities(other_logits).exp()
    distance = (p - q).square().sum(1)
    return total(distance.sum()) / total(distance.new_full((), distance.numel()))
