"""Checks of joints: beyond the picture, outside the person's box, too few, or with left and right swapped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pixelwise.data.doctor.diagnosis import Finding, Findings
from pixelwise.data.doctor.examination import Examination
from pixelwise.data.joints import VISIBLE, Joints
from pixelwise.data.listing import counted
from pixelwise.data.people import Person

BESIDE = 0.2
"""How far a joint may lie outside the person's box, as a share of the box's longer side. Boxes are drawn tightly around
what is visible, while hidden joints are guessed."""
COMMON = 0.1
"""From this share of the people with a box on, joints outside the box are more than guesses of hidden ones."""
FEW = 0.25
"""A person with less than this share of the joints teaches little."""
DECIDED = 0.7
"""A person shows whether limbs are swapped if the shorter of the two pairings is at most this times the longer."""
SWAPPED_SHARE = 0.5
"""From this share of the people in whom a swap would show, swaps count as systematic."""
ENOUGH = 10
"""With fewer such people than this, nothing is concluded."""


def outside(ex: Examination) -> Findings:
    """Joints beyond their picture, and joints far outside their person's box."""
    beyond, beside, boxes = [], [], 0
    for name, size, person in _people(ex):
        points = person.keypoints[person.keypoints[:, 2] > 0, :2]
        off = (points < -1).any(1) | (points > (size[1] + 1, size[0] + 1)).any(1)
        if off.any():
            beyond.append(f"{name}, {person.entry} ({off.sum()} of {len(points)} joints)")
        if person.box is not None and len(points):
            boxes += 1
            reach = BESIDE * float((person.box[2:] - person.box[:2]).max())
            far = (points < person.box[:2] - reach).any(1) | (points > person.box[2:] + reach).any(1)
            if far.any():
                beside.append(f"{name}, {person.entry} ({far.sum()} of {len(points)} joints)")
    if beyond:
        yield Finding(
            "warning",
            "joint-beyond-picture",
            f"{counted(len(beyond), 'person has', 'people have')} joints beyond the picture, which are not learned; "
            "if these are most of the joints, the annotation belongs to another version of the picture: look at some.",
            tuple(beyond),
        )
    if beside:
        yield Finding(
            "warning" if len(beside) > COMMON * boxes else "note",
            "joint-outside-box",
            f"{len(beside)} of {counted(boxes, 'person', 'people')} {'has' if len(beside) == 1 else 'have'} joints far "
            f"outside the box (by more than {100 * BESIDE:.0f} % of its longer side), as if box and joints belonged "
            "to two people; look at some.",
            tuple(beside),
        )


def few(ex: Examination) -> Findings:
    """People with hardly any annotated joint."""
    joints = _joints(ex)
    if joints is None:
        return
    people = [(name, person, int((person.keypoints[:, 2] > 0).sum())) for name, _, person in _people(ex)]
    none = sum(not known for *_, known in people)
    if none:
        yield Finding(
            "note",
            "no-joints",
            f"{counted(none, 'person has', 'people have')} no annotated joint and will be neither learned nor counted.",
        )
    little = tuple(
        f"{name}, {person.entry} ({known})" for name, person, known in people if 0 < known < FEW * len(joints)
    )
    if little:
        yield Finding(
            "note",
            "few-joints",
            f"{counted(len(little), 'person has', 'people have')} less than a quarter of the {len(joints)} joints; "
            "annotate those that can be seen, or leave such people out.",
            little,
        )


