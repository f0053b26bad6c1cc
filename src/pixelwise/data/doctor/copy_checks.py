"""Checks for pictures that occur more than once, above all on both sides of a split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from pixelwise.data.doctor.diagnosis import FIX, Finding, Findings
from pixelwise.data.doctor.examination import Examination
from pixelwise.data.doctor.look import Look
from pixelwise.data.listing import counted, some

SAME_PICTURE = 0.9995
"""Two thumbnails with at least this correlation show the same picture."""


def copies(ex: Examination) -> Findings:
    """Pictures in two splits, pictures that occur more than once, and held-out pictures that resemble training ones."""
    split_of = {name: split for split, names in ex.survey.given.items() for name in names}
    same = defaultdict(list)
    for look in ex.looks:
        if look.pixels:
            same[look.pixels].append(look)
    leaks = [f"{name} ({_claims(ex, name)})" for name in ex.survey.in_two_splits()]
    copies: list[str] = []
    for looks in same.values():
        splits = {split_of[look.record.name] for look in looks if look.record.name in split_of}
        files = list(dict.fromkeys((look.record.picture, look.record.position) for look in looks))
        if len(files) > 1:
            names = some([ex.relative(file) for file, _ in files], 4)
            (leaks if len(splits) > 1 else copies).append(names)
    if leaks:
        yield Finding(
            "error",
            "leak",
            f"{counted(len(leaks), 'picture is', 'pictures are')} in two splits at once, pixel for pixel, so that the "
            f"scores would reward memorising; remove each from one split ({FIX} keeps the held-out copy).",
            tuple(leaks),
        )
    if copies:
        yield Finding(
            "warning",
            "duplicate",
            f"{counted(len(copies), 'picture occurs', 'pictures occur')} more than once, pixel for pixel. Such "
            "pictures count more than others"
            + (" and may land on both sides of the automatic split" if ex.split_made else "")
            + f"; delete the copies ({FIX} keeps one).",
            tuple(copies),
        )
    similar = tuple(_similar_across_splits(ex))
    if similar:
        yield Finding(
            "warning",
            "leak-similar",
            f"{counted(len(similar), 'held-out picture looks', 'held-out pictures look')} the same as one that is "
            "trained on, as if saved again in another format or size; if so, remove it from one split.",
            similar,
        )


def _claims(ex: Examination, name: str) -> str:
    return " and ".join(split for split, names in ex.survey.given.items() if name in names)


def _similar_across_splits(ex: Examination) -> Iterator[str]:
    looks = {
        look.record.name: look
        for look in ex.looks
        # Pictures of an idx file are as small as thumbnails: many different digits 1 look alike.
        if look.thumbnail is not None and look.thumbnail.any() and look.record.position is None
    }
    train = [looks[name] for name in ex.splits.get("train", ()) if name in looks]
    if not train:
        return
    thumbnails = np.stack([_thumbnail(look) for look in train])
    for split, names in ex.splits.items():
        for look in (looks[name] for name in names if split != "train" and name in looks):
            correlation = thumbnails @ _thumbnail(look)
            best = train[int(correlation.argmax())]
            if correlation.max() > SAME_PICTURE and best.pixels != look.pixels:
                yield f"{ex.relative(look.record.picture)} ~ {ex.relative(best.record.picture)}"


def _thumbnail(look: Look) -> np.ndarray:
    assert look.thumbnail is not None
    return look.thumbnail
