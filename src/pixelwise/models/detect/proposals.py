"""Proposals for R-CNN and Fast R-CNN: found by selective search and, optionally, ordered by a learned score.

The score is class-agnostic: the probability that a box shows an object of any kind (Alexe et al., What is an object?,
CVPR 2010, called it objectness). A small network predicts it from the box and some of its surroundings, resized to
32 x 32 pixels. It is trained like the region classifier of R-CNN: boxes whose IoU with an object is 0.5 or more are
positive, all others are negative, and the sampled boxes of a batch have at most a fixed share of positives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.data.targets import ObjectTargets
from pixelwise.models.detect.detector import usable
from pixelwise.models.detect.selective_search import selective_search
from pixelwise.nn.boxes import pairwise_iou
from pixelwise.nn.initialise import he_normal
from pixelwise.nn.matcher import Matcher, balanced_sample, leave_out
from pixelwise.nn.region_crops import region_crops

CROP, CONTEXT = 32, 4
CHUNK = 512
"""Number of boxes that are scored at once."""


class BlobScorer(nn.Module):
    """Predicts the objectness of boxes with four convolutions on a small piece of the picture around each.

    Args:
        width: channels of the first convolution.
    """

    matcher = Matcher(0.5, 0.5)
    sampled = 128
    positive_share = 0.25

    def __init__(self, in_channels: int, width: int = 16) -> None:
        super().__init__()
        widths = (in_channels, width, 2 * width, 4 * width, 4 * width)
        self.layers = nn.Sequential()
        for inputs, outputs in pairwise(widths):
            self.layers.append(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1))
            self.layers.append(nn.ReLU(inplace=True))
        self.head = nn.Linear(widths[-1] * (CROP // 16) ** 2, 1)
        he_normal(self)

    def forward(self, images: Tensor, boxes: Sequence[Tensor]) -> Tensor:
        """Pictures (N, C, H, W) and the boxes (R_i, 4) of each -> (R,) float32 logits."""
        crops = region_crops(images, boxes, CROP, CONTEXT)
        found: Tensor = self.head(self.layers(crops).flatten(1))
        return found[:, 0].float()

    def losses(self, images: Tensor, proposals: Sequence[Tensor], targets: ObjectTargets) -> dict[str, Tensor]:
        """`blob`: the cross entropy of sampled proposals and true boxes."""
        boxes, labels = [], []
        for own, true, ignored in zip(proposals, targets.boxes, targets.ignored_boxes(), strict=True):
            truth = true[usable(true)]
            every = torch.cat([own, truth])
            matches = leave_out(self.matcher(pairwise_iou(truth, every)), every, ignored)
            chosen = balanced_sample(matches, self.sampled, self.positive_share)
            boxes.append(every[chosen])
            labels.append((matches[chosen] >= 0).float())
        wanted = torch.cat(labels)
        error = F.binary_cross_entropy_with_logits(self(images, boxes), wanted, reduction="sum")
        return {"blob": error / max(len(wanted), 1)}

    @torch.no_grad()
    def ordered(self, images: Tensor, proposals: Sequence[Tensor]) -> list[Tensor]:
        """The proposals of each picture, the most probable object first."""
        found = []
        for image, own in zip(images, proposals, strict=True):
            scores = [self(image[None], [part]) for part in own.split(CHUNK)]
            found.append(own[torch.cat(scores).argsort(descending=True, stable=True)] if scores else own)
        return found


class Proposer(nn.Module):
    """Makes the proposals of a detector.

    Args:
        count: largest number of proposals per picture.
        ranked: whether a `BlobScorer` orders the proposals before the first `count` are kept.
    """

    def __init__(self, in_channels: int, count: int, *, ranked: bool) -> None:
        super().__init__()
        self.count = count
        self.scorer = BlobScorer(in_channels) if ranked else None

    def candidates(self, images: Tensor) -> list[Tensor]:
        """Pictures (N, C, H, W) -> boxes (P, 4) of each from selective search, on the pictures' device."""
        pictures = images.detach().float().permute(0, 2, 3, 1).cpu().numpy()
        return [torch.from_numpy(selective_search(picture)).to(images.device) for picture in pictures]

    def forward(self, images: Tensor, growth: float = 1.0) -> list[Tensor]:
        """Pictures (N, C, H, W) -> the proposals (P, 4) of each.

        Args:
            growth: factor on the number of proposals that are kept, see `DetectionLimits.growth`.
        """
        found = self.candidates(images)
        if self.scorer is not None:
            found = self.scorer.ordered(images, found)
        return [boxes[: math.ceil(self.count * growth)] for boxes in found]

    def for_training(self, images: Tensor, targets: ObjectTargets) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals of each picture for the losses of the detector, and the loss of the scorer if there is one."""
        if targets.proposals is None:
            found = self.candidates(images)
        else:
            found = [boxes[usable(boxes)] for boxes in targets.proposals]
        return found, {} if self.scorer is None else self.scorer.losses(images, found, targets)
