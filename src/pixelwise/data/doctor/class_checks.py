"""Checks of pictures that are sorted into classes."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from pixelwise.data.doctor.diagnosis import Finding, Findings
from pixelwise.data.doctor.examination import Examination
from pixelwise.data.listing import counted, some

FEW = 10
"""A class with fewer training pictures than this is hardly learned from random weights."""
MAX_UNEQUAL = 20
"""A warning is given if one class has this many times fewer pictures than another."""


def contradictions(ex: Examination) -> Findings:
    """The same picture, pixel for pixel, in two classes."""
    if ex.coding.kind != "classes":
        return
    same = defaultdict(list)
    for look in ex.looks:
        if look.pixels and look.usable:
            same[look.pixels].append(look.record)
    both = tuple(
        some([f"{record.name} ({ex.class_names[record.class_id or 0]})" for record in records], 4)
        for records in same.values()
        if len({record.class_id for record in records}) > 1
    )
    if both:
        yield Finding(
            "error",
            "contradiction",
            f"{counted(len(both), 'picture is', 'pictures are')} in two classes at once, pixel for pixel; remove each "
            "from the wrong class.",
            both,
        )


def balance(ex: Examination) -> Findings:
    """Classes that are missing from a split, or have few pictures."""
    if ex.coding.kind != "classes":
        return
    class_of = {look.record.name: look.record.class_id for look in ex.looks if look.usable}
    for split, consequence in (("train", "cannot be learned"), ("val", "cannot be measured")):
        ids = [class_of[name] for name in ex.splits.get(split, ()) if name in class_of]
        if not ids:
            continue
        counts = np.bincount(np.array(ids, np.int64), minlength=len(ex.class_names))
        absent = tuple(ex.class_names[class_id] for class_id in np.flatnonzero(counts == 0))
        if absent:
            yield Finding(
                "warning",
                "class-absent-from-split",
                f"{some(absent)} {'never occurs' if len(absent) == 1 else 'never occur'} in {split} and {consequence}; "
                f"add pictures, or move some from another split to {split}.",
            )
        if split == "val":
            continue
        few = [f"{ex.class_names[i]} ({counts[i]})" for i in np.flatnonzero((counts > 0) & (counts < FEW))]
        if few:
            yield Finding(
                "warning",
                "few-pictures",
                f"{some(few)}: fewer than {FEW} pictures to train on; add some, or start from pretrained weights.",
            )
        rarest = int(np.where(counts > 0, counts, np.iinfo(np.int64).max).argmin())
        ratio = counts.max() / counts[rarest]
        if ratio >= MAX_UNEQUAL:
            yield Finding(
                "warning",
                "imbalance",
                f"{ex.class_names[rarest]} has {ratio:,.0f} times fewer pictures than "
                f"{ex.class_names[counts.argmax()]}; training will use class weights, the square roots of those of "
                "median frequency balancing.",
            )
