"""Crops that show one object: which object, where it is, and a mask of nothing else."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from pixelwise.data.sample import VOID, Instances, Sample

MIN_SIDE = 0.04
"""Smallest object that may fill a crop: its longer side as a share of its picture's shorter side."""
BACKGROUND = 0


def with_objects(sample: Sample) -> Sample:
    """A sample with its objects. If the data does not distinguish objects, they are the boxes of the connected regions
    of each class but `BACKGROUND`."""
    if sample.instances is not None or sample.mask is None:
        return sample
    boxes, classes = [], []
    for class_id in np.unique(sample.mask).tolist():
        if class_id in (BACKGROUND, VOID):
            continue
        of_class = (sample.mask == class_id).astype(np.uint8)
        left, top, width, height = cv2.connectedComponentsWithStats(of_class, connectivity=8)[2][1:, :4].T
        boxes.append(np.stack([left, top, left + width, top + height], 1))
        classes += [class_id] * len(boxes[-1])
    stacked = np.concatenate([np.zeros((0, 4)), *boxes]).astype(np.float32)
    return replace(sample, instances=Instances(stacked, np.array(classes, np.int64)))


def draw_object(sample: Sample, rng: np.random.Generator, *, alone: bool) -> tuple[Sample, np.ndarray | None]:
    """Chooses one of the objects of a sample, all with the same probability, except for the smallest (`MIN_SIDE`).

    Args:
        alone: everything else becomes `BACKGROUND` in the mask; void stays void.

    Returns:
        The sample, and the box (4,) xyxy around the object in pixels, None if there is none to choose.
    """
    objects = sample.instances
    if objects is None:
        return sample, None
    longest = (objects.boxes[:, 2:] - objects.boxes[:, :2]).max(1, initial=0)
    large = np.flatnonzero(longest >= MIN_SIDE * min(sample.image.shape[:2]))
    if not len(large):
        return sample, None
    chosen = int(rng.choice(large))
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
    """(h, w) bool -> (h, w) bool, the connected region with the largest box. In the box of an object, which smaller
    regions of its class may share, this is the object."""
    labels, stats = cv2.connectedComponentsWithStats(there.astype(np.uint8), connectivity=8)[1:3]
    if len(stats) == 1:
        return there
    return labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_WIDTH] * stats[1:, cv2.CC_STAT_HEIGHT]))
