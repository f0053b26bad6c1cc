"""Views that show one object: which one, where it is, and a mask of nothing else."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from pixelwise.data.sample import VOID, Instances, Sample

LEAST = 0.04
"""Longer side of the smallest region that is an object, as a share of its picture's shorter side."""
BACKGROUND = 0


def with_objects(sample: Sample) -> Sample:
    """A sample whose objects are known: where the data does not tell them apart, the boxes of the connected regions of
    each class but `BACKGROUND`, small ones left out."""
    if sample.instances is not None or sample.mask is None:
        return sample
    least = LEAST * min(sample.mask.shape)
    boxes, classes = [], []
    for class_id in np.unique(sample.mask).tolist():
        if class_id in (BACKGROUND, VOID):
            continue
        of_class = (sample.mask == class_id).astype(np.uint8)
        left, top, width, height = cv2.connectedComponentsWithStats(of_class, connectivity=8)[2][1:, :4].T
        found = np.stack([left, top, left + width, top + height], 1)[np.maximum(width, height) >= least]
        boxes.append(found)
        classes += [class_id] * len(found)
    stacked = np.concatenate([np.zeros((0, 4)), *boxes]).astype(np.float32)
    return replace(sample, instances=Instances(stacked, np.array(classes, np.int64)))


def draw_object(sample: Sample, rng: np.random.Generator, *, alone: bool) -> tuple[Sample, np.ndarray | None]:
    """Chooses one of the objects of a sample, each as likely as any other.

    Args:
        alone: everything else is `BACKGROUND` in the mask; void stays void.

    Returns:
        The sample, and the box (4,) xyxy around the object in pixels, None where there is no object.
    """
    objects = sample.instances
    if objects is None or not len(objects):
        return sample, None
    chosen = int(rng.integers(len(objects)))
    box = objects.boxes[chosen]
    if not alone or sample.mask is None:
        return sample, box
    left, top = np.floor(box[:2]).astype(int)
    right, bottom = np.ceil(box[2:]).astype(int)
    window = (slice(max(top, 0), bottom), slice(max(left, 0), right))
    if objects.ids is not None:
        here = objects.ids[window] == chosen + 1
    else:
        here = _largest_region(sample.mask[window] == objects.classes[chosen])
    mask = np.where(sample.mask == VOID, VOID, BACKGROUND).astype(np.uint8)
    mask[window][here] = sample.mask[window][here]
    return replace(sample, mask=mask), box


def _largest_region(there: np.ndarray) -> np.ndarray:
    """(h, w) bool -> the region with the largest box: of the regions within a region's box, that is the region."""
    labels, stats = cv2.connectedComponentsWithStats(there.astype(np.uint8), connectivity=8)[1:3]
    if len(stats) == 1:
        return there
    return labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_WIDTH] * stats[1:, cv2.CC_STAT_HEIGHT]))
