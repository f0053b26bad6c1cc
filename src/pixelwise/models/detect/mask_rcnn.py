"""Mask R-CNN: Faster R-CNN with a third head that predicts a mask of each object.

He, Gkioxari, Dollár, Girshick, ICCV 2017, arXiv:1703.06870. Names and shapes of tensors are those of torchvision's
published weights.

    regions of objects -> RoIAlign, 14 x 14 -> four 3x3 convolutions -> transposed convolution -> 28 x 28 mask per class
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.data.targets import ObjectTargets
from pixelwise.models.detect.detector import Detections
from pixelwise.models.detect.faster_rcnn import FasterRCNN, PyramidRoIHeads
from pixelwise.models.detect.roi_heads import RegionsOfBatch
from pixelwise.nn.initialise import he_normal
from pixelwise.nn.mask_paste import crop_masks
from pixelwise.nn.padded_regions import PaddedRegions


class MaskHead(nn.Sequential):
    """Four 3x3 convolutions with ReLU (figure 4, right)."""

    def __init__(self, width: int, layers: int = 4) -> None:
        super().__init__(
            *(nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True)) for _ in range(layers))
        )
        he_normal(self)


class MaskPredictor(nn.Module):
    """A transposed convolution that doubles the resolution, and a 1x1 convolution to one mask per class."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.conv5_mask = nn.ConvTranspose2d(width, width, 2, 2)
        self.mask_fcn_logits = nn.Conv2d(width, num_classes, 1)
        he_normal(self)

    def forward(self, maps: Tensor) -> Tensor:
        """(R, width, S, S) -> logits (R, K, 2 S, 2 S)."""
        return self.mask_fcn_logits(F.relu(self.conv5_mask(maps)))


class MaskRoIHeads(PyramidRoIHeads):
    """Classes, boxes and masks of regions.

    Masks are learned only on regions that are assigned to an object, and only for that object's class. Each position
    has a sigmoid per class instead of a softmax over classes (section 3), so classes do not compete for pixels.
    """

    mask_pool = 14

    def __init__(self, width: int, hidden: int, num_classes: int, strides: Sequence[int], sampled: int) -> None:
        super().__init__(width, hidden, num_classes, strides, sampled)
        self.mask_head = MaskHead(width)
        self.mask_predictor = MaskPredictor(width, num_classes)

    def mask_logits(self, maps: Sequence[Tensor], regions: RegionsOfBatch, classes: Tensor) -> Tensor:
        """(R, 28, 28) float32 logits of the mask of each region, for the region's class (R,)."""
        found = self.mask_predictor(self.mask_head(self.pooled(maps, regions, self.mask_pool)))
        return found[torch.arange(len(classes), device=classes.device), classes].float()

    def losses(
        self, maps: Sequence[Tensor], regions: RegionsOfBatch, matches: Tensor, targets: ObjectTargets
    ) -> dict[str, Tensor]:
        """The losses of classes and boxes, and `mask`: mean binary cross entropy of the masks of outlined objects."""
        values = super().losses(maps, regions, matches, targets)
        assert targets.masks is not None
        outlined = targets.masks.flatten(1).amax(1)  # (N,): objects without pixels come last
        known = (matches >= 0) & (matches < outlined[regions.pictures])
        own, objects = RegionsOfBatch(regions.boxes[known], regions.pictures[known]), matches[known]
        if len(objects):
            return {**values, "mask": self.mask_loss(maps, own, objects, targets)}
        # 0 with a gradient of 0, so that every process of a run has gradients for the same parameters.
        branch = (*self.mask_head.parameters(), *self.mask_predictor.parameters())
        return {**values, "mask": 0.0 * torch.stack([parameter.float().sum() for parameter in branch]).sum()}

    def mask_loss(
        self, maps: Sequence[Tensor], regions: RegionsOfBatch, objects: Tensor, targets: ObjectTargets
    ) -> Tensor:
        """The loss of the masks of regions, each of which is assigned to an object (R,) of its picture."""
        assert targets.masks is not None
        logits = self.mask_logits(maps, regions, targets.classes[regions.pictures, objects])
        wanted = crop_masks(targets.masks, regions.boxes, regions.pictures, objects + 1, logits.shape[-1])
        return F.binary_cross_entropy_with_logits(logits, wanted)

    def masks(self, maps: Sequence[Tensor], regions: RegionsOfBatch, classes: Tensor) -> tuple[Tensor, Tensor | None]:
        """Probabilities (R, S, S), and the windows (R, 4) in pixels that they cover; None if they cover the boxes."""
        return self.mask_logits(maps, regions, classes).sigmoid(), None

    def outlined(self, maps: Sequence[Tensor], found: Sequence[Detections]) -> list[Detections]:
        """The detections, each with the mask of its predicted class."""
        pictures = torch.cat([torch.full_like(own.classes, row) for row, own in enumerate(found)])
        boxes, classes = (torch.cat([getattr(own, name) for own in found]) for name in ("boxes", "classes"))
        masks, windows = self.masks(maps, RegionsOfBatch(boxes, pictures), classes)
        sizes = [len(own.boxes) for own in found]
        covered = [None] * len(sizes) if windows is None else windows.split(sizes)
        parts = zip(found, masks.split(sizes), covered, strict=True)
        return [own._replace(masks=mask, windows=window) for own, mask, window in parts]


