"""Chooses the held-out pictures: the same ones on every machine, related ones together, every kind on both sides."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pixelwise.data.listing import read_text
from pixelwise.data.names import Names
from pixelwise.data.path_words import parse_path, without_suffix
from pixelwise.data.record import Record
from pixelwise.errors import UserError

FEWEST_GROUPS = 4
MAX_KINDS = 50
T = TypeVar("T")


def even_sample(items: Sequence[T], limit: int) -> list[T]:
    """At most `limit` items, evenly spaced, including the first."""
    if len(items) <= limit:
        return list(items)
    return [items[index * len(items) // limit] for index in range(limit)]


def make_splits(
    records: Sequence[Record],
    *,
    val_fraction: float,
    seed: int,
    strata: Sequence[Hashable] | None = None,
) -> dict[str, tuple[str, ...]]:
    """Names of `train` and `val`, each sorted.

    The result depends only on names, groups, strata, fraction and seed, and neither on the order of the records nor on
    the platform. A picture that is added later moves few others, because every group has a fixed position in the order
    (a hash). No group is divided. Within each stratum, groups are held out as long as that brings their number nearer
    to the fraction of all records so far, so that the total is off by no more than half a group; of each stratum with
    two groups or more, at least one is held out.

    Args:
        records: the records to split; those of one `group` stay together, and an empty group stands for itself.
        val_fraction: share to hold out, between 0 and 1.
        seed: each seed gives a different split.
        strata: the kind of each record; a group has the kind of most of its records.

    Raises:
        UserError: a fraction outside 0 to 1, or fewer than two groups.
    """
    if not 0 < val_fraction < 1:
        raise UserError(f"val_fraction is {val_fraction}, expected a share between 0 and 1 such as 0.2.")
    members: dict[str, list[str]] = defaultdict(list)
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for index, record in enumerate(records):
        group = record.group or record.name
        members[group].append(record.name)
        kinds[group]["" if strata is None else repr(strata[index])] += 1
    if len(members) < 2:
        raise UserError(
            f"all {len(records)} labelled pictures belong to one group ({next(iter(members), 'none')}), so none can be "
            "held out; give a finer groups.csv, or train.txt and val.txt."
        )
    by_kind: dict[str, list[str]] = defaultdict(list)
    for group, counts in kinds.items():
        by_kind[max(counts, key=lambda kind: (counts[kind], kind))].append(group)

    held: list[str] = []
    taken, due = 0, 0.0
    for _, in_kind in sorted(by_kind.items()):
        due += val_fraction * sum(len(members[group]) for group in in_kind)
        none_of_kind = strata is not None and len(in_kind) > 1
        for group in sorted(in_kind, key=lambda group: _rank(seed, group)):
            if none_of_kind or abs(taken + len(members[group]) - due) < abs(taken - due):
                held.append(group)
                taken += len(members[group])
                none_of_kind = False
    smallest_first = sorted(members, key=lambda group: (len(members[group]), _rank(seed, group)))
    if not held:
        held = smallest_first[:1]
    elif len(held) == len(members):
        held.remove(smallest_first[0])
    val = sorted(name for group in held for name in members[group])
    train = sorted(name for group in members.keys() - set(held) for name in members[group])
    return {"train": tuple(train), "val": tuple(val)}


def _rank(seed: int, group: str) -> bytes:
    return hashlib.blake2b(f"{seed}/{group}".encode(), digest_size=16).digest()


def groups(
    root: Path,
    records: Sequence[Record],
    within: Callable[[Record], str] | None = None,
    classes_of: Callable[[Record], Collection[int]] | None = None,
    *,
    fewest: int = FEWEST_GROUPS,
    largest: float = 0.5,
) -> tuple[tuple[str, ...], str]:
    """The group of each record, and half a sentence on the source of the groups.

    In this order: `groups.csv` at the root (`picture,group` per line); the sub-folder below the folder of pictures; the
    name before its trailing number (`0001TP` of `0001TP_006690`). The last two count only if they give enough groups,
    with two pictures on average, and none of them is too large. They must not name the class or the kind either: a
    group that has a class to itself would remove this class from the other side of the split. Otherwise each picture is
    its own group, except that pictures that differ only in their suffix stay together.

    Args:
        within: the part of a record's name in which groups are looked for; None for the whole name.
        classes_of: the ids of the classes in a record, or the id of its class as a whole; None if nothing is known.
        fewest: how many groups are enough; by default, enough for a split.
        largest: the largest share of the pictures in one group.

    Raises:
        UserError: a groups.csv that cannot be understood.
    """
    alone = tuple(without_suffix(record.name) for record in records)
    if (root / "groups.csv").is_file():
        given, missing = _read_groups(root / "groups.csv", records)
        ids = tuple(given.get(record.name, name) for record, name in zip(records, alone, strict=True))
        lost = f" ({missing} of its lines name no picture here)" if missing else ""
        return ids, f"the groups of groups.csv kept whole{lost}"
    folders, prefixes = _folders_and_prefixes(records, within)
    for ids, note in (
        (folders, "sub-folders kept whole"),
        (prefixes, "pictures whose names differ only in the last number kept together"),
    ):
        if not _are_groups(ids, fewest, largest) or (ids is prefixes and kinds_by_name(records, within)):
            continue
        if not (classes_of and _say_the_class(ids, records, classes_of)):
            return ids, note
    return alone, "each picture by itself"


def _folders_and_prefixes(
    records: Sequence[Record], within: Callable[[Record], str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The sub-folder of each record, and its name before the last number."""
    keys = _keys(records, within)
    folders = tuple(str(key.parent) if len(key.parts) > 1 else "" for key in keys)
    names = (without_suffix(record.name) for record in records)
    return folders, tuple(_before_number(key) or name for key, name in zip(keys, names, strict=True))


