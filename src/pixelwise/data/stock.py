"""Reads every label once, and keeps facts about the dataset: its fingerprint, and counts by split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pixelwise.data.cache import SampleCache
from pixelwise.data.dataset import Dataset
from pixelwise.data.digest import digest
from pixelwise.data.domain import Domain, PairFacts
from pixelwise.data.fingerprint import Fingerprint, ValueFacts
from pixelwise.data.listing import counted, some
from pixelwise.data.objects import ObjectFacts, object_facts, object_sizes
from pixelwise.data.pairs import PairCoding
from pixelwise.data.pictures import FULL_RANGE
from pixelwise.data.record import Record
from pixelwise.data.sample import VOID
from pixelwise.data.splits import even_sample

MAX_PICTURES = 200
"""How many pictures of `train` have their intensities measured."""
MAX_MASKS = 1000
"""How many masks of `train` have their classes counted."""


@dataclass(frozen=True, slots=True)
class Stock:
    """What one reading of all labels has found.

    Attributes:
        facts: see `Fingerprint`.
        class_counts: split -> pixels by class id, (256,); pictures by class, (K,), if each picture has one class.
        objects: split -> facts about its objects; None if there are none.
        values: split -> facts about its numbers per pixel; None if there are none.
        notes: sentences on what is unusual.
    """

    facts: Fingerprint
    class_counts: Mapping[str, np.ndarray]
    objects: Mapping[str, ObjectFacts | None]
    values: Mapping[str, ValueFacts | None]
    notes: tuple[str, ...] = ()


def fingerprint(dataset: Dataset) -> Fingerprint:
    """Measures a dataset: headers of all pictures, pixels of at most 200 and masks of at most 1000 training pictures.

    If each picture has one class, all pictures are counted.

    Raises:
        UserError: a file that cannot be read, or labels that do not fit their picture or the classes.
    """
    return take_stock(dataset, None).facts


def take_stock(dataset: Dataset, cache: SampleCache | None) -> Stock:
    """Reads every label of the splits `train` and `val` once, and the headers of all pictures.

    Args:
        cache: keeps what is read while it has room; None to keep nothing.

    Raises:
        UserError: the first file that cannot be read, or labels that do not fit their picture or the classes.
    """
    reader = _Reader(dataset, cache)
    splits = {split: dataset.split(split) for split in ("train", "val")}
    records = list(dict.fromkeys(record for split in splits.values() for record in split))
    with ThreadPoolExecutor(thread_name_prefix="pixelwise-check") as pool:
        sizes = list(pool.map(dataset.size, dataset.records))
        seen = {record.name: found for record, found in zip(records, pool.map(reader.read, records), strict=True)}
    of_split = {split: [seen[record.name] for record in members] for split, members in splits.items()}
    classes = len(dataset.class_names)
    return Stock(
        facts=_facts(dataset, sizes, seen, of_split["train"]),
        class_counts={split: np.sum([each.classes for each in found], axis=0) for split, found in of_split.items()},
        objects={
            split: object_facts((each.objects for each in found if each.objects is not None), classes)
            for split, found in of_split.items()
        },
        values={split: _value_facts(dataset, found) for split, found in of_split.items()},
        notes=_gap_note([name for name, each in seen.items() if each.lost]),
    )


def _gap_note(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    have = counted(len(names), "picture has", "pictures have")
    return (
        f"{have} pixels without a value (NaN, infinity or no-data). They are filled with the mean of the picture and "
        f"void in its labels: {some(names, 3)}.",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """The facts that are kept of one picture: counts by class, sizes of its objects, moments of its channels and of its
    values, whether it has pixels without a value, and the ranges of its values and of its partner's."""

    classes: np.ndarray
    objects: tuple[np.ndarray, np.ndarray] | None = None
    moments: tuple[int, np.ndarray, np.ndarray] | None = None
    values: tuple[int, float, float, float, float] | None = None
    lost: bool = False
    ranges: tuple[tuple[float, float], tuple[float, float]] | None = None


class _Reader:
    """Reads a record and keeps facts about it."""

    def __init__(self, dataset: Dataset, cache: SampleCache | None) -> None:
        self.dataset = dataset
        self.cache = cache
        self.measured = {record.name for record in even_sample(dataset.split("train"), MAX_PICTURES)}

    def read(self, record: Record) -> _Seen:
        dataset, wanted = self.dataset, record.name in self.measured
        if not record.labels or "classes" in dataset.knows:
            counts = np.zeros(256 if "pixels" in dataset.knows else len(dataset.class_names), np.int64)
            if record.class_id is not None:
                counts[record.class_id] = 1
            return self._with_moments(counts, record) if wanted else _Seen(counts)
        room = self.cache is not None and self.cache.held < self.cache.limit
        if "pixels" in dataset.knows and not room and not (self.cache is not None and self.cache.objects):
            counts = np.bincount(dataset.load_mask(record).ravel(), minlength=256)
            return self._with_moments(counts, record) if wanted else _Seen(counts)
        objects = self.cache is not None and self.cache.objects
        image, lost = dataset.read_known(record)
        sample = dataset.label(record, image, lost, objects=objects)
        if self.cache is not None:
            self.cache.keep(record, sample)
        counts = np.zeros(len(dataset.class_names), np.int64)
        if sample.mask is not None:
            counts = np.bincount(sample.mask.ravel(), minlength=256)
        return _Seen(
            counts,
            object_sizes(sample) if objects else None,
            _moments(image, lost) if wanted else None,
            None if sample.values is None else _value_moments(sample.values),
            lost is not None,
            None if sample.partner is None else (_range(image), _range(sample.partner)),
        )

    def _with_moments(self, counts: np.ndarray, record: Record) -> _Seen:
        image, lost = self.dataset.read_known(record)
        return _Seen(counts, moments=_moments(image, lost), lost=lost is not None)


