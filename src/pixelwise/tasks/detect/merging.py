"""OverFeat's way from a picture to a few boxes: several scales, a class and a box per window, greedy merging.

Sermanet et al., ICLR 2014, arXiv:1312.6229, sections 3.3 and 4.3. The result of `localise` keeps every step for drawing
(`tasks.detect.overfeat_figure`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.models.detect.overfeat import OverFeat, dense_scores
from pixelwise.nn.boxes import area, intersection, rescale
from pixelwise.nn.finite import check_answer

SCALES = (245, 281, 317, 389, 425, 461)
"""Shorter side of the picture in pixels at the six scales of the paper (table 5)."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoredBoxes:
    """Boxes with a class and a confidence, the most confident first.

    Attributes:
        boxes: (M, 4) float64 xyxy in pixels of the picture.
        classes: (M,) int64 class ids.
        scores: (M,) float64 confidences: the probability of the class, or for a merged box the sum of the confidences
            of its parts.
    """

    boxes: Tensor
    classes: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.boxes)

    def by_confidence(self) -> ScoredBoxes:
        """The same boxes in descending order of confidence; boxes of equal confidence keep their order."""
        order = self.scores.argsort(descending=True, stable=True)
        return ScoredBoxes(self.boxes[order], self.classes[order], self.scores[order])

    def top(self, count: int) -> ScoredBoxes:
        """The first `count` boxes of each class; the order is kept."""
        rank = torch.zeros_like(self.classes)
        for class_id in self.classes.unique().tolist():
            one = self.classes == class_id
            rank[one] = torch.arange(int(one.sum()))
        kept = rank < count
        return ScoredBoxes(self.boxes[kept], self.classes[kept], self.scores[kept])


def joined(parts: Sequence[ScoredBoxes]) -> ScoredBoxes:
    """All boxes of one or more parts, the most confident first."""
    return ScoredBoxes(
        torch.cat([part.boxes for part in parts]),
        torch.cat([part.classes for part in parts]),
        torch.cat([part.scores for part in parts]),
    ).by_confidence()


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """The network's output at one scale.

    Attributes:
        size: height and width in pixels to which the picture was resized.
        probabilities: (K, h, w) float32.
        windows: (h, w, 4) xyxy in pixels of the original picture.
        step: positions from one window to the next without offset pooling: `probabilities[:, ::step, ::step]` is the
            map of a single pass of the network.
    """

    size: tuple[int, int]
    probabilities: Tensor
    windows: Tensor
    step: int


@dataclass(frozen=True, slots=True, eq=False)
class Localised:
    """Every step from a picture to its boxes.

    Attributes:
        scales: the scales, in the given order.
        candidates: the boxes of all scales before merging.
        merged: the boxes after merging.
    """

    scales: tuple[Scale, ...]
    candidates: ScoredBoxes
    merged: ScoredBoxes

    def class_probabilities(self) -> Tensor:
        """(K,): the largest probability of each class over all windows, averaged over the scales (section 3.3)."""
        return torch.stack([scale.probabilities.amax((1, 2)) for scale in self.scales]).mean(0)


@torch.inference_mode()
def localise(
    network: OverFeat,
    image: Tensor,
    *,
    scales: Sequence[int] = SCALES,
    top: int = 5,
    background: int | None = None,
    least: float = 0.1,
    threshold: float = 0.5,
    most: int | None = None,
) -> Localised:
    """Finds the objects of one picture (section 4.3).

    The paper's steps: (a) at each scale, take the `top` classes with the largest probability in any window; (b) take
    the boxes of these classes in all windows of the scale, each with the probability of its class there; (c) join all
    scales; (d) to (g) merge boxes (`merge_boxes`).

    The paper does not state how pictures are resized to the sizes of table 5. Here the shorter side has that size and
    the ratio of the sides is kept. The paper's flipped pictures are left out.

    Args:
        network: a network with a regression network, in evaluation mode.
        image: (C, H, W), normalised as in training.
        scales: shorter sides in pixels, no smaller than the network's window.
        top: number of classes per scale that contribute boxes.
        background: id of the background, if there is one.
        least: windows contribute no box for a class with a smaller probability. 0 is exactly the paper's algorithm, but
            slow: nearly all its boxes are of classes that are not in the picture.
        threshold: threshold of `merge_boxes`.
        most: largest number of boxes per class that are merged, the most confident ones; None for all, however long
            that takes.

    Raises:
        UserError: a scale smaller than the window.
        ValueError: a network without boxes, or no scale.
    """
    if not network.num_boxes:
        raise ValueError("this OverFeat has no regression network; build it with regression=True")
    if not scales:
        raise ValueError("no scale given; one or more shorter sides in pixels expected")
    height, width = image.shape[-2:]
    found: list[Scale] = []
    parts: list[ScoredBoxes] = []
    for scale in scales:
        size = (round(height * scale / min(height, width)), round(width * scale / min(height, width)))
        resized = F.interpolate(image[None], size, mode="bilinear", antialias=True)
        dense = dense_scores(network, resized)
        back = (height / size[0], width / size[1])
        probabilities = check_answer(dense.logits)[0].float().softmax(0).cpu()
        found.append(Scale(size, probabilities, rescale(dense.windows, *back).cpu(), network.pool))
        boxes = rescale(dense.boxes[0], *back).cpu().double()
        parts.append(_candidates(probabilities, boxes, top, background, least))
    candidates = joined(parts)
    if most is not None:
        candidates = candidates.top(most)
    return Localised(tuple(found), candidates, merge_boxes(candidates, threshold))


