"""Findings that several tasks share: classes that are never found, or that cannot be judged."""

from __future__ import annotations

from collections.abc import Sequence

from pixelwise.data.dataset import Dataset
from pixelwise.data.listing import counted, relative, some
from pixelwise.data.pictures import PICTURE_SUFFIXES
from pixelwise.data.record import Record
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.report.limits import Limit

NEVER = 0.005
"""A class with a recall below this counts as never found."""


def never_found(confusion: ConfusionMatrix, learned: Sequence[int]) -> list[int]:
    """Ids of the classes that training and validation pictures have, but of which less than 0.5 % was found.

    Args:
        learned: how much of each class the training pictures have.
    """
    recall, true = confusion.recall().tolist(), confusion.true_pixels.tolist()
    return [k for k in range(len(true)) if true[k] and learned[k] and recall[k] < NEVER]


def absent_classes(confusion: ConfusionMatrix, learned: Sequence[int]) -> list[Limit]:
    """Findings about classes that are missing in the training pictures or in the validation pictures."""
    names, true = confusion.class_names, confusion.true_pixels.tolist()
    unlearned = [names[k] for k in range(len(names)) if not learned[k]]
    unjudged = [names[k] for k in range(len(names)) if learned[k] and not true[k]]
    limits = []
    if unlearned:
        sentence = f"No training label shows {some(unlearned, 3)}."
        advice = "Label it in some training pictures, or remove it from the classes."
        limits.append(Limit("classes-not-in-training", sentence, advice))
    if unjudged:
        they, them = ("it", "it") if len(unjudged) == 1 else ("they", "them")
        sentence = f"No validation label shows {some(unjudged, 3)}, so {they} cannot be measured."
        advice = f"Hold out pictures that show {them}."
        limits.append(Limit("classes-not-in-validation", sentence, advice))
    return limits


def missed_classes(confusion: ConfusionMatrix, learned: Sequence[int], what: tuple[str, str]) -> list[Limit]:
    """The finding about classes of which less than 0.5 % was found.

    Args:
        learned: how much of each class the training pictures have.
        what: the singular and the plural of the word for what these numbers count.
    """
    names, true = confusion.class_names, confusion.true_pixels.tolist()
    missed = [
        f"{names[k]} (none of {true[k]:,} found, {counted(learned[k], *what)} to learn from)"
        for k in never_found(confusion, learned)
    ]
    if not missed:
        return []
    advice = "Add training pictures of them, and check with `pixelwise check` whether the class names are right."
    return [Limit("classes-not-found", f"Never found: {some(missed, 3)}.", advice)]


def label_file(dataset: Dataset, record: Record) -> str:
    """The mask file of a picture if it holds nothing else, else the picture file; relative to the data's folder."""
    alone = len(record.labels) == 1 and record.labels[0].suffix.lower() in PICTURE_SUFFIXES
    file = record.labels[0] if alone else record.picture
    name = relative(dataset.root, file) if file.is_relative_to(dataset.root) else str(file)
    return name if record.position is None else f"{name}, picture {record.position}"
