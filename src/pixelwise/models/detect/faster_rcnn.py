"""Faster R-CNN: proposals and detections from one feature pyramid.

Ren, He, Girshick, Sun: Faster R-CNN, NIPS 2015, arXiv:1506.01497; on the pyramid of Lin et al., CVPR 2017,
arXiv:1612.03144, section 5. Names and shapes of tensors are those of torchvision's published weights.

    picture -> encoder -> pyramid -+-> RPN: objectness and offsets of every anchor -> proposals
                                   +-> RoIAlign of the proposals -> two dense layers -> class and box of each
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.data.targets import ObjectTargets
from pixelwise.models.detect.detector import SMALLEST, Detections, DetectionSource, Detector, usable
from pixelwise.models.detect.roi_heads import RegionsOfBatch, RoIHeads, joined, origins
from pixelwise.models.encoders import create_encoder
from pixelwise.nn.anchors import anchor_shapes, anchors_of
from pixelwise.nn.box_coder import BoxCoder
from pixelwise.nn.boxes import clip, pairwise_iou
from pixelwise.nn.dense import mirror_pad
from pixelwise.nn.encoder import Encoder
from pixelwise.nn.frozen_norm import freeze_batch_norms
from pixelwise.nn.initialise import small_normal
from pixelwise.nn.matcher import Matcher, balanced_sample, leave_out
from pixelwise.nn.nms import nms
from pixelwise.nn.pyramid import top_down
from pixelwise.nn.roi_align import pyramid_levels, roi_align

FINEST = 4
"""Stride of the pyramid's finest level."""
SMOOTH = 1 / 9
"""Error at which smooth L1 changes from a parabola to a straight line, in both stages."""


class PyramidLevels(nn.Module):
    """A feature pyramid with an additional coarsest level, half the size of the last map (Lin et al., section 3 and
    footnote 2).

    Args:
        channels: numbers of channels of the encoder's maps, finest first.
        width: number of channels of every level.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.inner_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(inputs, width, 1)) for inputs in channels)
        self.layer_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(width, width, 3, padding=1)) for _ in channels)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight, a=1)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (N, channels[i], H_i, W_i) -> levels (N, width, H_i, W_i), and one more of half the size of the last."""
        levels = top_down(maps, self.inner_blocks, self.layer_blocks)
        return [*levels, F.max_pool2d(levels[-1], 1, 2)]


class Backbone(nn.Module):
    """An encoder, and the pyramid on its maps of stride 4 or more."""

    def __init__(self, encoder: Encoder, width: int) -> None:
        super().__init__()
        self.body = encoder
        last = {stride: number for number, stride in enumerate(encoder.feature_strides)}
        self.strides = tuple(stride for stride in last if stride >= FINEST)
        self._chosen = [last[stride] for stride in self.strides]
        self.fpn = PyramidLevels([encoder.feature_channels[number] for number in self._chosen], width)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = self.body.pyramid(images)
        return self.fpn([maps[number] for number in self._chosen])


class RPNHead(nn.Module):
    """A 3x3 convolution, then objectness and box offsets of each anchor at every position; all levels share weights."""

    def __init__(self, width: int, anchors: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True)))
        self.cls_logits = nn.Conv2d(width, anchors, 1)
        self.bbox_pred = nn.Conv2d(width, 4 * anchors, 1)
        small_normal(self)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """(N, width, H_i, W_i) -> objectness (N, A, H_i, W_i) and offsets (N, 4 A, H_i, W_i) of each level."""
        hidden = [self.conv(each) for each in maps]
        return [self.cls_logits(each) for each in hidden], [self.bbox_pred(each) for each in hidden]