def _keys(records: Sequence[Record], within: Callable[[Record], str] | None) -> list[PurePosixPath]:
    """The part of each record's name in which groups and kinds are looked for, without folders of role and split."""
    names = [without_suffix(record.name if within is None else within(record)) for record in records]
    return [PurePosixPath(parse_path(PurePosixPath(name + ".png")).key) for name in names]


def kinds_by_name(records: Sequence[Record], within: Callable[[Record], str] | None = None) -> tuple[str, ...]:
    """The word before the number in each record's name, if such words name kinds (`crack_07`, `stain_12`).

    They name kinds if nearly all names have one, four or more of them occur twice, and they begin differently:
    `siteA_1` and `siteB_1` are places, whose pictures belong together. Empty if there are no kinds.

    Args:
        within: the part of a record's name in which kinds are looked for; None for the whole name.
    """
    words = words_before_numbers(records, within)
    counts = Counter(word for word in words if word)
    several = [word for word, count in counts.items() if count > 1]
    alike = len({word[:3].lower() for word in several}) == 1
    if len(several) < FEWEST_GROUPS or counts.total() < 0.9 * len(records) or alike:
        return ()
    return tuple(words)


def kinds_by_class(
    records: Sequence[Record],
    within: Callable[[Record], str] | None,
    classes_of: Callable[[Record], Collection[int]],
) -> tuple[str, ...]:
    """The sub-folder or the beginning of each record's name, if it names the class; empty if neither does.

    Args:
        within, classes_of: as for `groups`.
    """
    for ids in _folders_and_prefixes(records, within):
        several = [group for group, count in Counter(ids).items() if count > 1]
        told = 2 <= len(several) <= MAX_KINDS and sum(group in several for group in ids) >= 0.9 * len(ids)
        if told and _say_the_class(ids, records, classes_of):
            return ids
    return ()


def words_before_numbers(records: Sequence[Record], within: Callable[[Record], str] | None = None) -> list[str]:
    """The word before the number in each record's name, empty if there is none; `within` as for `kinds_by_name`."""
    return [_word_before_number(key) for key in _keys(records, within)]


def _word_before_number(key: PurePosixPath) -> str:
    """The word before the number of a name: `crack` in `crack_07`; empty if it has digits, or too few letters."""
    match = re.match(r"^([^\W\d_]{3}[^\d]*?)[_\-. (]*\d+\)?$", key.name)
    return match[1] if match else ""


def _say_the_class(
    ids: Sequence[str], records: Sequence[Record], classes_of: Callable[[Record], Collection[int]]
) -> bool:
    """Whether at least half of the classes occur in only one group, judged by at most six pictures per group."""
    by_group: dict[str, list[Record]] = defaultdict(list)
    for group, record in zip(ids, records, strict=True):
        by_group[group].append(record)
    groups_of: dict[int, set[str]] = defaultdict(set)
    pictures: Counter[int] = Counter()
    for group, members in by_group.items():
        for record in even_sample(members, 6):
            for class_id in classes_of(record):
                groups_of[class_id].add(group)
                pictures[class_id] += 1
    several = [class_id for class_id in groups_of if pictures[class_id] > 1]
    return len(several) > 1 and 2 * sum(len(groups_of[class_id]) == 1 for class_id in several) >= len(several)


def _before_number(key: PurePosixPath) -> str:
    match = re.match(r"^(.*\D)\d+$", key.name)
    prefix = match[1].rstrip("_-. ") if match else ""
    return str(key.with_name(prefix)) if prefix else ""


def _are_groups(ids: Sequence[str], fewest: int, largest: float) -> bool:
    sizes = Counter(ids)
    return fewest <= len(sizes) <= len(ids) / 2 and max(sizes.values()) <= largest * len(ids)


def _read_groups(path: Path, records: Sequence[Record]) -> tuple[dict[str, str], int]:
    """Record -> group, and the number of lines that name no picture of the dataset."""
    names = Names(record.name for record in records)
    found: dict[str, str] = {}
    missing = []
    text = read_text(path)
    first = text.partition("\n")[0]
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count)))
    except csv.Error as error:
        raise UserError(f"{path}: cannot be read as a csv file ({error}); save it again.") from None
    for number, row in enumerate(rows, start=1):
        if not any(cell.strip() for cell in row) or (number == 1 and row[0].strip().lower() == "picture"):
            continue
        if len(row) != 2 or not row[1].strip():
            raise UserError(f"{path}, line {number}: expected `picture,group`, found {','.join(row)[:60]!r}.")
        members = names.find(row[0].strip())
        if members.rivals:
            raise UserError(
                f"{path}, line {number}: '{row[0].strip()}' may mean {' or '.join(members.rivals[:3])}; write the "
                "path from the dataset's folder."
            )
        missing += [] if members.names else [f"line {number}: no picture '{row[0].strip()}' in the dataset"]
        found |= dict.fromkeys(members.names, row[1].strip())
    if missing and not found:
        raise UserError(f"{path}, {missing[0]}, and none of the other names either; correct them.")
    return found, len(missing)
