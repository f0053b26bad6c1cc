"""Faster R-CNN: proposals and detections from one feature pyramid.

Ren, He, Girshick, Sun: Faster R-CNN, NIPS 2015, arXiv:1506.01497; on the pyramid of Lin et al., CVPR 2017,
arXiv:1612.03144, section 5. Names and shapes of tensors are those of torchvision's published weights.

    picture -> encoder -> pyramid -+-> RPN: objectness and offsets of every anchor -> proposals
                                   +-> RoIAlign of the proposals -> two dense layers -> class and box of each
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.data.targets import ObjectTargets
from pixelwise.models.detect.detector import SMALLEST, DetectionLimits, Detections, Detector, usable
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
from pixelwise.nn.roi_align import roi_align

FINEST = 4
"""Stride of the pyramid's finest level."""
BETA = 1 / 9
"""Error at which smooth L1 goes over from a parabola to a straight line."""


class RegionsOfBatch(NamedTuple):
    """Boxes of all pictures of a batch, one after the other.

    Attributes:
        boxes: (R, 4) xyxy in pixels.
        pictures: (R,) int64, the picture of each.
    """

    boxes: Tensor
    pictures: Tensor


class PyramidLevels(nn.Module):
    """A feature pyramid with a coarsest level that halves the last map (Lin et al., section 3 and footnote 2).

    Args:
        channels: of the encoder's maps, finest first.
        width: of all maps that come out.
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
        """Maps (N, channels[i], H_i, W_i) -> (N, width, H_i, W_i), and one of half the size of the last."""
        levels = top_down(maps, self.inner_blocks, self.layer_blocks)
        return [*levels, F.max_pool2d(levels[-1], 1, 2)]


class Backbone(nn.Module):
    """An encoder and the pyramid on its maps of stride 4 and more."""

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
    """3x3 convolution, then objectness and box offsets of each anchor at every place; the same for all levels."""

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
    """The region proposal network: which anchors hold an object, of whatever class, and its box (Ren, section 3.1).

    Args:
        width: channels of the pyramid.
        sizes: side of the square anchor of each level, in pixels.
        ratios: of height to width, an anchor of each at every place.
        proposals: what is kept of each picture after suppression, and of each level before it.
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
        """The anchors (H_i * W_i * A, 4) of each level for pictures, with their padding, of that height and width."""
        return anchors_of(maps, picture, [getattr(self, f"shapes{number}") for number in range(self._levels)])

    def forward(self, maps: Sequence[Tensor], picture: tuple[int, int]) -> RegionProposed:
        """Objectness, offsets and proposals from the pyramid's maps of pictures of one size."""
        logits, offsets = self.head(maps)
        padded = [maps[0].shape[axis] * self.finest for axis in (-2, -1)]
        anchors = self.anchors(maps, (padded[0], padded[1]))
        counts = [len(each) for each in anchors]
        # (N, A * c, H, W) -> (N, H * W * A, c): place by place, as anchors are.
        flat_logits = torch.cat([each.permute(0, 2, 3, 1).flatten(1) for each in logits], 1).float()
        flat_offsets = torch.cat([each.permute(0, 2, 3, 1).reshape(len(each), -1, 4) for each in offsets], 1).float()
        every = torch.cat(anchors)
        with torch.no_grad():
            boxes = clip(self.coder.decode(flat_offsets, every), *picture)
            chosen = [self._choose(own, score, counts) for own, score in zip(boxes, flat_logits, strict=True)]
        return RegionProposed(flat_logits, flat_offsets, every, chosen)

    def _choose(self, boxes: Tensor, logits: Tensor, counts: Sequence[int]) -> Tensor:
        """(A, 4), (A,) of one picture -> (P, 4) proposals, the surest first."""
        kept, levels, start = [], [], 0
        for level, size in enumerate(counts):
            best = logits[start : start + size].topk(min(self.proposals, size)).indices + start
            kept.append(best)
            levels.append(torch.full_like(best, level))
            start += size
        indices, groups = torch.cat(kept), torch.cat(levels)
        large = ((boxes[indices, 2:] - boxes[indices, :2]) >= SMALLEST).all(1)
        indices, groups = indices[large], groups[large]
        stays = nms(boxes[indices], logits[indices], self.overlap, groups)[: self.proposals]
        return boxes[indices[stays]]

    def losses(self, found: RegionProposed, true: Sequence[Tensor], ignored: Sequence[Tensor]) -> dict[str, Tensor]:
        """`objectness`, the cross entropy of sampled anchors, and `proposal_box`, smooth L1 of those that hold an
        object; both per sampled anchor (Ren, equation 1).

        Args:
            true, ignored: for each picture (M, 4) boxes of objects to find, and (I, 4) of those that are ignored.
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
        box = F.smooth_l1_loss(torch.cat(offsets), torch.cat(targets), reduction="sum", beta=BETA)
        return {"objectness": objectness / number, "proposal_box": box / number}


class RegionProposed(NamedTuple):
    """Output of the region proposal network.

    Attributes:
        logits: (N, A) float32 objectness of all anchors.
        offsets: (N, A, 4) float32 of the objects' boxes from them.
        anchors: (A, 4).
        boxes: for each picture (P, 4) proposals, the surest first.
    """

    logits: Tensor
    offsets: Tensor
    anchors: Tensor
    boxes: list[Tensor]


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
    """Class logits of a region, and the offsets of an object of each class from it."""

    def __init__(self, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(hidden, num_classes)
        self.bbox_pred = nn.Linear(hidden, 4 * num_classes)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """(R, hidden) -> logits (R, K) and offsets (R, 4 K), float32."""
        return self.cls_score(regions).float(), self.bbox_pred(regions).float()


class RoIHeads(nn.Module):
    """Classes and boxes of regions (Girshick, Fast R-CNN, ICCV 2015, section 2).

    Args:
        width: channels of the pyramid.
        hidden: units of the dense layers.
        sampled: regions of each picture that the loss is computed for.
    """

    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    matcher = Matcher(0.5, 0.5)
    positive_share = 0.25
    pool = 7

    def __init__(self, width: int, hidden: int, num_classes: int, strides: Sequence[int], sampled: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.strides = tuple(strides)
        self.sampled = sampled
        self.box_head = BoxHead(width * self.pool**2, hidden)
        self.box_predictor = BoxPredictor(hidden, num_classes)

    def pooled(self, maps: Sequence[Tensor], regions: RegionsOfBatch, size: int) -> Tensor:
        """(R, width, size, size): each region read from the level of the pyramid that suits its size."""
        return roi_align(maps[: len(self.strides)], regions.boxes, regions.pictures, self.strides, size)

    def forward(self, maps: Sequence[Tensor], regions: RegionsOfBatch) -> tuple[Tensor, Tensor]:
        """Logits (R, K) and offsets (R, K, 4) of regions."""
        logits, offsets = self.box_predictor(self.box_head(self.pooled(maps, regions, self.pool)))
        return logits, offsets.view(len(logits), self.num_classes, 4)

    def sample(
        self, proposals: Sequence[Tensor], true: Sequence[Tensor], ignored: Sequence[Tensor]
    ) -> tuple[RegionsOfBatch, Tensor]:
        """Regions for the loss, true boxes among them, and the object of its picture that each stands for, or -1.

        Args:
            proposals, true, ignored: for each picture (P, 4), (M, 4) and (I, 4) boxes.
        """
        boxes, pictures, matched = [], [], []
        for row, (own, truth, left) in enumerate(zip(proposals, true, ignored, strict=True)):
            every = torch.cat([own, truth])
            matches = leave_out(self.matcher(pairwise_iou(truth, every)), every, left)
            chosen = balanced_sample(matches, self.sampled, self.positive_share)
            boxes.append(every[chosen])
            pictures.append(torch.full_like(chosen, row))
            matched.append(matches[chosen])
        return RegionsOfBatch(torch.cat(boxes), torch.cat(pictures)), torch.cat(matched)

    def losses(
        self, maps: Sequence[Tensor], regions: RegionsOfBatch, matches: Tensor, targets: ObjectTargets
    ) -> dict[str, Tensor]:
        """`class`, cross entropy over all regions, and `box`, smooth L1 of those on an object, per region."""
        logits, offsets = self(maps, regions)
        on_object = matches >= 0
        rows, objects = regions.pictures[on_object], matches[on_object]
        classes = torch.zeros_like(matches)
        classes[on_object] = own = targets.classes[rows, objects]
        wanted = self.coder.encode(targets.boxes[rows, objects], regions.boxes[on_object])
        box = F.smooth_l1_loss(
            offsets[on_object].take_along_dim(own.view(-1, 1, 1), 1)[:, 0], wanted, reduction="sum", beta=BETA
        )
        number = max(len(matches), 1)
        return {"class": F.cross_entropy(logits, classes, reduction="sum") / number, "box": box / number}

    def detect(
        self, logits: Tensor, offsets: Tensor, proposals: Tensor, picture: tuple[int, int], options: DetectionLimits
    ) -> Detections:
        """The objects of one picture: (P, K), (P, K, 4) and (P, 4)."""
        probabilities = logits.softmax(1)[:, 1:]
        boxes = clip(self.coder.decode(offsets[:, 1:], proposals[:, None]), *picture)
        sides = boxes[..., 2:] - boxes[..., :2]
        region, place = ((probabilities > options.score) & (sides >= SMALLEST).all(-1)).nonzero(as_tuple=True)
        own, scores = boxes[region, place], probabilities[region, place]
        kept = nms(own, scores, options.overlap, place)[: options.objects]
        return Detections(own[kept], place[kept] + 1, scores[kept])


class FasterRCNN(Detector):
    """Faster R-CNN on a feature pyramid.

    Pictures are padded to the encoder's stride at the right and bottom, mirrored.

    Args:
        encoder: a name in `models.encoders.ENCODERS`.
        weights: of the encoder: a file, a run, or a name on the Hugging Face hub.
        width: channels of the pyramid.
        hidden: units of the dense layers on a region.
        anchor_sizes: side of the square anchor of each level in pixels, finest first: one for each map of the encoder
            of stride 4 and more, and one for the level that halves the last.
        anchor_ratios: of height to width.
        proposals: of each picture; 1,000 in the published networks, 2,000 in their training.
        sampled: regions of each picture that the loss is computed for.
        detections: of a picture, at most.
        frozen_norms: whether the encoder's batch norms stay as its weights have them: a batch of a few pictures is too
            small to measure statistics on.

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

    def _heads(self, width: int, hidden: int, sampled: int) -> RoIHeads:
        return RoIHeads(width, hidden, self.num_classes, self.backbone.strides, sampled)

    @property
    def encoder(self) -> Encoder:
        return self.backbone.body

    def maps(self, images: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
        """The pyramid of pictures (N, C, H, W), and their height and width."""
        height, width = images.shape[-2:]
        return self.backbone(mirror_pad(images, (0, -width % self.stride, 0, -height % self.stride))), (height, width)

    def losses(self, images: Tensor, targets: ObjectTargets) -> dict[str, Tensor]:
        """The four terms of the loss and their sum, `loss`; of objects without an area nothing is learned.

        Args:
            images: (N, C, H, W).
        """
        maps, picture = self.maps(images)
        numbered = [usable(boxes) for boxes in targets.boxes]
        true = [boxes[which] for boxes, which in zip(targets.boxes, numbered, strict=True)]
        found = self.rpn(maps, picture)
        ignored = targets.ignored_boxes()
        values = self.rpn.losses(found, true, ignored)
        regions, matches = self.roi_heads.sample(found.boxes, true, ignored)
        # From an index among a picture's usable objects to one among all of its objects.
        on_object = matches >= 0
        table = torch.nn.utils.rnn.pad_sequence(numbered, batch_first=True)
        matches[on_object] = table[regions.pictures[on_object], matches[on_object]]
        values |= self.roi_heads.losses(maps, regions, matches, targets)
        return {**values, "loss": torch.stack(list(values.values())).sum()}

    def forward(self, images: Tensor) -> list[Detections]:
        """(N, C, H, W) -> the objects of each picture."""
        return self.detected(images)[1]

    def detected(self, images: Tensor) -> tuple[list[Tensor], list[Detections]]:
        """The pyramid's maps of pictures (N, C, H, W), and the objects of each picture."""
        maps, picture = self.maps(images)
        proposals = self.rpn(maps, picture).boxes
        logits, offsets = self.roi_heads(maps, joined(proposals))
        sizes = [len(each) for each in proposals]
        parts = zip(logits.split(sizes), offsets.split(sizes), proposals, strict=True)
        return maps, [self.roi_heads.detect(*part, picture, self.limits) for part in parts]


def joined(boxes: Sequence[Tensor]) -> RegionsOfBatch:
    """The boxes (P_i, 4) of each picture as those of a batch."""
    pictures = [torch.full((len(own),), row, device=own.device) for row, own in enumerate(boxes)]
    return RegionsOfBatch(torch.cat(list(boxes)), torch.cat(pictures))