class RegionProposals(nn.Module):
    """The region proposal network: predicts which anchors hold an object of any class, and its box (Ren, section 3.1).

    Args:
        width: channels of the pyramid.
        sizes: side of the square anchor of each level, in pixels.
        ratios: ratios of height to width; every position has one anchor of each.
        proposals: number of proposals kept per picture after suppression, and per level before it.
    """

    finest = FINEST
    coder = BoxCoder()
    matcher = Matcher(0.7, 0.3, every_object=True)
    sampled = 256
    positive_share = 0.5
    overlap = 0.7

    def __init__(self, width: int, sizes: Sequence[float], ratios: Sequence[float], proposals: int) -> None:
        super().__init__()
        self.proposals = proposals
        self.head = RPNHead(width, len(ratios))
        for number, size in enumerate(sizes):
            self.register_buffer(f"shapes{number}", anchor_shapes(size, ratios), persistent=False)
        self._levels = len(sizes)

    def anchors(self, maps: Sequence[Tensor], picture: tuple[int, int]) -> list[Tensor]:
        """The anchors (H_i * W_i * A, 4) of each level for pictures of that height and width, padding included."""
        return anchors_of(maps, picture, [getattr(self, f"shapes{number}") for number in range(self._levels)])

    def forward(self, maps: Sequence[Tensor], picture: tuple[int, int], growth: float = 1.0) -> RegionProposed:
        """Objectness, offsets and proposals from the pyramid's maps of pictures of one size.

        Args:
            picture: height and width of the pictures, without padding.
            growth: factor on the number of proposals that are kept, see `DetectionLimits.growth`.
        """
        logits, offsets = self.head(maps)
        padded = [maps[0].shape[axis] * self.finest for axis in (-2, -1)]
        anchors = self.anchors(maps, (padded[0], padded[1]))
        counts = [len(each) for each in anchors]
        # (N, A * c, H, W) -> (N, H * W * A, c): position by position, in the order of the anchors.
        flat_logits = torch.cat([each.permute(0, 2, 3, 1).flatten(1) for each in logits], 1).float()
        flat_offsets = torch.cat([each.permute(0, 2, 3, 1).reshape(len(each), -1, 4) for each in offsets], 1).float()
        every = torch.cat(anchors)
        with torch.no_grad():
            boxes = clip(self.coder.decode(flat_offsets, every), *picture)
            most = math.ceil(self.proposals * growth)
            chosen = [self._choose(own, score, counts, most) for own, score in zip(boxes, flat_logits, strict=True)]
        return RegionProposed(flat_logits, flat_offsets, every, chosen)

    def _choose(self, boxes: Tensor, logits: Tensor, counts: Sequence[int], most: int) -> Tensor:
        """Boxes (A, 4) and logits (A,) of one picture -> at most `most` proposals (P, 4), the most confident first."""
        kept, levels, start = [], [], 0
        for level, size in enumerate(counts):
            best = logits[start : start + size].topk(min(most, size)).indices + start
            kept.append(best)
            levels.append(torch.full_like(best, level))
            start += size
        indices, groups = torch.cat(kept), torch.cat(levels)
        large = ((boxes[indices, 2:] - boxes[indices, :2]) >= SMALLEST).all(1)
        indices, groups = indices[large], groups[large]
        stays = nms(boxes[indices], logits[indices], self.overlap, groups)[:most]
        return boxes[indices[stays]]

    def losses(self, found: RegionProposed, true: Sequence[Tensor], ignored: Sequence[Tensor]) -> dict[str, Tensor]:
        """`objectness`, the cross entropy of sampled anchors, and `proposal_box`, smooth L1 of those on an object.

        Both are divided by the number of sampled anchors (Ren, equation 1).

        Args:
            true, ignored: for each picture the boxes (M, 4) of objects to find, and (I, 4) of ignored objects.
        """
        logits, labels, offsets, targets = [], [], [], []
        for row, (boxes, left) in enumerate(zip(true, ignored, strict=True)):
            matches = leave_out(self.matcher(pairwise_iou(boxes, found.anchors)), found.anchors, left)
            chosen = balanced_sample(matches, self.sampled, self.positive_share)
            positive = chosen[matches[chosen] >= 0]
            logits.append(found.logits[row, chosen])
            labels.append((matches[chosen] >= 0).float())
            offsets.append(found.offsets[row, positive])
            targets.append(self.coder.encode(boxes[matches[positive]], found.anchors[positive]))
        number = max(sum(len(each) for each in labels), 1)
        objectness = F.binary_cross_entropy_with_logits(torch.cat(logits), torch.cat(labels), reduction="sum")
        box = F.smooth_l1_loss(torch.cat(offsets), torch.cat(targets), reduction="sum", beta=SMOOTH)
        return {"objectness": objectness / number, "proposal_box": box / number}


class RegionProposed(NamedTuple):
    """Output of the region proposal network.

    Attributes:
        logits: (N, A) float32 objectness of all anchors.
        offsets: (N, A, 4) float32 offsets of the objects' boxes from the anchors.
        anchors: (A, 4) xyxy in pixels.
        boxes: for each picture (P, 4) proposals, the most confident first.
    """

    logits: Tensor
    offsets: Tensor
    anchors: Tensor
    boxes: list[Tensor]


class PyramidRoIHeads(RoIHeads):
    """Classes and boxes of regions, each read by RoIAlign from the level of a pyramid that suits its size.

    Args:
        width: channels of the pyramid.
        strides: strides of the levels that regions are read from.
    """

    beta = SMOOTH

    def __init__(self, width: int, hidden: int, num_classes: int, strides: Sequence[int], sampled: int) -> None:
        super().__init__(width, hidden, num_classes, sampled)
        self.strides = tuple(strides)

    def pooled(self, maps: Sequence[Tensor], regions: RegionsOfBatch, size: int) -> Tensor:
        return roi_align(maps[: len(self.strides)], regions.boxes, regions.pictures, self.strides, size)