def sides(ex: Examination) -> Findings:
    """Pairs of joints that look as if left and right were swapped.

    Two signs show a swap, and neither is visible in every person. First, if both eyes and the nose are visible, the
    face is seen from the front, and the left eye is on the right of the picture unless the person is upside down.
    Second, a limb connects joints of the same side: if the left knee and the right ankle, and the right knee and the
    left ankle, are much nearer to each other than joints of the same side, one of the pairs is swapped, or the legs are
    crossed. If all pairs of a body are swapped together, as after mirroring only the pictures, its limbs stay whole,
    so such a swap can only be detected by the face.
    """
    joints = _joints(ex)
    if joints is None:
        return
    people = [(name, person) for name, _, person in _people(ex)]
    doubtful: list[str] = []
    for what, decisions in (*_faces(joints, people), *_limbs(joints, people)):
        decided = [(entry, swapped) for entry, swapped in decisions if swapped is not None]
        wrong = [entry for entry, swapped in decided if swapped]
        if len(decided) >= ENOUGH and len(wrong) >= SWAPPED_SHARE * len(decided):
            yield Finding(
                "warning",
                "sides-swapped",
                f"Left and right look swapped: {what} for {len(wrong)} of the {len(decided)} people in whom this can "
                "be judged. If `left` means the left of the picture, or if pictures were mirrored without exchanging "
                "the names, exchange them in the annotations; left is the person's own left.",
                tuple(wrong),
            )
        else:
            doubtful += [f"{entry}: {what}" for entry in wrong]
    if doubtful:
        yield Finding(
            "note",
            "sides-doubtful",
            f"{counted(len(doubtful), 'pair of joints looks', 'pairs of joints look')} as if left and right were "
            "swapped in single people. Crossed limbs and twisted bodies look like this as well; look at some.",
            tuple(doubtful),
        )


Decision = tuple[str, bool | None]
"""Where a person is, and whether the pair looks swapped; None if this cannot be judged."""


def _faces(joints: Joints, people: list[tuple[str, Person]]) -> Iterator[tuple[str, list[Decision]]]:
    """The left and right eye of upright faces that are seen from the front."""
    left, right, nose = (joints.find(name) for name in ("left_eye", "right_eye", "nose"))
    if left is None or right is None or nose is None:
        return
    decisions: list[Decision] = []
    for name, person in people:
        seen = (person.keypoints[[left, right, nose], 2] >= VISIBLE).all()
        eyes, tip = person.keypoints[[left, right], :2], person.keypoints[nose, :2]
        apart = float(eyes[0, 0] - eyes[1, 0])
        # In an upright face seen from the front, the nose is below the eyes and between them.
        frontal = tip[1] > eyes[:, 1].mean() and min(eyes[:, 0]) < tip[0] < max(eyes[:, 0])
        upright = abs(apart) > abs(float(eyes[0, 1] - eyes[1, 1]))
        decisions.append((f"{name}, {person.entry}", apart < 0 if seen and frontal and upright else None))
    yield "in faces seen from the front the left eye is on the left of the picture", decisions


def _limbs(joints: Joints, people: list[tuple[str, Person]]) -> Iterator[tuple[str, list[Decision]]]:
    """Each pair of limbs, uncrossed compared with crossed."""
    partner = dict(enumerate(joints.mirrored))
    for first, second in joints.skeleton:
        if joints.side_of(first) != "left" or joints.side_of(second) != "left":
            continue
        other, opposite = partner[first], partner[second]
        decisions: list[Decision] = []
        for name, person in people:
            points, known = person.keypoints[:, :2].astype(np.float64), person.keypoints[:, 2] > 0
            if not known[[first, second, other, opposite]].all():
                continue

            def length(one: int, two: int, points: np.ndarray = points) -> float:
                return float(np.linalg.norm(points[one] - points[two]))

            straight = length(first, second) + length(other, opposite)
            crossed = length(first, opposite) + length(other, second)
            shorter, longer = sorted((straight, crossed))
            decisions.append((f"{name}, {person.entry}", crossed < straight if shorter < DECIDED * longer else None))
        names = joints.names[first], joints.names[opposite]
        yield f"{names[0]} is much nearer to {names[1]} than to {joints.names[second]}", decisions


def _joints(ex: Examination) -> Joints | None:
    coding: Any = ex.coding
    return coding.joints if "keypoints" in ex.coding.knows else None


def _people(ex: Examination) -> Iterator[tuple[str, tuple[int, int], Person]]:
    """The people of readable pictures: the name of the record, the size of the picture, the person."""
    if _joints(ex) is None:
        return
    coding: Any = ex.coding
    for look in ex.looks:
        if look.size is not None and look.record.labelled:
            for person in coding.people_of(look.record.name):
                yield look.record.name, look.size, person
