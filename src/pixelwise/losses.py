"""Losses of dense prediction.

All take logits (N, K, H, W) and class ids (N, H, W), leave out pixels whose id is `ignore_index`, compute in float32
whatever the logits' dtype, are finite for logits of any size, and are 0 with zero gradient where no pixel counts. One
logit (K = 1) is the foreground's against a background of logit 0; ids are then 0 and 1. In a run of several processes
the sums go over all of them, so the value is that of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.distributed import total
from pixelwise.errors import unknown

Weights = Tensor | Sequence[float] | None


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    ignore_index: int = 255,
    *,
    class_weights: Weights = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross entropy, the mean over pixels weighted by the weight of their class.

    Args:
        class_weights: (K,), none for equal ones.
        label_smoothing: a in y (1 - a) + a / K (Szegedy et al., CVPR 2016, section 7).
    """
    return _cross_entropy(_log_probabilities(logits), target, ignore_index, class_weights, label_smoothing)


def focal(
    logits: Tensor,
    target: Tensor,
    ignore_index: int = 255,
    *,
    gamma: float = 2.0,
    class_weights: Weights = None,
) -> Tensor:
    """Focal loss (1 - p)^gamma (-log p), the weighted mean over pixels (Lin et al., ICCV 2017, equation 5)."""
    return _focal(_log_probabilities(logits), target, ignore_index, class_weights, gamma)


def dice(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """Soft Dice loss: 1 - the mean over classes of 2 sum(p y) / (sum(p) + sum(y)), sums over the whole batch.

    Classes without a pixel in the batch's truth are left out of the mean, so they do not dilute it: where every pixel
    is wrong the loss is 1, whatever the number of classes. With one logit the foreground alone is scored.
    Milletari et al., 3DV 2016, section 3, without the squares.
    """
    return _dice(_log_probabilities(logits), target, ignore_index, foreground_only=logits.shape[1] == 1)


def jaccard(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """Soft Jaccard loss: as `dice`, with sum(p y) / (sum(p) + sum(y) - sum(p y)) (Rahman & Wang, ISVC 2016)."""
    return _jaccard(_log_probabilities(logits), target, ignore_index, foreground_only=logits.shape[1] == 1)


def _log_probabilities(logits: Tensor) -> Tensor:
    logits = logits.float()
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    return F.log_softmax(logits, dim=1)


def _as_weights(class_weights: Weights, log_p: Tensor) -> Tensor:
    if class_weights is None:
        return log_p.new_ones(log_p.shape[1])
    return torch.as_tensor(class_weights, dtype=log_p.dtype, device=log_p.device)


def _mean(summed: Tensor, target: Tensor, ignore_index: int, weights: Tensor) -> Tensor:
    """A sum over pixels divided by the sum of their weights, over all processes; 0 where that is 0."""
    counts = torch.bincount(target[target != ignore_index].flatten(), minlength=len(weights))
    weight = total((counts * weights).sum())
    return total(summed) / weight.where(weight > 0, 1.0)


def _cross_entropy(
    log_p: Tensor, target: Tensor, ignore_index: int, class_weights: Weights, label_smoothing: float
) -> Tensor:
    weights = _as_weights(class_weights, log_p)
    summed = F.nll_loss(log_p, target, weights, ignore_index=ignore_index, reduction="sum")
    if label_smoothing > 0:
        counted = (target != ignore_index).unsqueeze(1)
        uniform = -(log_p * weights[:, None, None] * counted).sum() / log_p.shape[1]
        summed = (1 - label_smoothing) * summed + label_smoothing * uniform
    return _mean(summed, target, ignore_index, weights)


def _focal(log_p: Tensor, target: Tensor, ignore_index: int, class_weights: Weights, gamma: float) -> Tensor:
    weights = _as_weights(class_weights, log_p)
    counted = target != ignore_index
    ids = target.where(counted, 0)
    log_p_true = log_p.gather(1, ids.unsqueeze(1)).squeeze(1)
    # 1 - p as -expm1(log p): no cancellation where p is near 1.
    pixel = -((-torch.expm1(log_p_true)).clamp_min(1e-12) ** gamma) * log_p_true * weights[ids]
    return _mean((pixel * counted).sum(), target, ignore_index, weights)


def _overlap_sums(log_p: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Per class: sum(p y), sum(p), sum(y), each (K,), over the counted pixels of the batch."""
    classes = log_p.shape[1]
    counted = target != ignore_index
    p = log_p.exp() * counted.unsqueeze(1)
    ids = target.where(counted, 0)
    p_true = p.gather(1, ids.unsqueeze(1)).flatten()
    intersection = p.new_zeros(classes).scatter_add(0, ids.flatten(), p_true)
    truth = torch.bincount(target[counted].flatten(), minlength=classes).to(p.dtype)
    intersection, predicted, truth = total(torch.stack([intersection, p.sum((0, 2, 3)), truth]))
    return intersection, predicted, truth


def _mean_over_present(score: Tensor, truth: Tensor, foreground_only: bool) -> Tensor:
    present = truth > 0
    if foreground_only:
        present = present & (torch.arange(len(truth), device=truth.device) > 0)
    # The product keeps the graph connected where no class is present.
    return ((1 - score) * present).sum() / present.sum().clamp_min(1)


def _dice(log_p: Tensor, target: Tensor, ignore_index: int, foreground_only: bool) -> Tensor:
    intersection, predicted, truth = _overlap_sums(log_p, target, ignore_index)
    score = 2 * intersection / (predicted + truth).clamp_min(1e-7)
    return _mean_over_present(score, truth, foreground_only)


def _jaccard(log_p: Tensor, target: Tensor, ignore_index: int, foreground_only: bool) -> Tensor:
    intersection, predicted, truth = _overlap_sums(log_p, target, ignore_index)
    score = intersection / (predicted + truth - intersection).clamp_min(1e-7)
    return _mean_over_present(score, truth, foreground_only)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": cross_entropy,
    "dice": dice,
    "focal": focal,
    "jaccard": jaccard,
}
"""Name in a recipe -> function."""


@dataclass(frozen=True)
class LossSum:
    """A weighted sum of losses that share one softmax.

    Attributes:
        terms: name in `LOSSES` -> factor.
        class_weights: (K,) for the losses that are means over pixels.

    Raises:
        UserError: an unknown name.
    """

    terms: Mapping[str, float]
    class_weights: Weights = None
    label_smoothing: float = 0.0
    focal_gamma: float = 2.0
    ignore_index: int = field(default=255)

    def __post_init__(self) -> None:
        for name in self.terms:
            if name not in LOSSES:
                raise unknown("loss", name, LOSSES)

    def __call__(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """(N, K, H, W), (N, H, W) -> each term by name, unweighted, and their sum as `loss`."""
        log_p = _log_probabilities(logits)
        one_logit = logits.shape[1] == 1
        values: dict[str, Tensor] = {}
        for name in self.terms:
            if name == "cross_entropy":
                values[name] = _cross_entropy(
                    log_p, target, self.ignore_index, self.class_weights, self.label_smoothing
                )
            elif name == "focal":
                values[name] = _focal(log_p, target, self.ignore_index, self.class_weights, self.focal_gamma)
            elif name == "dice":
                values[name] = _dice(log_p, target, self.ignore_index, one_logit)
            else:
                values[name] = _jaccard(log_p, target, self.ignore_index, one_logit)
        values["loss"] = torch.stack([self.terms[name] * value for name, value in values.items()]).sum()
        return values
