"""Checks of objects: their numbers and sizes, class by class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pixelwise.data.doctor.diagnosis import Finding, Findings
from pixelwise.data.doctor.examination import Examination
from pixelwise.data.listing import counted, some
from pixelwise.data.oddities import SeenObjects

FEW = 10
"""A class with fewer training objects than this is hardly learned."""
ENOUGH = 20
"""With at least this many objects in a class, their sizes show what is usual."""
FACTOR = 10.0
"""An object is unusual if its side is this many times longer or shorter than the median of its class."""
DEVIATIONS = 5.0
"""An unusual object is also this many standard deviations of the logarithm of the sides away from the median; the
standard deviation is estimated from the median deviation."""
NORMAL = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
WHOLE, SMALL, SELDOM = 0.99, 0.1, 0.02
"""A box over more than the first share of its picture is unusual if half of the class's objects cover less than `SMALL`
of their pictures, and no more than the share `SELDOM` of them cover all of theirs."""


def numbers(ex: Examination) -> Findings:
    """Classes with few training objects and, if only boxes are known, classes without any."""
    if ex.coding.kind != "shapes":
        return
    boxes = ex.boxes_alone
    for split, consequence in (("train", "cannot be learned"), ("val", "cannot be measured")):
        counts = _counts(ex, split)
        if counts is None:
            continue
        absent = [name for name, count in counts.items() if not count]
        few = [f"{name} ({count})" for name, count in counts.items() if 0 < count < FEW]
        if absent and boxes:
            yield Finding(
                "warning",
                "class-absent-from-split",
                f"{some(absent)} {'never occurs' if len(absent) == 1 else 'never occur'} in {split} and {consequence}; "
                f"label pictures that show such objects, or move some from another split to {split}.",
            )
        if few and split == "train":
            yield Finding(
                "warning" if boxes else "note",
                "few-objects",
                f"{some(few)}: fewer than {FEW} objects to train on; to find such objects, label more, or start from "
                "pretrained weights.",
            )


def _counts(ex: Examination, split: str) -> dict[str, int] | None:
    """Class -> objects in a split, without crowds and difficult ones; None for a split without labelled pictures."""
    looks = {look.record.name: look.masks[0].odd.objects for look in ex.sound}
    members = [objects for name in ex.splits.get(split, ()) if (objects := looks.get(name)) is not None]
    if not members:
        return None
    classes = np.concatenate([objects.classes[~objects.ignored] for objects in members])
    counts = np.bincount(classes, minlength=len(ex.class_names))
    return dict(zip(ex.class_names[1:], counts[1:].tolist(), strict=True))


def sizes(ex: Examination) -> Findings:
    """Objects far larger or smaller than is usual in their class, and boxes around whole pictures."""
    if ex.coding.kind != "shapes":
        return
    found = list(_objects(ex))
    odd, whole = [], []
    for class_id in sorted({one.class_id for one in found}):
        of_class = [one for one in found if one.class_id == class_id]
        if len(of_class) < ENOUGH:
            continue
        logs = np.log([one.side for one in of_class])
        median = np.median(logs)
        spread = NORMAL * np.median(np.abs(logs - median))
        far = np.abs(logs - median) > max(np.log(FACTOR), DEVIATIONS * spread)
        usual = f"half of {ex.class_names[class_id]} are below {np.exp(median):.0f}"
        odd += [f"{of_class[k].where} ({of_class[k].side:.0f} pixels, {usual})" for k in np.flatnonzero(far)]
        shares = np.array([one.share for one in of_class])
        full = np.flatnonzero(shares >= WHOLE)
        if len(full) <= SELDOM * len(shares) and np.median(shares) < SMALL:
            whole += [of_class[k].where for k in full]
    if odd:
        yield Finding(
            "warning",
            "object-size",
            f"{counted(len(odd), 'object is', 'objects are')} more than {FACTOR:g} times as long or as short as is "
            "usual in the class, as after a slip of the mouse or a wrong class; look at them.",
            tuple(odd),
        )
    if whole:
        yield Finding(
            "warning",
            "box-whole-picture",
            f"{counted(len(whole), 'box covers', 'boxes cover')} all of the picture, in a class whose objects are "
            "small; check whether an object or the picture as a whole was meant.",
            tuple(whole),
        )


@dataclass(frozen=True, slots=True)
class _Object:
    """One object: its class, the square root of its box's area in pixels, the box's share of the picture, its entry."""

    class_id: int
    side: float
    share: float
    where: str


def _objects(ex: Examination) -> Iterator[_Object]:
    """The objects that count, of all readable pictures."""
    for look in ex.sound:
        objects = look.masks[0].odd.objects
        if objects is None or look.size is None:
            continue
        areas = _areas(objects)
        for number in np.flatnonzero(~objects.ignored & (areas > 0)).tolist():
            area = float(areas[number])
            where = f"{look.record.name}, {objects.entries[number]}"
            yield _Object(int(objects.classes[number]), area**0.5, area / (look.size[0] * look.size[1]), where)


def _areas(objects: SeenObjects) -> np.ndarray:
    return np.prod(objects.boxes[:, 2:] - objects.boxes[:, :2], axis=1)
