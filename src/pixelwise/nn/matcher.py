"""Matches anchors and proposals with true objects, and samples them (Ren et al., NIPS 2015, section 3.1.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pixelwise.nn.boxes import covered_share

BACKGROUND = -1
"""Match of a box that overlaps every true object too little."""
BETWEEN = -2
"""Match of a box that is neither object nor background: no loss is computed for it."""

IGNORED_SHARE = 0.5
"""Share of a box's area on an ignored object above which the box does not count as background."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """Assigns boxes to true objects by their intersection over union.

    A box whose IoU with some object is `high` or more is assigned to the object that it overlaps most. A box whose IoU
    with every object is below `low` is background. A box in between is neither. With `every_object`, the boxes that
    overlap an object more than all other boxes do are also assigned to the object that they overlap most, whatever
    their IoU, so that no object is left without a box.

    Take high = 0.7, low = 0.3 and these IoUs of two objects (rows) with four boxes (columns):

        0.8  0.4  0.0  0.1
        0.1  0.5  0.0  0.2

    The boxes get 0, BETWEEN, BACKGROUND and BACKGROUND. With `every_object` the second box gets 1.

    Attributes:
        high: least IoU of a box with the object that it is assigned to.
        low: IoU below which a box is background.
        every_object: whether to assign the best boxes of each object whatever their IoU.
    """

    high: float
    low: float
    every_object: bool = False

    def __call__(self, overlaps: Tensor) -> Tensor:
        """IoU (M, A) of true objects with boxes -> (A,) int64: index of an object, `BACKGROUND` or `BETWEEN`."""
        if not len(overlaps):
            return torch.full((overlaps.shape[1],), BACKGROUND, device=overlaps.device)
        best, nearest = overlaps.max(0)
        matches = nearest.clone()
        matches[best < self.high] = BETWEEN
        matches[best < self.low] = BACKGROUND
        if self.every_object:
            most = overlaps.amax(1, keepdim=True)
            # Without the second condition, an object that no box touches would be assigned all boxes.
            kept = ((overlaps == most) & (most > 0)).any(0)
            matches[kept] = nearest[kept]
        return matches


def leave_out(matches: Tensor, boxes: Tensor, ignored: Tensor) -> Tensor:
    """Changes background boxes that lie mostly on an ignored object to `BETWEEN`, so that the loss leaves them out.

    A crowd or a difficult object is not background, but it is not an object to find either.

    Args:
        matches: (A,) as returned by a `Matcher`.
        boxes: (A, 4) xyxy.
        ignored: (I, 4) boxes of the ignored objects of the picture; NaN covers nothing.
    """
    return matches.where((matches != BACKGROUND) | (covered_share(boxes, ignored) <= IGNORED_SHARE), BETWEEN)


def balanced_sample(matches: Tensor, count: int, positive_share: float) -> Tensor:
    """Draws boxes for the loss at random, so that the many background boxes do not outweigh those on objects.

    Args:
        matches: (A,) as returned by a `Matcher`.
        count: number of boxes to draw.
        positive_share: largest share of `count` that is drawn from boxes on objects; the rest is background.

    Returns:
        (S,) int64 indices, at most `count`, the boxes on objects first.
    """
    positive = (matches >= 0).nonzero().flatten()
    negative = (matches == BACKGROUND).nonzero().flatten()
    positive = _some(positive, round(count * positive_share))
    return torch.cat([positive, _some(negative, count - len(positive))])


def _some(indices: Tensor, count: int) -> Tensor:
    """At most `count` of the indices, drawn with torch's global generator, which the loop seeds in every step."""
    if len(indices) <= count:
        return indices
    return indices[torch.randperm(len(indices))[:count].to(indices.device)]
