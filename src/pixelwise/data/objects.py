"""Objects as boxes for training: facts about them, resized pictures with their boxes, and random crops."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from pixelwise.data.augment import Augmentation
from pixelwise.data.fit import resized
from pixelwise.data.sample import NO_CLASS, Instances, Sample

VISIBLE_SHARE = 0.5
"""An object counts in a crop if at least this share of its box is inside (Sermanet et al. 2014, section 4.2)."""


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """Statistics of the objects of a set of pictures.

    Attributes:
        count: number of objects by class id.
        pictures: number of pictures that have an object.
        sides: longer sides of the boxes as shares of their picture's shorter side: 10th, 50th and 90th percentile.
    """

    count: tuple[int, ...]
    pictures: int
    sides: tuple[float, float, float]


def object_sizes(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """The objects of a sample: class ids (N,), and longer sides (N,) as shares of the picture's shorter side."""
    if sample.instances is None:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    boxes = sample.instances.boxes
    return sample.instances.classes, (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0) / min(sample.image.shape[:2])


def object_facts(sizes: Iterable[tuple[np.ndarray, np.ndarray]], num_classes: int) -> ObjectFacts | None:
    """Facts about the objects of pictures, from the `object_sizes` of each; None if there is no object."""
    found = [(classes, sides) for classes, sides in sizes if len(classes)]
    if not found:
        return None
    count = np.bincount(np.concatenate([classes for classes, _ in found]), minlength=num_classes)
    sides = np.concatenate([sides for _, sides in found])
    low, middle, high = np.quantile(sides, (0.1, 0.5, 0.9)).round(4).tolist()
    return ObjectFacts(tuple(count.tolist()), len(found), (low, middle, high))


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) xyxy -> (N,) areas in square pixels."""
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)


def boxes_alone(sample: Sample) -> Sample:
    """A sample without mask and label map, whose objects are boxes; `extents` keeps their whole boxes in a crop."""
    objects = sample.instances
    if objects is None:
        objects = Instances.none()
    ignored = None if objects.ignored is None else replace(objects.ignored, ids=None)
    objects = replace(objects, ids=None, extents=objects.boxes.astype(np.float32), ignored=ignored)
    return replace(sample, mask=None, instances=objects)


def largest_first(sample: Sample) -> Sample:
    """A sample with the class of its largest object, and with its objects sorted by decreasing area."""
    assert sample.instances is not None
    objects = sample.instances.select(np.argsort(-box_areas(sample.instances.boxes), kind="stable"))
    class_id = int(objects.classes[0]) if len(objects) else NO_CLASS
    return replace(sample, instances=objects, class_id=class_id)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Resizes pictures to one size, whatever their proportions, and their boxes with them.

    Nothing is cut off, so no object is lost, and edges as shares of the picture's sides stay the same.

    Attributes:
        size: height and width.
    """

    size: tuple[int, int]

    def __call__(self, sample: Sample) -> Sample:
        """A sample of `boxes_alone` at that size."""
        plain = boxes_alone(sample)
        assert plain.instances is not None
        factors = self._factors(*sample.image.shape[:2])
        objects = _scaled(plain.instances, factors)
        proposals = None if sample.proposals is None else sample.proposals * factors
        return replace(plain, image=self.image(sample.image), instances=objects, proposals=proposals)

    def image(self, image: np.ndarray) -> np.ndarray:
        """(H, W, C) -> (height, width, C)."""
        return resized(image, *self.size)

    def back(self, boxes: np.ndarray, height: int, width: int) -> np.ndarray:
        """(N, 4) boxes of the stretched picture -> boxes of the original picture of that size."""
        return boxes / self._factors(height, width)

    def _factors(self, height: int, width: int) -> np.ndarray:
        return np.tile([self.size[1] / width, self.size[0] / height], 2).astype(np.float32)


def _scaled(objects: Instances, factors: np.ndarray) -> Instances:
    """Scales the boxes and keypoints of objects without a label map by the factors (4,) for x, y, x and y."""
    boxes, keypoints = objects.boxes * factors, objects.keypoints
    if keypoints is not None:
        keypoints = keypoints * np.array([*factors[:2], 1], np.float32)
    ignored = None if objects.ignored is None else _scaled(objects.ignored, factors)
    return replace(objects, boxes=boxes, keypoints=keypoints, extents=boxes.astype(np.float32), ignored=ignored)


@dataclass(frozen=True, slots=True)
class ObjectCrops:
    """Random crops of samples of `boxes_alone`, with the class of the largest object inside.

    Boxes are cut off at the edge of the crop; objects of which less than half is inside do not count.
    """

    augment: Augmentation

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        crop = self.augment(sample, rng)
        objects = crop.instances
        assert objects is not None
        assert objects.extents is not None
        kept = box_areas(objects.boxes) >= VISIBLE_SHARE * box_areas(objects.extents)
        return largest_first(replace(crop, instances=objects.select(kept)))