def _candidates(probabilities: Tensor, boxes: Tensor, top: int, background: int | None, least: float) -> ScoredBoxes:
    """Steps (a) and (b) of one scale: (K, h, w) and (h, w, B, 4) -> a box for each window and class that counts."""
    ranked = probabilities.amax((1, 2)).argsort(descending=True, stable=True).tolist()
    parts = [ScoredBoxes(boxes.new_empty(0, 4), torch.empty(0, dtype=torch.int64), boxes.new_empty(0))]
    for class_id in [class_id for class_id in ranked if class_id != background][:top]:
        counts = probabilities[class_id] >= least
        own = boxes[:, :, class_id if boxes.shape[2] > 1 else 0]
        ids = torch.full((int(counts.sum()),), class_id)
        parts.append(ScoredBoxes(own[counts], ids, probabilities[class_id][counts].double()))
    return joined(parts)


def match_score(first: Tensor, second: Tensor) -> Tensor:
    """How badly two boxes match, (..., 4), (..., 4) -> (...): 0 for equal boxes, more than 1 for boxes that are apart.

    The paper uses "the sum of the distance between centers of the two bounding boxes and the intersection area of the
    boxes", where smaller is better. Taken literally, a larger intersection would be a worse match, and pixels would be
    added to square pixels. Here the score is the distance between the centres, as a share of the mean of both
    diagonals, plus the share of the union that is outside the intersection. One threshold then serves boxes of all
    sizes. Two boxes without an area match if they have the same centre.
    """
    both = intersection(first, second)
    union = area(first) + area(second) - both
    apart = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]).norm(dim=-1) / 2
    diagonals = sum((boxes[..., 2:] - boxes[..., :2]).norm(dim=-1) / 2 for boxes in (first, second))
    assert isinstance(diagonals, Tensor)
    outside = torch.where(union > 0, 1 - both / union, (apart > 0).to(both.dtype))
    return torch.where(apart > 0, apart / diagonals, 0) + outside


def merge_boxes(candidates: ScoredBoxes, threshold: float = 0.5) -> ScoredBoxes:
    """Greedy merging (section 4.3, d to g): merges the two boxes that match best, until none match well enough.

    The paper leaves open whether boxes of different classes merge; here they do not. A merged box is the average of all
    boxes merged into it, each counted once (averaging only the two boxes at hand would depend on the order). Its
    confidence is the sum of their confidences, so many windows that agree outweigh a single confident one.

    Args:
        threshold: boxes with a larger `match_score` are not merged (t, whose value the paper does not state).

    Returns:
        The merged boxes, the most confident first.
    """
    parts = [candidates] if not len(candidates) else []
    for class_id in candidates.classes.unique().tolist():
        one = candidates.classes == class_id
        boxes, scores = _merge(candidates.boxes[one], candidates.scores[one], threshold)
        parts.append(ScoredBoxes(boxes, torch.full((len(boxes),), class_id), scores))
    return joined(parts)


def _merge(boxes: Tensor, scores: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Merges boxes (n, 4) with confidences (n,) of one class and returns those that remain.

    The best match of each box is remembered, so that a merge costs n comparisons instead of n squared.
    """
    boxes, scores = boxes.clone(), scores.clone()
    counts = torch.ones_like(scores)
    alive = torch.ones_like(scores, dtype=torch.bool)
    table = match_score(boxes[:, None], boxes[None]).fill_diagonal_(torch.inf)
    best, nearest = table.min(1)
    for _ in range(len(boxes) - 1):
        first = int(best.argmin())
        second = int(nearest[first])
        if best[first] > threshold:
            break
        pair = [first, second]
        boxes[first] = (counts[pair, None] * boxes[pair]).sum(0) / counts[pair].sum()
        counts[first], scores[first] = counts[pair].sum(), scores[pair].sum()
        alive[second] = False
        row = match_score(boxes[first], boxes).where(alive, torch.inf)
        row[first] = torch.inf
        table[first] = table[:, first] = row
        table[second] = table[:, second] = best[second] = torch.inf
        changed = alive & ((nearest == first) | (nearest == second))  # their best match moved or is gone
        changed[first] = True
        best[changed], nearest[changed] = table[changed].min(1)
        closer = alive & (row < best)
        best[closer], nearest[closer] = row[closer], first
    return boxes[alive], scores[alive]