class PaddedMaskRoIHeads(MaskRoIHeads):
    """Masks of regions that are cut out of the maps without resampling and padded to one size.

    A position of a mask is always half a stride of the map from which its region was cut, so small and large objects of
    one level are outlined equally finely. Positions in the padding are set to 0 after every layer and have no part in
    the loss.
    """

    padded = 28

    def _cut(self, maps: Sequence[Tensor], boxes: Tensor) -> PaddedRegions:
        shapes = [(each.shape[-2], each.shape[-1]) for each in maps[: len(self.strides)]]
        return PaddedRegions.of(boxes, self.strides, shapes, self.padded)

    def region_logits(
        self, maps: Sequence[Tensor], regions: RegionsOfBatch, cut: PaddedRegions, classes: Tensor
    ) -> Tensor:
        """(R, 56, 56) float32 logits of the mask of each region, for the region's class (R,)."""
        values = cut.cut(maps[: len(self.strides)], regions.pictures)
        valid = cut.valid()[:, None].to(values.dtype)
        for layer in self.mask_head:
            values = layer(values) * valid
        found = self.mask_predictor(values)
        return found[torch.arange(len(classes), device=classes.device), classes].float()

    def mask_loss(
        self, maps: Sequence[Tensor], regions: RegionsOfBatch, objects: Tensor, targets: ObjectTargets
    ) -> Tensor:
        assert targets.masks is not None
        cut = self._cut(maps, regions.boxes)
        logits = self.region_logits(maps, regions, cut, targets.classes[regions.pictures, objects])
        wanted = cut.targets(targets.masks, regions.pictures, objects + 1, 2)
        valid = cut.valid(2)
        # The mean over each region comes first: a large region has many positions, but is only one object.
        error = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").where(valid, 0.0)
        return (error.sum((1, 2)) / valid.sum((1, 2))).mean()

    def masks(self, maps: Sequence[Tensor], regions: RegionsOfBatch, classes: Tensor) -> tuple[Tensor, Tensor]:
        cut = self._cut(maps, regions.boxes)
        found = self.region_logits(maps, regions, cut, classes).sigmoid().where(cut.valid(2), 0.0)
        return found, cut.windows


class MaskRCNN(FasterRCNN):
    """Mask R-CNN on a feature pyramid; the options are those of `FasterRCNN`."""

    outlines = True
    heads = ("roi_heads.box_predictor", "roi_heads.mask_predictor.mask_fcn_logits")
    roi_heads: MaskRoIHeads

    def _heads(self, width: int, hidden: int, sampled: int) -> MaskRoIHeads:
        return MaskRoIHeads(width, hidden, self.num_classes, self.backbone.strides, sampled)

    def forward(self, images: Tensor) -> list[Detections]:
        """(N, C, H, W) -> the objects of each picture, with masks."""
        maps, found = self.detected(images)
        return self.roi_heads.outlined(maps, found)


class MaskRCNNPadded(MaskRCNN):
    """Mask R-CNN whose mask branch pads regions instead of resampling them, see `PaddedMaskRoIHeads`.

    Classes and boxes are predicted as in `MaskRCNN`, and tensors have the same names and shapes.
    """

    def _heads(self, width: int, hidden: int, sampled: int) -> MaskRoIHeads:
        return PaddedMaskRoIHeads(width, hidden, self.num_classes, self.backbone.strides, sampled)