class FasterRCNN(Detector):
    """Faster R-CNN on a feature pyramid.

    Pictures are padded to a multiple of the encoder's stride with their mirror image, at the right and bottom.

    Args:
        encoder: a name in `models.encoders.ENCODERS`.
        weights: pretrained weights of the encoder: a file, a run, or a name on the Hugging Face hub.
        width: channels of the pyramid.
        hidden: units of the dense layers on a region.
        anchor_sizes: side of the square anchor of each level in pixels, finest first: one for each map of the encoder
            with stride 4 or more, and one for the additional level of half the size.
        anchor_ratios: ratios of an anchor's height to its width.
        proposals: largest number of proposals per picture; 1,000 in the published networks, 2,000 in their training.
        sampled: number of regions per picture that the loss is computed for.
        detections: largest number of detections per picture.
        frozen_norms: whether the encoder's batch norms keep the statistics and factors of its weights; a batch of a few
            pictures is too small to measure statistics on.

    Raises:
        UserError: unknown encoder, or weights that do not fit.
    """

    heads: tuple[str, ...] = ("roi_heads.box_predictor",)

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int = 3,
        encoder: str = "resnet50",
        weights: Any = None,
        width: int = 256,
        hidden: int = 1024,
        anchor_sizes: Sequence[float] = (32, 64, 128, 256, 512),
        anchor_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        proposals: int = 1000,
        sampled: int = 512,
        detections: int = 100,
        frozen_norms: bool = True,
    ) -> None:
        super().__init__(detections)
        self.num_classes = num_classes
        body = create_encoder(encoder, in_channels=in_channels, weights=weights)
        self.backbone = Backbone(body, width)
        if frozen_norms:
            freeze_batch_norms(self.backbone.body)
        self.stride = max(body.feature_strides)
        self.rpn = RegionProposals(width, anchor_sizes, anchor_ratios, proposals)
        self.roi_heads = self._heads(width, hidden, sampled)

    def _heads(self, width: int, hidden: int, sampled: int) -> PyramidRoIHeads:
        return PyramidRoIHeads(width, hidden, self.num_classes, self.backbone.strides, sampled)

    @property
    def encoder(self) -> Encoder:
        return self.backbone.body

    def maps(self, images: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
        """The pyramid's maps of pictures (N, C, H, W), and the pictures' height and width."""
        height, width = images.shape[-2:]
        return self.backbone(mirror_pad(images, (0, -width % self.stride, 0, -height % self.stride))), (height, width)

    def losses(self, images: Tensor, targets: ObjectTargets) -> dict[str, Tensor]:
        """The four terms of the loss, and their sum, `loss`. Objects without an area are left out.

        Args:
            images: (N, C, H, W).
        """
        maps, picture = self.maps(images)
        found = self.rpn(maps, picture)
        true = [boxes[usable(boxes)] for boxes in targets.boxes]
        values = self.rpn.losses(found, true, targets.ignored_boxes())
        regions, matches = self.roi_heads.sample(found.boxes, targets)
        values |= self.roi_heads.losses(maps, regions, matches, targets)
        return {**values, "loss": torch.stack(list(values.values())).sum()}

    def forward(self, images: Tensor) -> list[Detections]:
        """(N, C, H, W) -> the objects of each picture."""
        return self.detected(images)[1]

    def detected(self, images: Tensor) -> tuple[list[Tensor], list[Detections]]:
        """The pyramid's maps of pictures (N, C, H, W), and the objects of each picture."""
        maps, picture = self.maps(images)
        limits = self.limits.of(picture)
        proposals = self.rpn(maps, picture, self.limits.growth(picture)).boxes
        logits, offsets = self.roi_heads(maps, joined(proposals))
        sizes = [len(each) for each in proposals]
        parts = zip(logits.split(sizes), offsets.split(sizes), proposals, strict=True)
        return maps, [self.roi_heads.detect(*part, picture, limits) for part in parts]

    def sources(self, images: Tensor, found: Detections) -> list[DetectionSource]:
        """The proposal that each detection was decoded from, and the level of the pyramid that was read for it."""
        maps, picture = self.maps(images)
        proposals = self.rpn(maps, picture, self.limits.growth(picture)).boxes[0]
        offsets = self.roi_heads(maps, joined([proposals]))[1]
        decoded = clip(self.roi_heads.coder.decode(offsets, proposals[:, None]), *picture)  # (P, K, 4)
        strides = self.roi_heads.strides
        sources = []
        for region in origins(decoded, proposals, found):
            level = int(pyramid_levels(region[None], len(strides)))
            # RoIAlign and the anchors put the first position of a map at the corner of the picture.
            height, width = ((side - 0.5) * strides[level] for side in maps[level].shape[-2:])
            covered = region.new_tensor([-strides[level] / 2, -strides[level] / 2, width, height])
            layer = f"backbone.fpn.layer_blocks.{level}"
            sources.append(DetectionSource(region, layer, covered, partial(self.region_logits, region)))
        return sources

    def region_logits(self, region: Tensor, images: Tensor) -> Tensor:
        """Class logits (N, K) of the same region (4,) in pictures (N, C, H, W)."""
        maps, _ = self.maps(images)
        regions = RegionsOfBatch(region.expand(len(images), 4), torch.arange(len(images), device=images.device))
        return self.roi_heads(maps, regions)[0]
