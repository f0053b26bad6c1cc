"""Few labels: which training pictures keep their labels, chosen by a seed or named by a list with a digest."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pixelwise.atomic import write_text
from pixelwise.data.dataset import UNLABELLED, Dataset
from pixelwise.data.listing import read_text, some
from pixelwise.data.names import Names
from pixelwise.data.record import Record
from pixelwise.data.splits import groups
from pixelwise.errors import UserError

FILE = "labelled.txt"
"""The list that a run with few labels keeps in its folder."""
MARK = "# digest of these names: "


def keep_labels(dataset: Dataset, labelled: int | str, seed: int) -> Dataset:
    """The dataset with few labels: all other pictures of `train` move to the split `unlabelled`, without their labels.

    Args:
        labelled: how many pictures keep their labels, chosen by the seed; or the path of a list that `write_labelled`
            wrote, or of any list with one name per line.

    Raises:
        UserError: fewer than one picture, more than there are, or a list that was changed or names other pictures.
    """
    train = dataset.split("train")
    if isinstance(labelled, int):
        if not 1 <= labelled <= len(train):
            raise UserError(
                f"data.labelled: found {labelled}, but {dataset.root} has {len(train)} training pictures with labels; "
                f"give 1 to {len(train)}."
            )
        chosen = set(choose_labelled(dataset, labelled, seed))
    else:
        names = Names(record.name for record in train)
        found = {entry: names.find(entry).names for entry in read_labelled(Path(labelled))}
        chosen = {name for several in found.values() for name in several}
        unknown = sorted(entry for entry, several in found.items() if not several)
        if unknown or not chosen:
            what = f"names {some(unknown)}, which" if unknown else "names no picture that"
            raise UserError(
                f"{labelled}: the list {what} {'are' if len(unknown) > 1 else 'is'} not among the training pictures of "
                f"{dataset.root}; give a list that was made for this data."
            )
    plain = {record.name: replace(record, labels=(), class_id=None) for record in train if record.name not in chosen}
    return replace(
        dataset,
        records=tuple(plain.get(record.name, record) for record in dataset.records),
        splits={
            **dataset.splits,
            "train": tuple(name for name in dataset.splits["train"] if name in chosen),
            UNLABELLED: (*dataset.splits.get(UNLABELLED, ()), *plain),
        },
        notes=(
            *dataset.notes,
            f"{len(chosen)} of {len(train)} training pictures keep their labels (digest "
            f"{names_digest(chosen)}); the others are used without.",
        ),
    )


def choose_labelled(dataset: Dataset, count: int, seed: int) -> list[str]:
    """Names of training pictures, sorted, in proportion to the size of each class or group.

    If pictures have a class, pictures of each class are drawn at random. If they form groups (frames of a video, slices
    of a patient), each group gives pictures in a row, from a random start on, as a person labels a part of a video.
    Otherwise they are drawn at random. The result depends on names and seed only, and fewer pictures are always a part
    of more.
    """
    records = dataset.split("train")
    order: list[tuple[float, bytes, str]] = []
    for key, members in _kinds(dataset, records).items():
        first = int.from_bytes(_rank(seed, key)[:8]) % len(members)
        for number, name in enumerate(members[first:] + members[:first]):
            order.append(((number + 0.5) / len(members), _rank(seed, key), name))
    return sorted(name for _, _, name in sorted(order)[:count])


def _kinds(dataset: Dataset, records: Sequence[Record]) -> dict[str, list[str]]:
    """Class or group -> its pictures: those of a class in random order, frames in their order."""
    kinds: dict[str, list[str]] = defaultdict(list)
    if all(record.class_id is not None for record in records):
        for record in sorted(records, key=lambda record: _rank(0, record.name)):
            kinds[f"class {record.class_id}"].append(record.name)
        return kinds
    # Frames of two videos are alike as those of ten are, so fewer and larger groups count than for a split.
    found, _ = groups(dataset.root, records, fewest=2, largest=1.0)
    for group, record in sorted(zip(found, records, strict=True), key=lambda pair: pair[1].name):
        kinds[group].append(record.name)
    return kinds


def write_labelled(file: Path, names: Iterable[str]) -> None:
    """Writes a list of pictures, one name per line, with its digest in the first line."""
    ordered = sorted(names)
    write_text(file, "\n".join([f"{MARK}{names_digest(ordered)}", *ordered]) + "\n")


def read_labelled(file: Path) -> list[str]:
    """Reads a list of pictures.

    Raises:
        UserError: no such file, or names that do not match the digest in the list.
    """
    if not file.is_file():
        raise UserError(f"{file}: no such list; give a file with a picture's name per line, or a number of pictures.")
    lines = [line.strip() for line in read_text(file).splitlines()]
    names = [line for line in lines if line and not line.startswith("#")]
    stated = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
    if stated and stated[0] != names_digest(names):
        raise UserError(
            f"{file}: the names have the digest {names_digest(names)}, but the first line says {stated[0]}; put the "
            "list back, or remove its first line if the change is meant."
        )
    return names


def names_digest(names: Iterable[str]) -> str:
    """Hexadecimal; equal for the same names in any order."""
    return hashlib.blake2b("\n".join(sorted(names)).encode(), digest_size=6).hexdigest()


def _rank(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()
