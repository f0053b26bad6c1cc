"""Box regression: the squared distance of a box's edges from the true edges, and its sum with classification losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pixelwise.distributed import total
from pixelwise.hardware import constants
from pixelwise.losses.sums import LossSum


def box_l2(boxes: Tensor, target: Tensor, present: Tensor, size: tuple[float, float]) -> Tensor:
    """The sum of the squared errors of a box's four edges, averaged over the boxes that have a target.

    Edges are measured as shares of the picture, so that the loss means the same for pictures of any size: at 0.01, a
    box is off by a twentieth of the picture at each edge. Source: Sermanet et al., ICLR 2014, arXiv:1312.6229, section
    4.2 (an l2 loss). In a run of several processes the mean is over the boxes of all of them. The loss is 0 with zero
    gradient if no box has a target.

    Args:
        boxes, target: (..., 4) xyxy in pixels: one box per picture, one per object, or one per position of a map.
        present: (...) bool, whether there is a true box; if not, the target may be anything, including NaN.
        size: height and width in pixels of the picture, or of the window in which the boxes were found.

    Raises:
        ValueError: the shapes do not match.
    """
    if boxes.shape != target.shape or boxes.shape[:-1] != present.shape or boxes.shape[-1] != 4:
        raise ValueError(
            f"box_l2: boxes are {tuple(boxes.shape)}, targets {tuple(target.shape)} and `present` is "
            f"{tuple(present.shape)}; expected are (..., 4), (..., 4) and (...)"
        )
    if boxes.dtype != torch.float64:
        boxes = boxes.float()
    height, width = size
    errors = (boxes - target) / constants((width, height, width, height), boxes.dtype, boxes.device)
    summed = total(errors.where(present.unsqueeze(-1), 0).square().sum())
    count = total(present.sum().to(boxes.dtype))
    return summed / count.where(count > 0, 1)


BOX_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, tuple[float, float]], Tensor]] = {"box_l2": box_l2}
"""Name in a recipe -> function."""


@dataclass(frozen=True)
class LocalisationLoss:
    """Loss of a network that predicts classes and boxes.

    Attributes:
        classes: the loss of the class logits; None if only boxes are learned.
        boxes: name in `BOX_LOSSES` -> factor; empty if only the class is learned.
    """

    classes: LossSum | None
    boxes: Mapping[str, float]

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        boxes: Tensor,
        true_boxes: Tensor,
        present: Tensor,
        size: tuple[float, float],
    ) -> dict[str, Tensor]:
        """Each term by name, unweighted, and their sum as `loss`.

        Args:
            logits, target: (N, K, 1, 1) and (N, 1, 1), as for `LossSum`.
            boxes, true_boxes, present, size: as for `box_l2`.
        """
        values: dict[str, Tensor] = {} if self.classes is None else self.classes(logits, target)
        summed = values.pop("loss", boxes.new_zeros((), dtype=torch.float32))
        for name, factor in self.boxes.items():
            values[name] = BOX_LOSSES[name](boxes, true_boxes, present, size)
            summed = summed + factor * values[name]
        return {**values, "loss": summed}
