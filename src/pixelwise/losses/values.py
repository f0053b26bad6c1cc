"""Losses of per-pixel regression: means over the pixels whose true value is known.

All losses take predicted values (N, C, H, W) and true values of the same shape or, for one value per pixel, (N, H, W).
A true value of NaN is void: its pixel is left out of the mean. Losses are computed in float32 whatever the prediction's
dtype (float64 stays), and are 0 with zero gradient if no pixel counts. An error beyond `LARGEST_ERROR` counts as an
error of that size, so a finite prediction never has an infinite loss. In a run of several processes sums and counts go
over all of them, so the value is that of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pixelwise.distributed import total

LARGEST_ERROR = 1e15
"""Largest error that counts in full: the sum of its square over the 10^8 values of a large batch fits into float32."""


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """The mean absolute error. Its optimum is the median of the values that a pixel may have."""
    errors, counted = _errors(prediction, target)
    return _mean(errors.abs(), counted)


def l2(prediction: Tensor, target: Tensor) -> Tensor:
    """The mean squared error. Its optimum is the mean of the values that a pixel may have."""
    errors, counted = _errors(prediction, target)
    return _mean(errors.square(), counted)


def huber(prediction: Tensor, target: Tensor, *, delta: float = 1.0) -> Tensor:
    """Huber loss: e^2 / 2 for errors |e| <= delta and delta (|e| - delta / 2) beyond.

    Huber, Annals of Math. Statistics 1964.

    Args:
        delta: in the unit of the values; beyond it outliers have a gradient of constant size.

    Raises:
        ValueError: delta is not positive.
    """
    if not delta > 0:
        raise ValueError(f"delta: found {delta}, expected a positive number")
    errors, counted = _errors(prediction, target)
    size = errors.abs()
    inside = size.clamp(max=delta)
    return _mean(inside * (size - inside / 2), counted)


VALUE_LOSSES: dict[str, Callable[..., Tensor]] = {"huber": huber, "l1": l1, "l2": l2}
"""Name in a recipe -> function."""


def _errors(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """prediction - target, 0 for void targets, and whether each value counts.

    Raises:
        ValueError: the shapes differ.
    """
    if target.dim() == prediction.dim() - 1 and prediction.shape[1] == 1:
        target = target.unsqueeze(1)
    if target.shape != prediction.shape:
        raise ValueError(
            f"predictions are {tuple(prediction.shape)} and true values {tuple(target.shape)}; expected the same "
            "shape, or (N, 1, H, W) and (N, H, W)"
        )
    if prediction.dtype != torch.float64:
        prediction = prediction.float()
    counted = ~target.isnan()
    errors = (prediction - target.to(prediction.dtype).where(counted, 0)).where(counted, 0)
    return errors.clamp(-LARGEST_ERROR, LARGEST_ERROR), counted


def _mean(costs: Tensor, counted: Tensor) -> Tensor:
    count = total(counted.sum().to(costs.dtype))
    return total(costs.sum()) / count.where(count > 0, 1)
