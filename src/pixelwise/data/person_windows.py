"""The window of a picture around one person: the input of pose networks, and random crops of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pixelwise.data.augment import MARGIN, Augmentation
from pixelwise.data.fit import resized
from pixelwise.data.sample import Sample

SAMPLED = 64
"""Length in pixels of the shorter side at which a picture's mean colour is computed."""


@dataclass(frozen=True, slots=True)
class PersonWindow:
    """A square around a person, and its resized picture that a network sees; proportions are kept.

    Attributes:
        left, top, side: position and side of the square in pixels of the picture; it may reach beyond the picture.
        size: height and width of the network's input.
    """

    left: int
    top: int
    side: int
    size: int

    @classmethod
    def around(cls, box: np.ndarray, size: int, margin: float = MARGIN) -> PersonWindow:
        """The square around the middle of a box (4,) xyxy, `margin` times as large as the box's longer side."""
        side = max(round(margin * float((box[2:] - box[:2]).max())), 1)
        left, top = np.rint((box[:2] + box[2:] - side) / 2).astype(int).tolist()
        return cls(left, top, side, size)

    def image(self, image: np.ndarray) -> np.ndarray:
        """(H, W, C) -> (size, size, C); outside the picture it has the picture's mean colour."""
        height, width = image.shape[:2]
        top, left = (min(max(low, 0), end) for low, end in ((self.top, height), (self.left, width)))
        bottom, right = (min(max(low + self.side, 0), end) for low, end in ((self.top, height), (self.left, width)))
        inside = image[top:bottom, left:right]
        if inside.shape[:2] == (self.side, self.side):
            return resized(inside, self.size, self.size)
        step = max(min(height, width) // SAMPLED, 1)
        mean = image[::step, ::step].mean((0, 1))
        square = np.empty((self.side, self.side, image.shape[2]), image.dtype)
        square[:] = mean.astype(image.dtype)
        if inside.size:
            square[top - self.top : bottom - self.top, left - self.left : right - self.left] = inside
        return resized(square, self.size, self.size)

    def forward(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) points of the picture -> their positions in the window."""
        return (points - (self.left, self.top)) * (self.size / self.side)

    def back(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) points of the window -> their positions in the picture."""
        return points * (self.side / self.size) + (self.left, self.top)

    def sample(self, sample: Sample, chosen: int) -> Sample:
        """The window of a sample of `people_alone` with one of its people; joints outside the window are unknown."""
        assert sample.instances is not None
        person = sample.instances.select([chosen])
        assert person.keypoints is not None
        keypoints = person.keypoints.copy()
        keypoints[..., :2] = self.forward(keypoints[..., :2])
        keypoints[..., 2] *= ((keypoints[..., :2] >= 0) & (keypoints[..., :2] < self.size)).all(-1)
        heads = person.head_boxes
        person = replace(
            person,
            boxes=self._moved(person.boxes),
            keypoints=keypoints,
            head_boxes=None if heads is None else self._moved(heads),
        )
        return Sample(sample.name, self.image(sample.image), instances=person)

    def _moved(self, boxes: np.ndarray) -> np.ndarray:
        """(N, 4) of the picture -> (N, 4) of the window."""
        return self.forward(boxes.reshape(-1, 2, 2)).reshape(-1, 4).astype(np.float32)


@dataclass(frozen=True, slots=True)
class PersonWindows:
    """Cuts a sample of `people_alone` into one window of `size` per person, as for the evaluation of networks."""

    size: int

    def __call__(self, sample: Sample) -> Iterator[Sample]:
        for number in range(0 if sample.instances is None else len(sample.instances)):
            assert sample.instances is not None
            yield PersonWindow.around(sample.instances.boxes[number], self.size).sample(sample, number)


@dataclass(frozen=True, slots=True)
class PersonCrops:
    """Random crops of samples of `people_alone`, each of one person, who fills the crop at a scale of 1.

    The person is first cut out with as much of the surroundings as any crop may show, and reduced if the picture has
    more pixels than the crop. So everything beyond the picture is plain, rather than a mirror image with extra limbs.
    """

    augment: Augmentation

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        size = self.augment.crop[0]
        people = sample.instances
        if people is None or not len(people):
            return Sample(sample.name, whole_picture(sample.image, size).image(sample.image))
        chosen = int(rng.integers(len(people)))
        reach = (math.sqrt(2) if self.augment.rotate > 0 else 1.0) / min(self.augment.scale[0], 1.0)
        window = PersonWindow.around(people.boxes[chosen], 1, margin=reach * MARGIN)
        window = PersonWindow(window.left, window.top, window.side, min(window.side, math.ceil(reach * size)))
        return self.augment(window.sample(sample, chosen), rng)


def whole_picture(image: np.ndarray, size: int) -> PersonWindow:
    """The window of a whole picture (H, W, C) that shows one person."""
    return PersonWindow.around(np.array([0, 0, image.shape[1], image.shape[0]], np.float32), size)
