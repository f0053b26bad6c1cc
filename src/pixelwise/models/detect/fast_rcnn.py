"""Fast R-CNN: one pass of the network over the picture, and a small head on every proposal.

Girshick: Fast R-CNN, ICCV 2015, arXiv:1504.08083.

    picture -> encoder -> one map ----+
    picture -> selective search ------+-> RoI max pooling of each proposal -> two dense layers -> class and box

R-CNN runs its network on every proposal. In Fast R-CNN all proposals of a picture share the convolutions, and classes
and boxes are learned together with them. Proposals still come from selective search; Faster R-CNN learns them, too.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.data.targets import ObjectTargets
from pixelwise.models.detect.detector import Detections, DetectionSource, Detector
from pixelwise.models.detect.proposals import Proposer
from pixelwise.models.detect.roi_heads import RegionsOfBatch, RoIHeads, joined, origins
from pixelwise.models.encoders import create_encoder
from pixelwise.nn.boxes import clip
from pixelwise.nn.dense import mirror_pad
from pixelwise.nn.frozen_norm import freeze_batch_norms
from pixelwise.nn.matcher import BETWEEN, balanced_sample
from pixelwise.nn.roi_pool import roi_max_pool

CHUNK = 128
"""Number of regions that are pooled at once in prediction."""
HARD = 0.1
"""Background regions with at least this IoU with an object are sampled for the loss first (section 2.3)."""


class MaxPooledRoIHeads(RoIHeads):
    """Classes and boxes of regions, each read from one map by max pooling (section 2.1)."""

    def __init__(self, channels: int, hidden: int, num_classes: int, stride: float, sampled: int) -> None:
        super().__init__(channels, hidden, num_classes, sampled)
        self.stride = stride

    def forward(self, maps: Tensor, regions: RegionsOfBatch) -> tuple[Tensor, Tensor]:
        """Logits (R, K) and offsets (R, K, 4) of regions; without gradients some at a time, to save memory."""
        if torch.is_grad_enabled():
            return super().forward(maps, regions)
        parts = zip(regions.boxes.split(CHUNK), regions.pictures.split(CHUNK), strict=True)
        found = [super(MaxPooledRoIHeads, self).forward(maps, RegionsOfBatch(*part)) for part in parts]
        logits, offsets = zip(*found, strict=True)
        return torch.cat(logits), torch.cat(offsets)

    def pooled(self, maps: Tensor, regions: RegionsOfBatch, size: int) -> Tensor:
        return roi_max_pool(maps, regions.boxes, regions.pictures, self.stride, size)

    def drawn(self, matches: Tensor, overlaps: Tensor) -> Tensor:
        """Samples regions; background that overlaps an object comes first, since it is easily mistaken for the object.

        The paper uses no other background. Here other background fills up the sample, so that pictures with few
        proposals or without objects also teach what background looks like.
        """
        nearest = overlaps.amax(0) if len(overlaps) else matches.new_zeros(len(matches), dtype=torch.float32)
        chosen = balanced_sample(
            matches.where((matches >= 0) | (nearest >= HARD), BETWEEN), self.sampled, self.positive_share
        )
        rest = balanced_sample(
            matches.where((matches < 0) & (nearest < HARD), BETWEEN), self.sampled - len(chosen), self.positive_share
        )
        return torch.cat([chosen, rest])


class FastRCNN(Detector):
    """Fast R-CNN on any encoder; the paper's largest network, with VGG-16, by default.

    Args:
        encoder: a name in `models.encoders.ENCODERS`.
        weights: pretrained weights of the encoder: a file, a run, or a name on the Hugging Face hub.
        scale: pictures are enlarged by this factor before the encoder; the paper's have a shorter side of 600 pixels.
        stride: pixels of the enlarged picture per position of the map that regions are read from, the output of the
            encoder's last convolution; coarser stages are dilated. For VGG-16 it is 16, as in the paper.
        hidden: units of the dense layers on a region.
        proposals: largest number of proposals per picture, see `Proposer`.
        ranked: whether proposals are ordered by a learned score.
        sampled: number of regions per picture that the loss is computed for.
        detections: largest number of detections per picture.
        frozen_norms: whether the encoder's batch norms keep the statistics and factors of its weights.

    Raises:
        UserError: unknown encoder, a stride that the encoder cannot have, or weights that do not fit.
    """

    heads = ("roi_heads.box_predictor",)

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int = 3,
        encoder: str = "vgg16",
        weights: Any = None,
        scale: float = 1.0,
        stride: int = 16,
        hidden: int = 4096,
        proposals: int = 2000,
        ranked: bool = False,
        sampled: int = 64,
        detections: int = 100,
        frozen_norms: bool = True,
    ) -> None:
        super().__init__(detections)
        self.num_classes = num_classes
        self.encoder = create_encoder(encoder, in_channels=in_channels, weights=weights, output_stride=stride)
        learned = [any(True for _ in stage.parameters()) for stage in self.encoder.stages()]
        self._read = max(number for number, has_weights in enumerate(learned) if has_weights)  # skips a final pooling
        if frozen_norms:
            freeze_batch_norms(self.encoder)
        self.scale = scale
        self.stride = max(self.encoder.feature_strides)
        self.map = nn.Identity()  # names the map that regions are read from
        self.proposer = Proposer(in_channels, proposals, ranked=ranked)
        channels = self.encoder.feature_channels[self._read]
        self.roi_heads = MaxPooledRoIHeads(channels, hidden, num_classes, stride / scale, sampled)

    def maps(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, channels, h, w), with `scale / stride` positions per pixel. Pictures are enlarged and
        padded with their mirror image."""
        if self.scale != 1:
            images = F.interpolate(images, scale_factor=self.scale, mode="bilinear")
        height, width = images.shape[-2:]
        padded = mirror_pad(images, (0, -width % self.stride, 0, -height % self.stride))
        return self.map(self.encoder.pyramid(padded)[self._read])

    def losses(self, images: Tensor, targets: ObjectTargets) -> dict[str, Tensor]:
        """The terms `class` and `box` (equation 1), `blob` if proposals are ranked, and their sum, `loss`."""
        proposals, values = self.proposer.for_training(images, targets)
        regions, matches = self.roi_heads.sample(proposals, targets)
        values = {**values, **self.roi_heads.losses(self.maps(images), regions, matches, targets)}
        return {**values, "loss": torch.stack(list(values.values())).sum()}

    def forward(self, images: Tensor) -> list[Detections]:
        """(N, C, H, W) -> the objects of each picture."""
        picture = (images.shape[-2], images.shape[-1])
        chosen = self.proposer(images, self.limits.growth(picture))
        logits, offsets = self.roi_heads(self.maps(images), joined(chosen))
        sizes = [len(each) for each in chosen]
        parts = zip(logits.split(sizes), offsets.split(sizes), chosen, strict=True)
        return [self.roi_heads.detect(*part, picture, self.limits.of(picture)) for part in parts]

    def sources(self, images: Tensor, found: Detections) -> list[DetectionSource]:
        """The proposal that each detection was decoded from; all proposals are read from the same map."""
        picture = (images.shape[-2], images.shape[-1])
        maps, proposals = self.maps(images), self.proposer(images, self.limits.growth(picture))[0]
        offsets = self.roi_heads(maps, joined([proposals]))[1]
        decoded = clip(self.roi_heads.coder.decode(offsets, proposals[:, None]), *picture)
        height, width = (side * self.roi_heads.stride for side in maps.shape[-2:])
        covered = proposals.new_tensor([0, 0, width, height])
        return [
            DetectionSource(region, "map", covered, partial(self.region_logits, region))
            for region in origins(decoded, proposals, found)
        ]

    def region_logits(self, region: Tensor, images: Tensor) -> Tensor:
        """Class logits (N, K) of the same region (4,) in pictures (N, C, H, W)."""
        return self.roi_heads(self.maps(images), joined([region[None]] * len(images)))[0]
