"""Box regression: the squared distance of a box's edges from the true ones; and its sum with losses of the class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pixelwise.distributed import total
from pixelwise.hardware import constants
from pixelwise.losses.sums import LossSum


def box_l2(boxes: Tensor, target: Tensor, present: Tensor, size: tuple[float, float]) -> Tensor:
    """The sum of the squared errors of a box's four edges, the mean over the boxes that have a truth.

    Edges are measured as shares of the picture, so that the loss means the same in pictures of any size: 0.01 is a box
    that is off by a twentieth of the picture at each edge. Source: Sermanet et al., ICLR 2014, arXiv:1312.6229, section
    4.2 (an l2 loss). In a run of several processes the mean is over the boxes of all of them; 0 with zero gradient
    where no box has a truth.

    Args:
        boxes, target: (..., 4) xyxy in pixels; one box a picture, a box for each of K objects, or one at each place.
        present: (...) bool, whether there is a true box; where not, the target may be anything, NaN included.
        size: height and width in pixels of the picture, or of the window that the boxes were found in.

    Raises:
        ValueError: shapes that differ.
    """
    if boxes.shape != target.shape or boxes.shape[:-1] != present.shape or boxes.shape[-1] != 4:
        raise ValueError(
            f"boxes are {tuple(boxes.shape)}, their truth {tuple(target.shape)} and what is present "
            f"{tuple(present.shape)}; (..., 4) twice and (...) expected"
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
    """Losses of a network that gives classes and boxes.

    Attributes:
        classes: of the class logits; None where only boxes are learned.
        boxes: name in `BOX_LOSSES` -> factor; empty where only the class is learned.
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
            logits, target: (N, K, 1, 1) and (N, 1, 1), as `LossSum` takes them.
            boxes, true_boxes, present, size: as `box_l2` takes them.
        """
        values: dict[str, Tensor] = {} if self.classes is None else self.classes(logits, target)
        summed = values.pop("loss", boxes.new_zeros((), dtype=torch.float32))
        for name, factor in self.boxes.items():
            values[name] = BOX_LOSSES[name](boxes, true_boxes, present, size)
            summed = summed + factor * values[name]
        return {**values, "loss": summed}
