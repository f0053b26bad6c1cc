"""Checks of joints: beyond the picture, outside of the person's box, few of them, and left taken for right."""

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
"""How far a joint may lie outside of the person's box, as a share of the box's longer side: boxes are drawn tightly
around what is seen, and joints are guessed where they are hidden."""
COMMON = 0.1
"""Share of the people with a box from which on joints outside of it are more than guesses of hidden ones."""
FEW = 0.25
"""Share of the joints below which a person teaches little."""
DECIDED = 0.7
"""Two limbs are decidedly crossed where uncrossing them makes them together at most this times as long."""
MOST = 0.5
"""Share of the decided people from which on a swap is taken for systematic."""
ENOUGH = 10
"""Decided people, fewer of whom say nothing."""


def outside(ex: Examination) -> Findings:
    """Joints beyond their picture, and joints far outside of their person's box."""
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
            "where it is most joints, the annotation is of another version of the picture: look at some.",
            tuple(beyond),
        )
    if beside:
        yield Finding(
            "warning" if len(beside) > COMMON * boxes else "note",
            "joint-outside-box",
            f"{counted(len(beside), 'person', 'people')} of {boxes} with joints far outside of the box (by more than "
            f"{100 * BESIDE:.0f} % of its longer side), as if box and joints were of two people; look at some.",
            tuple(beside),
        )


def few(ex: Examination) -> Findings:
    """People of whom hardly a joint is annotated."""
    joints = _joints(ex)
    if joints is None:
        return
    people = [(name, person, int((person.keypoints[:, 2] > 0).sum())) for name, _, person in _people(ex)]
    none = sum(not known for *_, known in people)
    if none:
        yield Finding(
            "note",
            "no-joints",
            f"{counted(none, 'person has', 'people have')} no annotated joint: not learned, not counted.",
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
    """Joints of a pair that look as if left and right were swapped.

    Two signs tell it, neither of them of every person. Where both eyes and the nose are seen the face is seen from the
    front, and the left eye is on the right of the picture unless the person is upside down. And a limb joins joints of
    one side: where left knee and right ankle, and right knee and left ankle, are much nearer than those of one side,
    one of the pairs is swapped, or the legs are crossed. A body whose pairs are all swapped together keeps its limbs,
    so that without a face such a swap, as after mirroring pictures alone, cannot be told.
    """
    joints = _joints(ex)
    if joints is None:
        return
    people = [(name, person) for name, _, person in _people(ex)]
    doubtful: list[str] = []
    for what, decisions in (*_faces(joints, people), *_limbs(joints, people)):
        decided = [(entry, swapped) for entry, swapped in decisions if swapped is not None]
        wrong = [entry for entry, swapped in decided if swapped]
        if len(decided) >= ENOUGH and len(wrong) >= MOST * len(decided):
            yield Finding(
                "warning",
                "sides-swapped",
                f"Left and right look swapped: {what} for {len(wrong)} of the {len(decided)} people in whom it can be "
                "told. If `left` means the left of the picture, or if pictures were mirrored without exchanging the "
                "names, exchange them in the annotations; left is the person's own.",
                tuple(wrong),
            )
        else:
            doubtful += [f"{entry}: {what}" for entry in wrong]
    if doubtful:
        yield Finding(
            "note",
            "sides-doubtful",
            f"{counted(len(doubtful), 'pair of joints looks', 'pairs of joints look')} as if left and right were "
            "swapped in single people, which crossed limbs and twisted bodies do as well; look at some.",
            tuple(doubtful),
        )


Decision = tuple[str, bool | None]
"""Where a person stands, and whether the pair looks swapped; None where it cannot be told."""


def _faces(joints: Joints, people: list[tuple[str, Person]]) -> Iterator[tuple[str, list[Decision]]]:
    """Left and right eye of faces that are seen from the front, upright."""
    left, right, nose = (joints.find(name) for name in ("left_eye", "right_eye", "nose"))
    if left is None or right is None or nose is None:
        return
    decisions: list[Decision] = []
    for name, person in people:
        seen = (person.keypoints[[left, right, nose], 2] >= VISIBLE).all()
        eyes, tip = person.keypoints[[left, right], :2], person.keypoints[nose, :2]
        apart = float(eyes[0, 0] - eyes[1, 0])
        # The nose hangs below the eyes and between them in a face that is upright and seen from the front.
        frontal = tip[1] > eyes[:, 1].mean() and min(eyes[:, 0]) < tip[0] < max(eyes[:, 0])
        upright = abs(apart) > abs(float(eyes[0, 1] - eyes[1, 1]))
        decisions.append((f"{name}, {person.entry}", apart < 0 if seen and frontal and upright else None))
    yield "in faces seen from the front the left eye is on the left of the picture", decisions


def _limbs(joints: Joints, people: list[tuple[str, Person]]) -> Iterator[tuple[str, list[Decision]]]:
    """Each pair of limbs, uncrossed against crossed."""
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
    """The people of readable pictures: name of the record, size of the picture, person."""
    if _joints(ex) is None:
        return
    coding: Any = ex.coding
    for look in ex.looks:
        if look.size is not None and look.record.labelled:
            for person in coding.people_of(look.record.name):
                yield look.record.name, look.size, person
