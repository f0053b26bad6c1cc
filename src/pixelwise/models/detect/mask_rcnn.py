"""Mask R-CNN: Faster R-CNN that also outlines each object.

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
from pixelwise.models.detect.faster_rcnn import FasterRCNN, RegionsOfBatch, RoIHeads
from pixelwise.nn.initialise import he_normal
from pixelwise.nn.mask_paste import crop_masks


class MaskHead(nn.Sequential):
    """Four 3x3 convolutions with ReLU (figure 4, right)."""

    def __init__(self, width: int, layers: int = 4) -> None:
        super().__init__(
            *(nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True)) for _ in range(layers))
        )
        he_normal(self)


class MaskPredictor(nn.Module):
    """A transposed convolution that doubles the resolution, and the mask of each class."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.conv5_mask = nn.ConvTranspose2d(width, width, 2, 2)
        self.mask_fcn_logits = nn.Conv2d(width, num_classes, 1)
        he_normal(self)

    def forward(self, maps: Tensor) -> Tensor:
        """(R, width, S, S) -> logits (R, K, 2 S, 2 S)."""
        return self.mask_fcn_logits(F.relu(self.conv5_mask(maps)))


class MaskRoIHeads(RoIHeads):
    """Classes, boxes and masks of regions.

    The mask is learned on the regions that stand for an object, for the class of that object alone, by a sigmoid per
    place rather than a softmax over classes (section 3): classes do not compete for pixels.
    """

    mask_pool = 14

    def __init__(self, width: int, hidden: int, num_classes: int, strides: Sequence[int], sampled: int) -> None:
        super().__init__(width, hidden, num_classes, strides, sampled)
        self.mask_head = MaskHead(width)
        self.mask_predictor = MaskPredictor(width, num_classes)

    def mask_logits(self, maps: Sequence[Tensor], regions: RegionsOfBatch, classes: Tensor) -> Tensor:
        """(R, 28, 28) float32 logits of each region's mask of the class (R,) that is given for it."""
        found = self.mask_predictor(self.mask_head(self.pooled(maps, regions, self.mask_pool)))
        return found[torch.arange(len(classes), device=classes.device), classes].float()

    def losses(
        self, maps: Sequence[Tensor], regions: RegionsOfBatch, matches: Tensor, targets: ObjectTargets
    ) -> dict[str, Tensor]:
        """Those of classes and boxes, and `mask`, the binary cross entropy per place of the masks of known outline."""
        values = super().losses(maps, regions, matches, targets)
        assert targets.masks is not None
        outlined = targets.masks.flatten(1).amax(1)  # (N,): objects without pixels come last
        known = (matches >= 0) & (matches < outlined[regions.pictures])
        own, objects = RegionsOfBatch(regions.boxes[known], regions.pictures[known]), matches[known]
        if not len(objects):
            values["mask"] = values["class"].new_zeros(())
            return values
        logits = self.mask_logits(maps, own, targets.classes[own.pictures, objects])
        wanted = crop_masks(targets.masks, own.boxes, own.pictures, objects + 1, logits.shape[-1])
        values["mask"] = F.binary_cross_entropy_with_logits(logits, wanted)
        return values

    def outlined(self, maps: Sequence[Tensor], found: Sequence[Detections]) -> list[Detections]:
        """Detections with masks: those of the class that each box was given."""
        pictures = torch.cat([torch.full_like(own.classes, row) for row, own in enumerate(found)])
        boxes, classes = (torch.cat([getattr(own, name) for own in found]) for name in ("boxes", "classes"))
        masks = self.mask_logits(maps, RegionsOfBatch(boxes, pictures), classes).sigmoid()
        sizes = [len(own.boxes) for own in found]
        return [own._replace(masks=mask) for own, mask in zip(found, masks.split(sizes), strict=True)]


class MaskRCNN(FasterRCNN):
    """Mask R-CNN on a feature pyramid; options as `FasterRCNN`."""

    outlines = True
    heads = ("roi_heads.box_predictor", "roi_heads.mask_predictor.mask_fcn_logits")
    roi_heads: MaskRoIHeads

    def _heads(self, width: int, hidden: int, sampled: int) -> MaskRoIHeads:
        return MaskRoIHeads(width, hidden, self.num_classes, self.backbone.strides, sampled)

    def forward(self, images: Tensor) -> list[Detections]:
        """(N, C, H, W) -> the objects of each picture, with masks."""
        maps, found = self.detected(images)
        return self.roi_heads.outlined(maps, found)
