"""Inputs of the losses, prepared once for all terms of a sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from pixelwise.distributed import total
from pixelwise.hardware import constants

Weights = Tensor | Sequence[float] | None


@dataclass(frozen=True)
class Inputs:
    """Everything that a loss depends on; all terms of a sum share its softmax.

    Attributes:
        logits: (N, K, H, W), two classes if the network has one logit. Everything computed from them is float32, or
            float64 if they are.
        target: (N, H, W) class ids.
        weights: (K,) class weights.
        foreground_only: whether losses that average over classes use the foreground alone; true for one logit.
        label_smoothing: how far the targets of cross entropy are smoothed, 0 to 1.
        gamma: exponent of the focal loss.
        per_image: whether Lovász losses are averaged over pictures, rather than computed once for all pixels of the
            batch.
        only_present: whether the Lovász losses leave out classes without a pixel in the target.
        pixel_weights: (N, H, W), factors of each pixel in means over pixels; None for 1.
    """

    logits: Tensor
    target: Tensor
    ignore_index: int
    weights: Tensor
    foreground_only: bool
    label_smoothing: float
    gamma: float
    per_image: bool
    only_present: bool
    pixel_weights: Tensor | None = None

    @cached_property
    def counted(self) -> Tensor:
        """(N, H, W) bool, whether the pixel has a label."""
        return self.target != self.ignore_index

    @cached_property
    def ids(self) -> Tensor:
        """(N, H, W) class ids, 0 for void pixels."""
        return self.target.where(self.counted, 0)

    @cached_property
    def log_p(self) -> Tensor:
        """(N, K, H, W) log-probabilities."""
        return F.log_softmax(_exact(self.logits), 1)

    @cached_property
    def _true_and_sums(self) -> tuple[Tensor, Tensor]:
        return _TrueAndSums.apply(self.logits, self.ids, self.counted)

    @property
    def log_p_true(self) -> Tensor:
        """(N, H, W) log-probability of the true class."""
        return self._true_and_sums[0]

    @cached_property
    def truth(self) -> Tensor:
        """(K,) int64, the number of labelled pixels per class.

        Unlike `bincount`, a scatter does not wait for the device.
        """
        ids, counted = self.ids.flatten(), self.counted.flatten()
        return ids.new_zeros(len(self.weights)).scatter_add(0, ids, counted.to(ids.dtype))

    @cached_property
    def shares(self) -> Tensor:
        """(N, H, W), the factor of each pixel in addition to its class weight; 0 for void pixels."""
        return self.counted if self.pixel_weights is None else self.counted * self.pixel_weights

    def mean(self, summed: Tensor) -> Tensor:
        """A sum over pixels divided by the sum of their weights, over all processes; 0 if that sum is 0."""
        if self.pixel_weights is None:
            weight = total((self.truth * self.weights).sum())
        else:
            weight = total((self.shares * self.weights[self.ids]).sum())
        return total(summed) / weight.where(weight > 0, 1.0)

    def overlaps(self) -> tuple[Tensor, Tensor, Tensor]:
        """Per class: sum(p y), sum(p), sum(y), each (K,), over the counted pixels of the whole batch."""
        log_p_true, predicted = self._true_and_sums
        p_true = log_p_true.exp() * self.counted
        intersection = torch.zeros_like(predicted).scatter_add(0, self.ids.flatten(), p_true.flatten())
        intersection, predicted, truth = total(torch.stack([intersection, predicted, self.truth.to(p_true.dtype)]))
        return intersection, predicted, truth

    def scored(self, truth: Tensor) -> Tensor:
        """(K,) bool, the classes that a mean over classes includes: those with pixels in the target."""
        present = truth > 0
        if self.foreground_only:
            present = present & (torch.arange(len(truth), device=truth.device) > 0)
        return present


class _TrueAndSums(Function):
    """Log-probability of the true class per pixel, and sum of probabilities over labelled pixels per class.

    Cross entropy and the overlap losses depend on nothing else. With G the gradient for the first and S for the second,
    the gradient for logit k of a labelled pixel is p_k (S_k - sum(p S) - G), plus G if k is the true class. This takes
    three passes over maps of K channels; the chain of softmax, gather, exponential and sum takes eight.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, ids: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        # Contiguous planes: in channels_last a softmax over the few adjacent values is four times as slow.
        log_p = torch.log_softmax(_exact(logits).contiguous(), 1)
        log_p_true = log_p.gather(1, ids.unsqueeze(1)).squeeze(1)
        p = log_p.exp_().mul_(counted.unsqueeze(1))
        ctx.save_for_backward(p, ids)
        ctx.dtype = logits.dtype
        ctx.layout = torch.channels_last if logits.is_contiguous(memory_format=torch.channels_last) else None
        return log_p_true, p.sum((0, 2, 3))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_true, of_sums = gradients
        p, ids = ctx.saved_tensors
        mean = torch.einsum("nkhw,k->nhw", p, of_sums).add_(of_true)
        gradient = torch.sub(of_sums[:, None, None], mean.unsqueeze(1)).mul_(p)
        gradient.scatter_add_(1, ids.unsqueeze(1), of_true.unsqueeze(1))
        return gradient.to(ctx.dtype, memory_format=ctx.layout or torch.preserve_format), None, None


def _exact(logits: Tensor) -> Tensor:
    """Converts logits to the type in which losses are computed: float32, or float64 if the logits are float64."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def prepare(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    *,
    class_weights: Weights = None,
    label_smoothing: float = 0.0,
    gamma: float = 2.0,
    per_image: bool = False,
    only_present: bool = True,
    pixel_weights: Tensor | None = None,
) -> Inputs:
    """(N, K, H, W), (N, H, W) -> the inputs that the terms of a loss share; the options are those of `Inputs`."""
    one_logit = logits.shape[1] == 1
    if one_logit:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    dtype = _exact(logits[:0]).dtype
    if class_weights is None:
        weights = logits.new_ones(logits.shape[1], dtype=dtype)
    elif isinstance(class_weights, Tensor):
        weights = class_weights.to(logits.device, dtype)
    else:
        weights = constants(tuple(class_weights), dtype, logits.device)
    return Inputs(
        logits,
        target,
        ignore_index,
        weights,
        one_logit,
        label_smoothing,
        gamma,
        per_image,
        only_present,
        pixel_weights,
    )
