"""People with joints: how they are stored, which of them teach something, and the part of a picture about one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from pixelwise.data.augment import MARGIN
from pixelwise.data.codings import Coding
from pixelwise.data.fit import resized
from pixelwise.data.joints import Joints
from pixelwise.data.record import Record
from pixelwise.data.sample import Instances, Sample
from pixelwise.errors import UserError

PERSON = 1
"""Class id of every person."""


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One annotated person.

    Attributes:
        keypoints: (J, 3) float32 x, y in pixels and `HIDDEN`, `VISIBLE` or 0 for a joint that is not annotated.
        box: (4,) float32 xyxy in pixels; None where only the joints are known.
        head_box: (4,) float32 xyxy around the head; None where it is not known.
        entry: where the person stands in the file, for messages.
    """

    keypoints: np.ndarray
    box: np.ndarray | None = None
    head_box: np.ndarray | None = None
    entry: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class PeopleCoding(Coding):
    """People by the name of the record; there are no masks.

    Attributes:
        joints: of every person.
    """

    people: Mapping[str, tuple[Person, ...]] = field(default_factory=dict)
    joints: Joints = field(default_factory=lambda: Joints(()))
    kind: ClassVar[str] = "keypoints"
    task: ClassVar[str] = "pose"
    knows: ClassVar[frozenset[str]] = frozenset({"objects", "keypoints"})

    def people_of(self, name: str) -> tuple[Person, ...]:
        """The people of a record, without drawing anything."""
        return self.people.get(name, ())

    def label(self, sample: Sample, record: Record, *, objects: bool) -> Sample:
        return replace(sample, instances=instances_of(self.people_of(record.name), self.joints))

    def decode(self, record: Record, height: int, width: int) -> tuple[np.ndarray, Instances | None]:
        """
        Raises:
            UserError: always, for joints are no masks.
        """
        raise UserError(
            f"{record.labels[0]}: holds joints of people, not masks, so no network can learn from it which pixels are "
            "what; train a network for poses (pixelwise train hourglass_pose), or add masks."
        )

    def decode_mask(self, record: Record, height: int, width: int) -> np.ndarray:
        """
        Raises:
            UserError: as `decode`.
        """
        return self.decode(record, height, width)[0]


def instances_of(people: tuple[Person, ...], joints: Joints) -> Instances:
    """People as objects: the box of each, or the one around the joints where only they are known."""
    keypoints = np.zeros((len(people), len(joints), 3), np.float32)
    for number, person in enumerate(people):
        keypoints[number] = person.keypoints
    boxes = box_of_joints(keypoints)
    heads = np.full((len(people), 4), np.nan, np.float32)
    for number, person in enumerate(people):
        if person.box is not None:
            boxes[number] = person.box
        if person.head_box is not None:
            heads[number] = person.head_box
    return Instances(
        boxes,
        np.full(len(people), PERSON, np.int64),
        keypoints=keypoints,
        sides=joints.sides,
        head_boxes=heads if any(person.head_box is not None for person in people) else None,
    )


def box_of_joints(keypoints: np.ndarray) -> np.ndarray:
    """(N, J, 3) -> (N, 4) float32 xyxy around the annotated joints of each; zeros where there are none."""
    known = keypoints[..., 2:] > 0
    low = np.where(known, keypoints[..., :2], np.inf).min(1, initial=np.inf)
    high = np.where(known, keypoints[..., :2], -np.inf).max(1, initial=-np.inf)
    boxes = np.concatenate([low, high], 1)
    return np.where(np.isfinite(boxes), boxes, 0).astype(np.float32)


def people_alone(sample: Sample) -> Sample:
    """A sample without mask, whose objects are the people with a joint; each box holds the person's joints as well."""
    objects = sample.instances
    if objects is None or objects.keypoints is None:
        return replace(sample, mask=None, instances=None)
    known = np.flatnonzero((objects.keypoints[..., 2] > 0).any(1))
    people = objects.select(known)
    assert people.keypoints is not None
    around = box_of_joints(people.keypoints)
    low = np.minimum(people.boxes[:, :2], around[:, :2])
    high = np.maximum(people.boxes[:, 2:], around[:, 2:])
    return replace(sample, mask=None, instances=replace(people, boxes=np.concatenate([low, high], 1)))


@dataclass(frozen=True, slots=True)
class PersonWindow:
    """A square about a person, and the picture of it that a network sees; proportions stay as they are.

    Attributes:
        left, top, side: of the square, in pixels of the picture, beyond which it may reach.
        size: height and width of the picture that the network sees.
    """

    left: int
    top: int
    side: int
    size: int

    @classmethod
    def around(cls, box: np.ndarray, size: int, margin: float = MARGIN) -> PersonWindow:
        """The square whose middle is that of a box (4,) xyxy, `margin` times as large as its longer side."""
        side = max(round(margin * float((box[2:] - box[:2]).max())), 1)
        left, top = np.rint((box[:2] + box[2:] - side) / 2).astype(int).tolist()
        return cls(left, top, side, size)

    def image(self, image: np.ndarray) -> np.ndarray:
        """(H, W, C) -> (size, size, C); beyond the picture there is its mean colour."""
        height, width = image.shape[:2]
        top, left = (min(max(low, 0), end) for low, end in ((self.top, height), (self.left, width)))
        bottom, right = (min(max(low + self.side, 0), end) for low, end in ((self.top, height), (self.left, width)))
        inside = image[top:bottom, left:right]
        if inside.shape[:2] == (self.side, self.side):
            return resized(inside, self.size, self.size)
        mean = image.reshape(-1, image.shape[2]).mean(0)
        square = np.empty((self.side, self.side, image.shape[2]), image.dtype)
        square[:] = mean.astype(image.dtype)
        if inside.size:
            square[top - self.top : bottom - self.top, left - self.left : right - self.left] = inside
        return resized(square, self.size, self.size)

    def forward(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) of the picture -> where they are in the window."""
        return (points - (self.left, self.top)) * (self.size / self.side)

    def back(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) of the window -> where they are in the picture."""
        return points * (self.side / self.size) + (self.left, self.top)

    def sample(self, sample: Sample, chosen: int) -> Sample:
        """The window of a sample of `people_alone` with one of its people alone; joints outside of it are unknown."""
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
    """Cuts a sample of `people_alone` into a window of `size` per person, as networks are measured on them."""

    size: int

    def __call__(self, sample: Sample) -> Iterator[Sample]:
        for number in range(0 if sample.instances is None else len(sample.instances)):
            assert sample.instances is not None
            yield PersonWindow.around(sample.instances.boxes[number], self.size).sample(sample, number)
