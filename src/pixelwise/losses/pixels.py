"""Losses that are means over pixels: cross entropy and focal loss."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.losses.inputs import Inputs, Weights, prepare


def cross_entropy_term(x: Inputs) -> Tensor:
    summed = -(x.log_p_true * x.weights[x.ids] * x.shares).sum()
    if x.label_smoothing > 0:
        uniform = -(x.log_p * x.weights[:, None, None] * x.shares.unsqueeze(1)).sum() / len(x.weights)
        summed = (1 - x.label_smoothing) * summed + x.label_smoothing * uniform
    return x.mean(summed)


def focal_term(x: Inputs) -> Tensor:
    # 1 - p as -expm1(log p), without cancellation for p near 1.
    pixel = -((-torch.expm1(x.log_p_true)).clamp_min(1e-12) ** x.gamma) * x.log_p_true * x.weights[x.ids]
    return x.mean((pixel * x.shares).sum())


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    ignore_index: int = 255,
    *,
    class_weights: Weights = None,
    label_smoothing: float = 0.0,
    pixel_weights: Tensor | None = None,
) -> Tensor:
    """Cross entropy: the mean over pixels, weighted by class.

    Args:
        class_weights: (K,); None for equal weights.
        label_smoothing: a in y (1 - a) + a / K (Szegedy et al., CVPR 2016, section 7).
        pixel_weights: (N, H, W), further weights of pixels (Ronneberger et al., MICCAI 2015, equation 1).
    """
    return cross_entropy_term(
        prepare(
            logits,
            target,
            ignore_index,
            class_weights=class_weights,
            label_smoothing=label_smoothing,
            pixel_weights=pixel_weights,
        )
    )


def focal(
    logits: Tensor,
    target: Tensor,
    ignore_index: int = 255,
    *,
    gamma: float = 2.0,
    class_weights: Weights = None,
) -> Tensor:
    """Focal loss (1 - p)^gamma (-log p), the weighted mean over pixels (Lin et al., ICCV 2017, equation 5)."""
    return focal_term(prepare(logits, target, ignore_index, class_weights=class_weights, gamma=gamma))
