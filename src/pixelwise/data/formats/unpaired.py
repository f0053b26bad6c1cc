"""Pictures of two kinds that are no pairs, as the data sets of CycleGAN are published.

trainA/x.jpg + trainB/y.jpg + testA/z.jpg + testB/w.jpg      train/a/x.png + train/b/y.png
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath

from pixelwise.data.formats.domains import DOMAINS, joined, placed, survey_of_pairs
from pixelwise.data.formats.survey import Survey
from pixelwise.data.listing import Faults
from pixelwise.data.path_words import record_names
from pixelwise.data.record import Record


def detect(root: Path) -> bool:
    """Whether there are folders such as `trainA` and `trainB`."""
    places, _ = placed(root)
    return possible(root) and joined(list(places))


def possible(root: Path) -> bool:
    """Whether a network that needs two kinds of pictures can read the folder: there are folders called a and b."""
    places, _ = placed(root)
    return {place.domain for place in places.values()} == set(DOMAINS)


def survey(root: Path) -> Survey:
    """One record per picture of the larger kind, with a picture of the other kind, which is repeated if it runs out.

    The records of a repeated picture are a group, so that it is on one side of an automatic split.
    """
    places, others = placed(root)
    faults = Faults()
    by_split: dict[str, dict[str, list[PurePosixPath]]] = defaultdict(lambda: {domain: [] for domain in DOMAINS})
    for file, place in places.items():
        by_split[place.split][place.domain].append(file)
    names = record_names(list(places))
    records, splits = [], {}
    for split, files in by_split.items():
        if not files["a"] or not files["b"]:
            others += [*files["a"], *files["b"]]
            if split in ("", "train"):
                full = "a" if files["a"] else "b"
                faults.append(
                    f"{root}: {len(files[full])} pictures to train on in {full} ({files[full][0]}), but none of the "
                    "other kind; add them."
                )
            continue
        for record in _records(root, files["a"], files["b"], names):
            records.append(record)
            splits[record.name] = split
    counts = {domain: sum(place.domain == domain for place in places.values()) for domain in DOMAINS}
    guess = (
        f"{counts['a']} pictures of a and {counts['b']} of b are read as two kinds of pictures that are no pairs; if "
        "they are pairs, give the layout `pairs`; if a and b are parts of one split, give the layout `folder`."
    )
    return survey_of_pairs(root, "unpaired", records, splits, faults, paired=False, ignored=others, guesses=(guess,))


def _records(
    root: Path, first: list[PurePosixPath], second: list[PurePosixPath], names: dict[PurePosixPath, str]
) -> list[Record]:
    longer, shorter = (first, second) if len(first) >= len(second) else (second, first)
    records = []
    for number, file in enumerate(longer):
        repeated = shorter[number % len(shorter)]
        a, b = (file, repeated) if longer is first else (repeated, file)
        group = names[repeated] if len(longer) > len(shorter) else ""
        records.append(Record(names[file], root / a, (root / b,), group=group))
    return records
