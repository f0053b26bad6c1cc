"""The second stage of a detector: predicts the class of every region, and the box of the object in it.

Girshick: Fast R-CNN, ICCV 2015, arXiv:1504.08083, section 2, and the networks that build on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.data.targets import ObjectTargets
from pixelwise.models.detect.detector import SMALLEST, DetectionLimits, Detections, usable
from pixelwise.nn.box_coder import BoxCoder
from pixelwise.nn.boxes import clip, iou, pairwise_iou
from pixelwise.nn.matcher import Matcher, balanced_sample, leave_out
from pixelwise.nn.nms import nms


class RegionsOfBatch(NamedTuple):
    """The regions of all pictures of a batch, one picture after the other.

    Attributes:
        boxes: (R, 4) xyxy in pixels.
        pictures: (R,) int64, index of each region's picture.
    """

    boxes: Tensor
    pictures: Tensor


class BoxHead(nn.Module):
    """Two dense layers on the values of a region."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(inputs, hidden)
        self.fc7 = nn.Linear(hidden, hidden)

    def forward(self, regions: Tensor) -> Tensor:
        """(R, C, S, S) -> (R, hidden)."""
        return F.relu(self.fc7(F.relu(self.fc6(regions.flatten(1)))))


class BoxPredictor(nn.Module):
    """Predicts the class logits of a region, and for each class the offsets of the object's box from the region."""

    def __init__(self, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(hidden, num_classes)
        self.bbox_pred = nn.Linear(hidden, 4 * num_classes)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """(R, hidden) -> logits (R, K) and offsets (R, 4 K), float32."""
        return self.cls_score(regions).float(), self.bbox_pred(regions).float()


class RoIHeads(nn.Module):
    """Predicts classes and boxes of regions; subclasses implement how a region is read from the maps (`pooled`).

    Args:
        channels: channels of the maps.
        hidden: units of the dense layers.
        sampled: number of regions per picture that the loss is computed for.

    Attributes:
        beta: error at which smooth L1 changes from a parabola to a straight line.
        pool: number of rows and columns that a region is pooled to.
    """

    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    matcher = Matcher(0.5, 0.5)
    positive_share = 0.25
    beta = 1.0
    pool = 7

    def __init__(self, channels: int, hidden: int, num_classes: int, sampled: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.sampled = sampled
        self.box_head = BoxHead(channels * self.pool**2, hidden)
        self.box_predictor = BoxPredictor(hidden, num_classes)

    def pooled(self, maps: Any, regions: RegionsOfBatch, size: int) -> Tensor:
        """(R, channels, size, size): the values of the maps in each region, resampled to one size."""
        raise NotImplementedError

    def forward(self, maps: Any, regions: RegionsOfBatch) -> tuple[Tensor, Tensor]:
        """Logits (R, K) and offsets (R, K, 4) of regions."""
        logits, offsets = self.box_predictor(self.box_head(self.pooled(maps, regions, self.pool)))
        return logits, offsets.view(len(logits), self.num_classes, 4)

    def sample(self, proposals: Sequence[Tensor], targets: ObjectTargets) -> tuple[RegionsOfBatch, Tensor]:
        """Samples regions for the loss, from proposals and true boxes, with the index of each region's object or -1."""
        boxes, pictures, matched = [], [], []
        for row, (own, ignored) in enumerate(zip(proposals, targets.ignored_boxes(), strict=True)):
            which = usable(targets.boxes[row])
            truth = targets.boxes[row][which]
            every = torch.cat([own, truth])
            overlaps = pairwise_iou(truth, every)
            matches = leave_out(self.matcher(overlaps), every, ignored)
            chosen = self.drawn(matches, overlaps)
            boxes.append(every[chosen])
            pictures.append(torch.full_like(chosen, row))
            found = matches[chosen]
            # Turns an index among the usable objects of a picture into an index among all of its objects.
            found[found >= 0] = which[found[found >= 0]]
            matched.append(found)
        return RegionsOfBatch(torch.cat(boxes), torch.cat(pictures)), torch.cat(matched)

    def drawn(self, matches: Tensor, overlaps: Tensor) -> Tensor:
        """Indices of the regions of a picture that the loss is computed for.

        Args:
            matches: (P,) as returned by the matcher.
            overlaps: (M, P) IoU of true objects with the regions.
        """
        return balanced_sample(matches, self.sampled, self.positive_share)

    def losses(self, maps: Any, regions: RegionsOfBatch, matches: Tensor, targets: ObjectTargets) -> dict[str, Tensor]:
        """`class`, the cross entropy of all regions, and `box`, smooth L1 of those on an object; both per region."""
        logits, offsets = self(maps, regions)
        on_object = matches >= 0
        rows, objects = regions.pictures[on_object], matches[on_object]
        classes = torch.zeros_like(matches)
        classes[on_object] = own = targets.classes[rows, objects]
        wanted = self.coder.encode(targets.boxes[rows, objects], regions.boxes[on_object])
        box = F.smooth_l1_loss(
            offsets[on_object].take_along_dim(own.view(-1, 1, 1), 1)[:, 0], wanted, reduction="sum", beta=self.beta
        )
        number = max(len(matches), 1)
        return {"class": F.cross_entropy(logits, classes, reduction="sum") / number, "box": box / number}

    def detect(
        self, logits: Tensor, offsets: Tensor, proposals: Tensor, picture: tuple[int, int], options: DetectionLimits
    ) -> Detections:
        """The objects of one picture from logits (P, K), offsets (P, K, 4) and proposals (P, 4)."""
        probabilities = logits.softmax(1)[:, 1:]
        boxes = clip(self.coder.decode(offsets[:, 1:], proposals[:, None]), *picture)
        sides = boxes[..., 2:] - boxes[..., :2]
        region, column = ((probabilities > options.score) & (sides >= SMALLEST).all(-1)).nonzero(as_tuple=True)
        own, scores = boxes[region, column], probabilities[region, column]
        kept = nms(own, scores, options.overlap, column)[: options.objects]
        return Detections(own[kept], column[kept] + 1, scores[kept])


def origins(decoded: Tensor, proposals: Tensor, found: Detections) -> Tensor:
    """The proposal (M, 4) that each detection was decoded from.

    Args:
        decoded: (P, K, 4) boxes of each proposal for each class id, clipped to the picture.
        proposals: (P, 4).
    """
    chosen = [
        int(iou(decoded[:, class_id], box).argmax())
        for box, class_id in zip(found.boxes, found.classes.tolist(), strict=True)
    ]
    return proposals[torch.tensor(chosen, dtype=torch.long, device=proposals.device)]


def joined(boxes: Sequence[Tensor]) -> RegionsOfBatch:
    """Joins the boxes (P_i, 4) of each picture to the regions of a batch."""
    pictures = [torch.full((len(own),), row, device=own.device) for row, own in enumerate(boxes)]
    return RegionsOfBatch(torch.cat(list(boxes)), torch.cat(pictures))
