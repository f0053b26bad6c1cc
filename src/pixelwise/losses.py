"""Losses of dense prediction.

All take logits (N, K, H, W) and class ids (N, H, W), leave out pixels whose id is `ignore_index`, compute in float32
whatever the logits' dtype, are finite for logits of any size, and are 0 with zero gradient where no pixel counts. One
logit (K = 1) is the foreground's against a background of logit 0; ids are then 0 and 1. In a run of several processes
the sums go over all of them, so the value is that of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.distributed import total
from pixelwise.errors import unknown

Weights = Tensor | Sequence[float] | None


@dataclass(frozen=True)
class _Inputs:
    """What every loss is a function of; the softmax in it is shared by all terms of a sum.

    Attributes:
        log_p: (N, K, H, W) float32 log-probabilities; two classes for one logit.
        target: (N, H, W).
        weights: (K,).
        foreground_only: of one logit, for losses that score classes.
    """

    log_p: Tensor
    target: Tensor
    ignore_index: int
    weights: Tensor
    foreground_only: bool
    label_smoothing: float
    gamma: float

    @cached_property
    def counted(self) -> Tensor:
        """(N, H, W), whether the pixel has a label."""
        return self.target != self.ignore_index

    @cached_property
    def ids(self) -> Tensor:
        """(N, H, W) class ids, 0 where there is no label."""
        return self.target.where(self.counted, 0)

    @cached_property
    def log_p_true(self) -> Tensor:
        """(N, H, W) log-probability of the true class."""
        return self.log_p.gather(1, self.ids.unsqueeze(1)).squeeze(1)

    def mean(self, summed: Tensor) -> Tensor:
        """A sum over pixels divided by the sum of their weights, over all processes; 0 where that is 0."""
        counts = torch.bincount(self.target[self.counted].flatten(), minlength=len(self.weights))
        weight = total((counts * self.weights).sum())
        return total(summed) / weight.where(weight > 0, 1.0)

    def overlaps(self) -> tuple[Tensor, Tensor, Tensor]:
        """Per class: sum(p y), sum(p), sum(y), each (K,), over the counted pixels of the whole batch."""
        p = self.log_p.exp() * self.counted.unsqueeze(1)
        p_true = self.log_p_true.exp() * self.counted
        classes = p.shape[1]
        intersection = p.new_zeros(classes).scatter_add(0, self.ids.flatten(), p_true.flatten())
        truth = torch.bincount(self.target[self.counted].flatten(), minlength=classes).to(p.dtype)
        intersection, predicted, truth = total(torch.stack([intersection, p.sum((0, 2, 3)), truth]))
        return intersection, predicted, truth

    def mean_over_present(self, score: Tensor, truth: Tensor) -> Tensor:
        """1 - score, averaged over the classes that the truth has; 0 where it has none."""
        present = truth > 0
        if self.foreground_only:
            present = present & (torch.arange(len(truth), device=truth.device) > 0)
        # The product keeps the graph connected where no class is present.
        return ((1 - score) * present).sum() / present.sum().clamp_min(1)


def _inputs(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    class_weights: Weights = None,
    label_smoothing: float = 0.0,
    gamma: float = 2.0,
) -> _Inputs:
    one_logit = logits.shape[1] == 1
    logits = logits.float()
    if one_logit:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    if class_weights is None:
        weights = logits.new_ones(logits.shape[1])
    else:
        weights = torch.as_tensor(class_weights, dtype=logits.dtype, device=logits.device)
    return _Inputs(F.log_softmax(logits, 1), target, ignore_index, weights, one_logit, label_smoothing, gamma)


def _cross_entropy(x: _Inputs) -> Tensor:
    summed = -(x.log_p_true * x.weights[x.ids] * x.counted).sum()
    if x.label_smoothing > 0:
        uniform = -(x.log_p * x.weights[:, None, None] * x.counted.unsqueeze(1)).sum() / len(x.weights)
        summed = (1 - x.label_smoothing) * summed + x.label_smoothing * uniform
    return x.mean(summed)


def _focal(x: _Inputs) -> Tensor:
    # 1 - p as -expm1(log p): no cancellation where p is near 1.
    pixel = -((-torch.expm1(x.log_p_true)).clamp_min(1e-12) ** x.gamma) * x.log_p_true * x.weights[x.ids]
    return x.mean((pixel * x.counted).sum())


def _dice(x: _Inputs) -> Tensor:
    intersection, predicted, truth = x.overlaps()
    return x.mean_over_present(2 * intersection / (predicted + truth).clamp_min(1e-7), truth)


def _jaccard(x: _Inputs) -> Tensor:
    intersection, predicted, truth = x.overlaps()
    return x.mean_over_present(intersection / (predicted + truth - intersection).clamp_min(1e-7), truth)


_TERMS: dict[str, Callable[[_Inputs], Tensor]] = {
    "cross_entropy": _cross_entropy,
    "dice": _dice,
    "focal": _focal,
    "jaccard": _jaccard,
}


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
    return _cross_entropy(_inputs(logits, target, ignore_index, class_weights, label_smoothing))


def focal(
    logits: Tensor,
    target: Tensor,
    ignore_index: int = 255,
    *,
    gamma: float = 2.0,
    class_weights: Weights = None,
) -> Tensor:
    """Focal loss (1 - p)^gamma (-log p), the weighted mean over pixels (Lin et al., ICCV 2017, equation 5)."""
    return _focal(_inputs(logits, target, ignore_index, class_weights, gamma=gamma))


def dice(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """Soft Dice loss: 1 - the mean over classes of 2 sum(p y) / (sum(p) + sum(y)), sums over the whole batch.

    Classes without a pixel in the batch's truth are left out of the mean, so they do not dilute it: where every pixel
    is wrong the loss is 1, whatever the number of classes. With one logit the foreground alone is scored.
    Milletari et al., 3DV 2016, section 3, without the squares.
    """
    return _dice(_inputs(logits, target, ignore_index))


def jaccard(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """Soft Jaccard loss: as `dice`, with sum(p y) / (sum(p) + sum(y) - sum(p y)) (Rahman & Wang, ISVC 2016)."""
    return _jaccard(_inputs(logits, target, ignore_index))


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
    ignore_index: int = 255

    def __post_init__(self) -> None:
        for name in self.terms:
            if name not in LOSSES:
                raise unknown("loss", name, LOSSES)

    def __call__(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """(N, K, H, W), (N, H, W) -> each term by name, unweighted, and their sum as `loss`."""
        x = _inputs(logits, target, self.ignore_index, self.class_weights, self.label_smoothing, self.focal_gamma)
        values = {name: _TERMS[name](x) for name in self.terms}
        values["loss"] = torch.stack([self.terms[name] * value for name, value in values.items()]).sum()
        return values
