"""Finds the classes of a dataset by name among those of a network, which may list them in a different order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from pixelwise.data.dataset import Dataset
from pixelwise.data.draw import BACKGROUND_NAMES
from pixelwise.errors import UserError

GENERIC = re.compile(r"class \d+|object|foreground")
"""Names that are used if the data names no classes. They say no more about a class than its id does."""

MAX_NAMES = 12
"""How many names a message lists."""


def with_class_names(dataset: Dataset, class_names: Sequence[str]) -> Dataset:
    """The dataset with the class ids of another list of names, which must contain each of the dataset's classes.

    Classes are found by name, in any order; upper and lower case do not matter. If both lists have a background and one
    further class, and at most one of the lists gives that class a name (`GENERIC`), it is taken to be the same class. A
    note says what was done unless the lists are equal.

    Raises:
        UserError: classes that are not in the list, or that cannot be matched by their names.
    """
    if dataset.class_names == tuple(class_names):
        return dataset
    ids = matching_ids(dataset.class_names, class_names)
    if ids is None:
        raise _no_match(dataset, class_names)
    read = ", ".join(
        f"{class_id} {class_names[class_id]}"
        + ("" if own == class_names[class_id] else f" (called '{own}' in the data)")
        for own, class_id in zip(dataset.class_names, ids, strict=True)
    )
    note = (
        f"{dataset.root}: has {len(ids)} of the network's {len(class_names)} classes; its labels are read with the "
        f"network's ids: {read}"
    )
    return replace(
        dataset,
        class_names=tuple(class_names),
        records=tuple(
            record if record.class_id is None else replace(record, class_id=ids[record.class_id])
            for record in dataset.records
        ),
        renumbering=ids,
        notes=(*dataset.notes, note),
    )


def matching_ids(names: Sequence[str], known: Sequence[str]) -> tuple[int, ...] | None:
    """The position in `known` of each of `names`, all different; None if one of them has no match.

    >>> matching_ids(["dog", "background"], ["background", "Cat", "Dog"])
    (2, 0)
    """
    ids = [_find(name, known) for name in names]
    if None not in ids and len(set(ids)) == len(ids):
        return tuple(class_id for class_id in ids if class_id is not None)
    if len(names) == len(known) == 2 and all(is_background(each[0]) for each in (names, known)):
        return (0, 1) if GENERIC.fullmatch(names[1]) or GENERIC.fullmatch(known[1]) else None
    return None


def _find(name: str, known: Sequence[str]) -> int | None:
    if name in known:
        return list(known).index(name)
    forms = [folded(each) for each in known]
    return forms.index(folded(name)) if Counter(forms)[folded(name)] == 1 else None


def folded(name: str) -> str:
    """A name in the form used for comparisons: `Fire_truck` and `fire truck` are the same."""
    return " ".join(name.casefold().replace("_", " ").split())


def is_background(name: str) -> bool:
    """Whether a name is one that is commonly used for pixels of no class."""
    return folded(name) in {*BACKGROUND_NAMES, "class 0"}


def _no_match(dataset: Dataset, class_names: Sequence[str]) -> UserError:
    own, known = _listed(dataset.class_names), _listed(class_names)
    strange = [name for name in dataset.class_names if _find(name, class_names) is None]
    lines = _listed(class_names[: len(dataset.class_names)])
    differs = f"{dataset.root}: its classes are {own}, but the network's are {known}"
    if any(map(GENERIC.fullmatch, strange)) != any(map(GENERIC.fullmatch, class_names)):
        return UserError(
            f"{differs}, so the names do not show which is which; put a classes.txt with the network's names, one per "
            f"line in the order of the ids of the data, into {dataset.root} (if the orders agree, the lines: {lines})."
        )
    if not strange:
        return UserError(f"{differs}, and several of them match the same one; write each name once into classes.txt.")
    unknown = _listed([f"'{name}'" for name in strange])
    return UserError(
        f"{differs}, which {'do' if len(class_names) > 1 else 'does'} not include {unknown}; evaluate on data that has "
        f"only the network's classes, or, if a class merely has another name, give it the network's name in "
        f"classes.txt (one name per line, in the order of the ids of the data; for example the lines: {lines})."
    )


def _listed(names: Sequence[str]) -> str:
    """The names separated by commas; only the first ones if there are many."""
    more = f", ... ({len(names)} in all)" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
