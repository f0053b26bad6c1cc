"""Weighted sums of losses, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pixelwise.errors import unknown
from pixelwise.losses.inputs import Inputs, Weights, prepare
from pixelwise.losses.lovasz import lovasz_hinge, lovasz_hinge_term, lovasz_softmax, lovasz_softmax_term
from pixelwise.losses.overlap import bce_log_dice, bce_log_dice_term, dice, dice_term, jaccard, jaccard_term
from pixelwise.losses.pixels import cross_entropy, cross_entropy_term, focal, focal_term

LOSSES: dict[str, Callable[..., Tensor]] = {
    "bce_log_dice": bce_log_dice,
    "cross_entropy": cross_entropy,
    "dice": dice,
    "focal": focal,
    "jaccard": jaccard,
    "lovasz_hinge": lovasz_hinge,
    "lovasz_softmax": lovasz_softmax,
}
"""Name in a recipe -> function."""

_TERMS: dict[str, Callable[[Inputs], Tensor]] = {
    "bce_log_dice": bce_log_dice_term,
    "cross_entropy": cross_entropy_term,
    "dice": dice_term,
    "focal": focal_term,
    "jaccard": jaccard_term,
    "lovasz_hinge": lovasz_hinge_term,
    "lovasz_softmax": lovasz_softmax_term,
}


@dataclass(frozen=True)
class LossSum:
    """A weighted sum of losses that share one softmax.

    Attributes:
        terms: name in `LOSSES` -> factor.
        class_weights: (K,) for the losses that are means over pixels.
        lovasz_per_image, lovasz_only_present: see `lovasz_softmax`.

    Raises:
        UserError: an unknown name.
    """

    terms: Mapping[str, float]
    class_weights: Weights = None
    label_smoothing: float = 0.0
    focal_gamma: float = 2.0
    ignore_index: int = 255
    lovasz_per_image: bool = False
    lovasz_only_present: bool = True

    def __post_init__(self) -> None:
        for name in self.terms:
            if name not in LOSSES:
                raise unknown("loss", name, LOSSES)

    def __call__(self, logits: Tensor, target: Tensor, pixel_weights: Tensor | None = None) -> dict[str, Tensor]:
        """(N, K, H, W), (N, H, W) -> each term by name, unweighted, and their sum as `loss`.

        Args:
            pixel_weights: (N, H, W), for the losses that are means over pixels.
        """
        x = prepare(
            logits,
            target,
            self.ignore_index,
            class_weights=self.class_weights,
            label_smoothing=self.label_smoothing,
            gamma=self.focal_gamma,
            per_image=self.lovasz_per_image,
            only_present=self.lovasz_only_present,
            pixel_weights=pixel_weights,
        )
        values = {name: _TERMS[name](x) for name in self.terms}
        values["loss"] = torch.stack([self.terms[name] * value for name, value in values.items()]).sum()
        return values
