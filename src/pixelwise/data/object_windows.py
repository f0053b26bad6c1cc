"""Windows cut from pictures, each around one object or around none: training samples for a window classifier."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pixelwise.data.augment import Augmentation
from pixelwise.data.fit import resized
from pixelwise.data.objects import VISIBLE_SHARE, box_areas, boxes_alone
from pixelwise.data.sample import NO_CLASS, Sample

SIDES = (1.25, 2.3)
"""Side of a window as a multiple of the longer side of its object."""
SHIFT = 0.2
"""How far the middle of a window may be from the middle of its object, along each axis, as a share of its side."""
NEAR, LARGE = 0.4, 0.3
"""A window counts as empty unless an object is near its middle (nearer than the first share of the window's side) and
large (its longer side is more than the second share). A window with half an object is not used for training."""
ATTEMPTS = 10
BACKGROUND = 0
MEASURED = 8  # windows per picture in validation


@dataclass(frozen=True, slots=True)
class ObjectWindows:
    """Random windows of samples of `boxes_alone`, each with one object and its class, or with none and class 0.

    A window around an object is `SIDES` times as large and shifted by up to `SHIFT`. Its box is the whole box of the
    object, which may reach beyond the window. A window without an object has the size of the windows in which pictures
    are searched. All windows lie within the picture.

    Attributes:
        side: side of the windows in pixels, after resizing to the network's input.
        scales: shorter sides to which pictures are resized when they are searched (`tasks.detect.merging.localise`).
        background: share of windows without an object, if a picture has room for any.
        augment: further variation within a window; None for none.
    """

    side: int
    scales: tuple[int, ...]
    background: float
    augment: Augmentation | None = None

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        assert sample.instances is not None
        empty = rng.random() < self.background or not len(sample.instances)
        draws = (self._empty, self._of_object) if empty else (self._of_object, self._empty)
        for draw in np.repeat(np.array(draws, object), ATTEMPTS):
            window = draw(sample, rng)
            if window is not None:
                break
        else:  # the picture is so full that no window is clear
            length = min(sample.image.shape[:2])
            window = self._cut(sample, 0, 0, length, None, NO_CLASS)
        return window if self.augment is None else self._varied(window, rng)

    def fixed(self, sample: Sample) -> Iterator[Sample]:
        """A few windows of a picture without augmentation, the same ones every time."""
        rng = np.random.default_rng(zlib.crc32(sample.name.encode()))
        plain = replace(self, augment=None)
        for _ in range(MEASURED):
            yield plain(sample, rng)

    def _of_object(self, sample: Sample, rng: np.random.Generator) -> Sample | None:
        """A window around an object; None if it shows too little of it, or another object is nearer the middle."""
        assert sample.instances is not None
        if not len(sample.instances):
            return None
        boxes = sample.instances.boxes
        chosen = int(rng.integers(len(boxes)))
        longest = float((boxes[chosen, 2:] - boxes[chosen, :2]).max())
        length = longest * float(np.exp(rng.uniform(*np.log(SIDES))))
        middle = _middles(boxes)[chosen] + rng.uniform(-SHIFT, SHIFT, 2) * length
        left, top, length = _place(sample.image.shape[:2], middle, length)
        apart = np.abs(_middles(boxes) - (left + length / 2, top + length / 2)).max(1)
        low = np.maximum(boxes[:, :2], (left, top))
        high = np.minimum(boxes[:, 2:], (left + length, top + length))
        inside = box_areas(np.concatenate([low, high], 1)) / np.maximum(box_areas(boxes), 1e-6)
        if inside[chosen] < VISIBLE_SHARE or apart.argmin() != chosen:
            return None
        return self._cut(sample, left, top, length, chosen, int(sample.instances.classes[chosen]))

    def _empty(self, sample: Sample, rng: np.random.Generator) -> Sample | None:
        """A window anywhere; None if it shows an object, even an ignored one."""
        assert sample.instances is not None
        size = np.array(sample.image.shape[:2])
        scale = self.scales[rng.integers(len(self.scales))]
        left, top, length = _place(
            sample.image.shape[:2], rng.uniform(0, 1, 2) * size[::-1], self.side * size.min() / scale
        )
        boxes = sample.instances.boxes
        if sample.instances.ignored is not None:
            boxes = np.concatenate([boxes, sample.instances.ignored.boxes])
        apart = np.abs(_middles(boxes) - (left + length / 2, top + length / 2)).max(1, initial=0)
        longest = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0)
        if ((apart < NEAR * length) & (longest > LARGE * length)).any():
            return None
        return self._cut(sample, left, top, length, None, BACKGROUND)

    def _cut(self, sample: Sample, left: int, top: int, length: int, chosen: int | None, class_id: int) -> Sample:
        assert sample.instances is not None
        image = resized(sample.image[top : top + length, left : left + length], self.side, self.side)
        objects = sample.instances.select([] if chosen is None else [chosen])
        boxes = (objects.boxes - (left, top, left, top)) * (self.side / length)
        keypoints = objects.keypoints
        if keypoints is not None:
            keypoints = ((keypoints - (left, top, 0)) * (*[self.side / length] * 2, 1)).astype(np.float32)
        objects = replace(objects, boxes=boxes.astype(np.float32), keypoints=keypoints, ignored=None)
        return boxes_alone(Sample(sample.name, image, instances=objects, class_id=class_id))

    def _varied(self, window: Sample, rng: np.random.Generator) -> Sample:
        assert self.augment is not None
        crop = self.augment(window, rng)
        assert crop.instances is not None
        assert window.instances is not None
        if len(crop.instances) < len(window.instances):  # moved out of the crop, by a shift that the recipe sets
            return replace(crop, class_id=NO_CLASS)
        assert crop.instances.extents is not None
        return replace(crop, instances=replace(crop.instances, boxes=crop.instances.extents))


def _middles(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) -> (N, 2) x and y."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _place(size: tuple[int, ...], middle: np.ndarray, length: float) -> tuple[int, int, int]:
    """Left, top and side in whole pixels of a square within a picture (height, width), around that middle (x, y)."""
    whole = min(max(round(length), 1), *size)
    left, top = (
        int(np.clip(round(at - whole / 2), 0, room - whole)) for at, room in zip(middle, size[::-1], strict=True)
    )
    return left, top, whole
