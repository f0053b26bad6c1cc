"""What limits a result, as far as several tasks have it: classes that are never found, or that cannot be judged."""

from __future__ import annotations

from collections.abc import Sequence

from pixelwise.data.dataset import Dataset
from pixelwise.data.listing import counted, relative, some
from pixelwise.data.pictures import PICTURE_SUFFIXES
from pixelwise.data.record import Record
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.report.limits import Limit

NEVER = 0.005
"""Recall below which a class counts as never found."""


def never_found(confusion: ConfusionMatrix, learned: Sequence[int]) -> list[int]:
    """Ids of the classes that the validation split has, that there was something to learn of, and of which less than
    0.5 % was found.

    Args:
        learned: how much of each class the training pictures have.
    """
    recall, true = confusion.recall().tolist(), confusion.true_pixels.tolist()
    return [k for k in range(len(true)) if true[k] and learned[k] and recall[k] < NEVER]


def absent_classes(confusion: ConfusionMatrix, learned: Sequence[int]) -> list[Limit]:
    """Classes that the training pictures or the validation pictures do not have."""
    names, true = confusion.class_names, confusion.true_pixels.tolist()
    unlearned = [names[k] for k in range(len(names)) if not learned[k]]
    unjudged = [names[k] for k in range(len(names)) if learned[k] and not true[k]]
    limits = []
    if unlearned:
        sentence = f"No training label shows {some(unlearned, 3)}."
        advice = "Label some of it in training pictures, or leave it out of the classes."
        limits.append(Limit("classes-not-in-training", sentence, advice))
    if unjudged:
        sentence = f"No validation label shows {some(unjudged, 3)}, so how well that is found is not known."
        advice = "Hold out pictures that show it."
        limits.append(Limit("classes-not-in-validation", sentence, advice))
    return limits


def missed_classes(confusion: ConfusionMatrix, learned: Sequence[int], what: tuple[str, str]) -> list[Limit]:
    """Classes of which less than 0.5 % was found, with how much of them there is to learn from.

    Args:
        learned: how much of each class the training pictures have.
        what: the singular and the plural of what these numbers count.
    """
    names, true = confusion.class_names, confusion.true_pixels.tolist()
    missed = [
        f"{names[k]} (none of {true[k]:,} found, {counted(learned[k], *what)} to learn from)"
        for k in never_found(confusion, learned)
    ]
    if not missed:
        return []
    advice = (
        "Add training pictures of them, and look with `pixelwise check` whether the names of the classes are right."
    )
    return [Limit("classes-not-found", f"Never found: {some(missed, 3)}.", advice)]


def label_file(dataset: Dataset, record: Record) -> str:
    """The mask of a picture, where one file holds nothing else, or the picture; relative to the data's folder."""
    alone = len(record.labels) == 1 and record.labels[0].suffix.lower() in PICTURE_SUFFIXES
    file = record.labels[0] if alone else record.picture
    name = relative(dataset.root, file) if file.is_relative_to(dataset.root) else str(file)
    return name if record.place is None else f"{name}, picture {record.place}"