def _facts(
    dataset: Dataset, sizes: Sequence[tuple[int, int]], seen: Mapping[str, _Seen], train: Sequence[_Seen]
) -> Fingerprint:
    classes = len(dataset.class_names)
    of_pixels = "pixels" in dataset.knows
    measured = [each.moments for each in seen.values() if each.moments is not None]
    counts = np.stack([each.classes for each in (even_sample(train, MAX_MASKS) if of_pixels else train)])
    pixels = max(sum(moment[0] for moment in measured), 1)
    mean = np.sum([moment[1] for moment in measured], axis=0) / pixels
    square = np.sum([moment[2] for moment in measured], axis=0) / pixels
    labelled = counts[:, :classes]
    if of_pixels:
        present = (labelled.sum(axis=1, keepdims=True) * (labelled > 0)).sum(axis=0)
    else:
        present = np.where(labelled.sum(axis=0) > 0, labelled.sum(), 0)
    return Fingerprint(
        pictures={split: len(names) for split, names in dataset.splits.items()},
        unlabelled=sum(not record.labelled for record in dataset.records),
        height=low_median_high([height for height, _ in sizes]),
        width=low_median_high([width for _, width in sizes]),
        form=dataset.form,
        mean=tuple(mean.tolist()),
        std=tuple(np.sqrt(np.maximum(square - mean**2, 0)).tolist()),
        class_names=dataset.class_names,
        class_pixels=tuple(labelled.sum(axis=0).tolist()),
        class_pictures=tuple((labelled > 0).sum(axis=0).tolist()),
        present_pixels=tuple(present.tolist()),
        void_fraction=float(counts[:, VOID].sum() / max(counts.sum(), 1)) if of_pixels else 0.0,
        digest=digest(dataset),
        joints=getattr(dataset.coding, "joints", None),
        pairs=_pair_facts(dataset, train),
    )


def _moments(image: np.ndarray, lost: np.ndarray | None) -> tuple[int, np.ndarray, np.ndarray]:
    """The number of pixels that have a value, and per channel their sum and the sum of their squares."""
    flat = image.reshape(-1, image.shape[2]) if lost is None else image[~lost]
    if image.dtype == np.uint8:
        histograms = np.stack([np.bincount(channel, minlength=256) for channel in flat.T])
        values = np.arange(256)
        return len(flat), (histograms @ values).astype(np.float64), (histograms @ values**2).astype(np.float64)
    exact = flat.astype(np.float64)
    return len(flat), exact.sum(axis=0), (exact**2).sum(axis=0)


def _value_moments(values: np.ndarray) -> tuple[int, float, float, float, float]:
    """The number of pixels that have a number; their sum, sum of squares, minimum and maximum."""
    known = values[np.isfinite(values)].astype(np.float64)
    if not known.size:
        return 0, 0.0, 0.0, np.inf, -np.inf
    return known.size, float(known.sum()), float(np.square(known).sum()), float(known.min()), float(known.max())


def _value_facts(dataset: Dataset, seen: Sequence[_Seen]) -> ValueFacts | None:
    found = [each.values for each in seen if each.values is not None and each.values[0]]
    if not found:
        return None
    pixels, total, square = (sum(part) for part in list(zip(*found, strict=True))[:3])
    mean = total / pixels
    coding = dataset.coding
    return ValueFacts(
        pixels=int(pixels),
        mean=mean,
        std=float(np.sqrt(max(square / pixels - mean**2, 0))),
        low=min(each[3] for each in found),
        high=max(each[4] for each in found),
        name=getattr(coding, "name", ""),
        unit=getattr(coding, "unit", ""),
    )


def _range(image: np.ndarray) -> tuple[float, float]:
    return float(image.min()), float(image.max())


def _pair_facts(dataset: Dataset, train: Sequence[_Seen]) -> PairFacts | None:
    """The forms, ranges and colours of both kinds of pictures; None if no training picture has a partner."""
    ranges = [each.ranges for each in train if each.ranges is not None]
    if not ranges or not isinstance(dataset.coding, PairCoding):
        return None
    domains = []
    for side, form in enumerate((dataset.form, dataset.coding.form)):
        low, high = min(pair[side][0] for pair in ranges), max(pair[side][1] for pair in ranges)
        if form.dtype == "uint8":
            low, high = 0.0, FULL_RANGE["uint8"]
        domains.append(Domain(form, low, high, dataset.coding.colours[side]))
    return PairFacts(*domains)


def low_median_high(sizes: Sequence[int]) -> tuple[int, int, int]:
    """The smallest, the median and the largest number; zeros if there are none."""
    return (min(sizes), int(np.median(sizes)), max(sizes)) if sizes else (0, 0, 0)
