"""What the losses are functions of, prepared once for all terms of a sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.distributed import total
from pixelwise.hardware import constants

Weights = Tensor | Sequence[float] | None


@dataclass(frozen=True)
class Inputs:
    """What every loss is a function of; the softmax in it is shared by all terms of a sum.

    Attributes:
        log_p: (N, K, H, W) log-probabilities, float32, or float64 where the logits are; two classes for one logit.
        target: (N, H, W).
        weights: (K,).
        foreground_only: of one logit, for losses that score classes.
        label_smoothing: of cross entropy.
        gamma: of the focal loss.
        per_image: Lovász losses are the mean over pictures, rather than one of all pixels of the batch.
        only_present: the Lovász softmax leaves out classes that the truth lacks.
        pixel_weights: (N, H, W), factors of each pixel in means over pixels; None for 1.
    """

    log_p: Tensor
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
        """(N, H, W), whether the pixel has a label."""
        return self.target != self.ignore_index

    @cached_property
    def ids(self) -> Tensor:
        """(N, H, W) class ids, 0 where there is no label."""
        return self.target.where(self.counted, 0)

    @cached_property
    def truth(self) -> Tensor:
        """(K,) int64, the labelled pixels of each class. Unlike `bincount`, a scatter does not wait for the device."""
        ids, counted = self.ids.flatten(), self.counted.flatten()
        return ids.new_zeros(self.log_p.shape[1]).scatter_add(0, ids, counted.to(ids.dtype))

    @cached_property
    def log_p_true(self) -> Tensor:
        """(N, H, W) log-probability of the true class."""
        return self.log_p.gather(1, self.ids.unsqueeze(1)).squeeze(1)

    @cached_property
    def shares(self) -> Tensor:
        """(N, H, W), by how much each pixel counts beside the weight of its class: 0 where there is no label."""
        return self.counted if self.pixel_weights is None else self.counted * self.pixel_weights

    def mean(self, summed: Tensor) -> Tensor:
        """A sum over pixels divided by the sum of their weights, over all processes; 0 where that is 0."""
        if self.pixel_weights is None:
            weight = total((self.truth * self.weights).sum())
        else:
            weight = total((self.shares * self.weights[self.ids]).sum())
        return total(summed) / weight.where(weight > 0, 1.0)

    def overlaps(self) -> tuple[Tensor, Tensor, Tensor]:
        """Per class: sum(p y), sum(p), sum(y), each (K,), over the counted pixels of the whole batch."""
        p = self.log_p.exp() * self.counted.unsqueeze(1)
        p_true = self.log_p_true.exp() * self.counted
        classes = p.shape[1]
        intersection = p.new_zeros(classes).scatter_add(0, self.ids.flatten(), p_true.flatten())
        parts = torch.stack([intersection, p.sum((0, 2, 3)), self.truth.to(p.dtype)])
        intersection, predicted, truth = total(parts)
        return intersection, predicted, truth

    def scored(self, truth: Tensor) -> Tensor:
        """(K,) bool, the classes that a mean over classes takes in: those of which the truth has pixels."""
        present = truth > 0
        if self.foreground_only:
            present = present & (torch.arange(len(truth), device=truth.device) > 0)
        return present


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
    """(N, K, H, W), (N, H, W) -> what the terms of a loss share; the options are those of `Inputs`."""
    one_logit = logits.shape[1] == 1
    if logits.dtype != torch.float64:
        logits = logits.float()
    if one_logit:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    if class_weights is None:
        weights = logits.new_ones(logits.shape[1])
    elif isinstance(class_weights, Tensor):
        weights = class_weights.to(logits)
    else:
        weights = constants(tuple(class_weights), logits.dtype, logits.device)
    return Inputs(
        F.log_softmax(logits, 1),
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
