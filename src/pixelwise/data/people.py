"""People with joints: how they are stored, and which of them are used for training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from pixelwise.data.codings import MasklessCoding
from pixelwise.data.joints import Joints
from pixelwise.data.record import Record
from pixelwise.data.sample import Instances, Sample
from pixelwise.data.wording import Wording

PERSON = 1
"""Class id of every person."""


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One annotated person.

    Attributes:
        keypoints: (J, 3) float32 x, y in pixels and `HIDDEN`, `VISIBLE` or 0 for a joint that is not annotated.
        box: (4,) float32 xyxy in pixels; None if only the joints are known.
        head_box: (4,) float32 xyxy around the head; None if it is not known.
        entry: the person's entry in the file, for messages.
    """

    keypoints: np.ndarray
    box: np.ndarray | None = None
    head_box: np.ndarray | None = None
    entry: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class PeopleCoding(MasklessCoding):
    """People by the name of the record; there are no masks.

    Attributes:
        joints: the joints of every person.
        head_boxes: whether the data has head boxes, so that for people without one the size of the head is unknown.
    """

    people: Mapping[str, tuple[Person, ...]] = field(default_factory=dict)
    joints: Joints = field(default_factory=lambda: Joints(()))
    head_boxes: bool = False
    kind: ClassVar[str] = "keypoints"
    task: ClassVar[str] = "pose"
    knows: ClassVar[frozenset[str]] = frozenset({"objects", "keypoints"})
    wording: ClassVar[Wording] = Wording(
        label="joints of a person",
        missing="joints of a person",
        labels="joints of people",
        by_hand="Correct what `pixelwise check DATA` names in the annotations.",
    )

    def people_of(self, name: str) -> tuple[Person, ...]:
        """The people of a record, without drawing anything."""
        return self.people.get(name, ())

    def label(self, sample: Sample, record: Record, *, objects: bool) -> Sample:
        return replace(sample, instances=instances_of(self.people_of(record.name), self.joints, self.head_boxes))

    def refusal(self, record: Record) -> str:
        return (
            f"{record.labels[0]}: holds joints of people, not masks, so no network can learn the class of each pixel "
            "from it; train a network for poses (`pixelwise train hourglass_pose`), or add masks."
        )


def instances_of(people: tuple[Person, ...], joints: Joints, head_boxes: bool = False) -> Instances:
    """People as objects: the box of each person, or the box around the joints if only joints are known.

    Args:
        head_boxes: whether people have a head box, which is NaN if it is not known.
    """
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
        head_boxes=heads if head_boxes else None,
    )


def box_of_joints(keypoints: np.ndarray) -> np.ndarray:
    """(N, J, 3) -> (N, 4) float32 xyxy around the annotated joints of each person; zeros if there are none."""
    known = keypoints[..., 2:] > 0
    low = np.where(known, keypoints[..., :2], np.inf).min(1, initial=np.inf)
    high = np.where(known, keypoints[..., :2], -np.inf).max(1, initial=-np.inf)
    boxes = np.concatenate([low, high], 1)
    return np.where(np.isfinite(boxes), boxes, 0).astype(np.float32)


def people_alone(sample: Sample) -> Sample:
    """A sample without mask, whose objects are the people with a joint; each box is enlarged to hold all joints."""
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
