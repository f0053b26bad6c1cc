"""OverFeat's way from a picture to a few boxes: several scales, a class and a box at every place, greedy merging.

Sermanet et al., ICLR 2014, arXiv:1312.6229, sections 3.3 and 4.3. What `localise` returns keeps every step, to be drawn
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
"""Shorter side of the picture in pixels at the paper's six scales (table 5)."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Boxes with a class and a confidence, the surest first.

    Attributes:
        boxes: (M, 4) float64 xyxy in pixels of the picture.
        classes: (M,) int64 class ids.
        scores: (M,) float64: a class probability, or the sum of those of the boxes that were merged into one.
    """

    boxes: Tensor
    classes: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.boxes)

    def surest_first(self) -> Detections:
        """The same boxes in falling order of confidence; equal ones keep their order."""
        order = self.scores.argsort(descending=True, stable=True)
        return Detections(self.boxes[order], self.classes[order], self.scores[order])

    def surest(self, count: int) -> Detections:
        """At most so many boxes of each class, in the order in which they are."""
        place = torch.zeros_like(self.classes)
        for class_id in self.classes.unique().tolist():
            one = self.classes == class_id
            place[one] = torch.arange(int(one.sum()))
        kept = place < count
        return Detections(self.boxes[kept], self.classes[kept], self.scores[kept])


def joined(parts: Sequence[Detections]) -> Detections:
    """All boxes of one or more parts, the surest first."""
    return Detections(
        torch.cat([part.boxes for part in parts]),
        torch.cat([part.classes for part in parts]),
        torch.cat([part.scores for part in parts]),
    ).surest_first()


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """What the network says at one scale.

    Attributes:
        size: height and width in pixels that the picture was brought to.
        probabilities: (K, h, w) float32.
        windows: (h, w, 4) xyxy in pixels of the picture as it came.
        step: places from one window to the next without offsets, so that `probabilities[:, ::step, ::step]` is the map
            that the network has by itself.
    """

    size: tuple[int, int]
    probabilities: Tensor
    windows: Tensor
    step: int


@dataclass(frozen=True, slots=True, eq=False)
class Localised:
    """Every step from a picture to its boxes.

    Attributes:
        scales: in the order in which they were asked for.
        candidates: the boxes of all scales before merging.
        merged: and after it.
    """

    scales: tuple[Scale, ...]
    candidates: Detections
    merged: Detections

    def class_probabilities(self) -> Tensor:
        """(K,): of each class the largest probability at any place, the mean over the scales (section 3.3)."""
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

    The paper's steps: (a) at each scale the `top` classes by their largest probability at any place; (b) the boxes of
    these classes at all places of the scale, each with its class's probability there; (c) all scales together; (d) to
    (g) merged by `merge_boxes`.

    The paper does not say how a picture comes to the sizes of table 5; here its shorter side does, and the longer one
    keeps the ratio. Its flipped pictures are left out.

    Args:
        network: with a regression network, in evaluation mode.
        image: (C, H, W), normalised as in training.
        scales: shorter sides in pixels, no less than the network's window.
        top: classes that are looked at in each scale.
        background: the class that is no object, if there is one.
        least: places with a smaller probability give no box. 0 is the paper's algorithm to the letter, and slow: nearly
            all its boxes are of classes that are not in the picture.
        threshold: of `merge_boxes`.
        most: boxes of a class that are merged, the surest ones; None for all, however long that takes.

    Raises:
        UserError: a scale smaller than the window.
        ValueError: a network without boxes, or no scale.
    """
    if not network.num_boxes:
        raise ValueError("the network has no regression network; build it with regression=True")
    if not scales:
        raise ValueError("no scale given; one or more shorter sides in pixels expected")
    height, width = image.shape[-2:]
    found: list[Scale] = []
    parts: list[Detections] = []
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
        candidates = candidates.surest(most)
    return Localised(tuple(found), candidates, merge_boxes(candidates, threshold))


def _candidates(probabilities: Tensor, boxes: Tensor, top: int, background: int | None, least: float) -> Detections:
    """Steps (a) and (b) of one scale: (K, h, w) and (h, w, B, 4) -> a box for each place and class that counts."""
    ranked = probabilities.amax((1, 2)).argsort(descending=True, stable=True).tolist()
    parts = [Detections(boxes.new_empty(0, 4), torch.empty(0, dtype=torch.int64), boxes.new_empty(0))]
    for class_id in [class_id for class_id in ranked if class_id != background][:top]:
        counts = probabilities[class_id] >= least
        own = boxes[:, :, class_id if boxes.shape[2] > 1 else 0]
        ids = torch.full((int(counts.sum()),), class_id)
        parts.append(Detections(own[counts], ids, probabilities[class_id][counts].double()))
    return joined(parts)


def match_score(first: Tensor, second: Tensor) -> Tensor:
    """(..., 4), (..., 4) -> (...), how badly two boxes match: 0 for equal ones, more than 1 for boxes that lie apart.

    The paper uses "the sum of the distance between centers of the two bounding boxes and the intersection area of the
    boxes", smaller being better. Taken to the letter a larger intersection would be a worse match, and pixels would be
    added to square pixels. So here: the distance between the centres as a share of the mean of both diagonals, plus the
    share of the union that is not in the intersection. Then one threshold serves boxes of all sizes. Of two boxes
    without an area, those with one centre match.
    """
    both = intersection(first, second)
    union = area(first) + area(second) - both
    apart = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]).norm(dim=-1) / 2
    diagonals = sum((boxes[..., 2:] - boxes[..., :2]).norm(dim=-1) / 2 for boxes in (first, second))
    assert isinstance(diagonals, Tensor)
    outside = torch.where(union > 0, 1 - both / union, (apart > 0).to(both.dtype))
    return torch.where(apart > 0, apart / diagonals, 0) + outside


def merge_boxes(candidates: Detections, threshold: float = 0.5) -> Detections:
    """Greedy merging (section 4.3, d to g): the two boxes that match best become one, until none match well enough.

    The paper leaves open whether boxes of different classes merge: here they do not. A merged box is the average of all
    boxes that went into it, each counting once (the average of the two that are merged would depend on the order), and
    its confidence is the sum of theirs, so that many windows that agree outweigh a sure one that stands alone.

    Args:
        threshold: boxes whose `match_score` is larger stay apart (t, which the paper does not give).

    Returns:
        The merged boxes, the surest first.
    """
    parts = [candidates] if not len(candidates) else []
    for class_id in candidates.classes.unique().tolist():
        one = candidates.classes == class_id
        boxes, scores = _merge(candidates.boxes[one], candidates.scores[one], threshold)
        parts.append(Detections(boxes, torch.full((len(boxes),), class_id), scores))
    return joined(parts)


def _merge(boxes: Tensor, scores: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Boxes (n, 4) and confidences (n,) of one class -> those that are left.

    Each box remembers which other one matches it best, so that a merge costs n comparisons rather than n squared.
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
        changed = alive & ((nearest == first) | (nearest == second))  # their best one moved or is gone
        changed[first] = True
        best[changed], nearest[changed] = table[changed].min(1)
        closer = alive & (row < best)
        best[closer], nearest[closer] = row[closer], first
    return boxes[alive], scores[alive]
