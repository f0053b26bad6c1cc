"""Which true object each anchor or proposal stands for (Ren et al., NIPS 2015, section 3.1.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pixelwise.nn.boxes import covered_share

BACKGROUND = -1
"""Of a box that overlaps every true object too little."""
BETWEEN = -2
"""Of a box that is neither object nor background: no loss is computed for it."""

MOSTLY = 0.5
"""Share of a box's area on an ignored object above which the box is no background."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """Assigns boxes to true objects by their intersection over union.

    A box with an IoU of `high` or more with some object stands for the object that it overlaps most; with less than
    `low` for every object it is background; in between it is neither. With `every_object`, the boxes that overlap an
    object more than all other boxes do stand for the object that they overlap most whatever their IoU, so that no
    object is left without a box.

    With high = 0.7, low = 0.3 and the IoU of two objects (rows) with four boxes (columns)

        0.8  0.4  0.0  0.1
        0.1  0.5  0.0  0.2

    the boxes get 0, BETWEEN, BACKGROUND and BACKGROUND; with `every_object` the second box gets 1.

    Attributes:
        high: least IoU with the object that a box stands for.
        low: IoU below which a box is background.
        every_object: see above.
    """

    high: float
    low: float
    every_object: bool = False

    def __call__(self, overlaps: Tensor) -> Tensor:
        """(M, A) IoU of true objects with boxes -> (A,) int64: the object's index, `BACKGROUND` or `BETWEEN`."""
        if not len(overlaps):
            return torch.full((overlaps.shape[1],), BACKGROUND, device=overlaps.device)
        best, nearest = overlaps.max(0)
        matches = nearest.clone()
        matches[best < self.high] = BETWEEN
        matches[best < self.low] = BACKGROUND
        if self.every_object:
            most = overlaps.amax(1, keepdim=True)
            # An object that no box touches would otherwise take all boxes, as equally bad.
            kept = ((overlaps == most) & (most > 0)).any(0)
            matches[kept] = nearest[kept]
        return matches


def leave_out(matches: Tensor, boxes: Tensor, ignored: Tensor) -> Tensor:
    """Matches in which background that is mostly on an ignored object is neither (`BETWEEN`).

    What a crowd or a difficult object shows is no background, and is not to be found either.

    Args:
        matches: (A,) as a `Matcher` gives them.
        boxes: (A, 4) xyxy.
        ignored: (I, 4) boxes of the ignored objects of the picture; NaN covers nothing.
    """
    return matches.where((matches != BACKGROUND) | (covered_share(boxes, ignored) <= MOSTLY), BETWEEN)


def balanced_sample(matches: Tensor, count: int, positive_share: float) -> Tensor:
    """Draws boxes for the loss at random, so that background does not drown the objects.

    Args:
        matches: (A,) as a `Matcher` gives them.
        count: boxes in all.
        positive_share: the largest share of `count` that stands for objects; background fills up the rest.

    Returns:
        (S,) int64 indices, at most `count`, those that stand for objects first.
    """
    positive = (matches >= 0).nonzero().flatten()
    negative = (matches == BACKGROUND).nonzero().flatten()
    positive = _some(positive, round(count * positive_share))
    return torch.cat([positive, _some(negative, count - len(positive))])


def _some(indices: Tensor, count: int) -> Tensor:
    """At most `count` of them, drawn by torch's own generator, whose state is part of every checkpoint."""
    if len(indices) <= count:
        return indices
    return indices[torch.randperm(len(indices))[:count].to(indices.device)]
