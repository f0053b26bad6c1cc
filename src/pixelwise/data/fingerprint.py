"""Facts about a dataset that decisions rest on: sizes, intensities, class shares, and a digest that notices changes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.cache import SampleCache
from pixelwise.data.dataset import UNLABELLED, Dataset
from pixelwise.data.domain import Domain, PairFacts
from pixelwise.data.joints import Joints
from pixelwise.data.listing import counted, some
from pixelwise.data.objects import ObjectFacts, object_facts, object_sizes
from pixelwise.data.pairs import PairCoding
from pixelwise.data.pictures import FULL_RANGE, PICTURE_SUFFIXES, PictureFormat
from pixelwise.data.record import Record
from pixelwise.data.sample import VOID
from pixelwise.data.splits import even_sample

MAX_PICTURES = 200
"""How many pictures of `train` have their intensities measured."""
MAX_MASKS = 1000
"""How many masks of `train` have their classes counted."""
_BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True)
class ValueFacts:
    """Statistics of the numbers per pixel of a set of pictures.

    Attributes:
        pixels: how many pixels have a number.
        mean, std, low, high: mean, standard deviation, minimum and maximum of these numbers.
        name, unit: what the numbers are, as the dataset states it; may be empty.
    """

    pixels: int
    mean: float
    std: float
    low: float
    high: float
    name: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a dataset is like; the statistics describe its `train` split.

    Attributes:
        pictures: number of pictures by split; with the key `unlabelled` if there are such pictures.
        unlabelled: pictures without labels.
        height, width: (smallest, median, largest) over all pictures, in pixels.
        form: the form to which pictures are converted.
        mean, std: per channel over all pixels that have a value, in the units of `form.dtype`.
        class_names: by class id.
        class_pixels: pixels by class; if each picture has one class, pictures by class.
        class_pictures: pictures that have the class.
        present_pixels: by class, labelled pixels of the pictures that contain the class; if each picture has one class,
            all labelled pictures.
        void_fraction: share of pixels without a label.
        digest: hexadecimal; it changes with any file, name, class or split.
        objects: facts about the objects of the training pictures, if the data has objects.
        values: facts about the numbers of the training pictures, if the data has a number per pixel.
        joints: the joints of the objects, if the data has keypoints.
        pairs: the two kinds of pictures, if the data has partners.
    """

    pictures: Mapping[str, int]
    unlabelled: int
    height: tuple[int, int, int]
    width: tuple[int, int, int]
    form: PictureFormat
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    class_pixels: tuple[int, ...]
    class_pictures: tuple[int, ...]
    present_pixels: tuple[int, ...]
    void_fraction: float
    digest: str
    objects: ObjectFacts | None = None
    values: ValueFacts | None = None
    joints: Joints | None = None
    pairs: PairFacts | None = None

    def class_shares(self) -> tuple[float, ...]:
        """Share of the labelled pixels by class."""
        total = max(sum(self.class_pixels), 1)
        return tuple(pixels / total for pixels in self.class_pixels)

    def median_frequency_weights(self) -> tuple[float, ...]:
        """Class weights by median frequency balancing; 0 for classes that never occur.

        The frequency of a class is its pixels over all labelled pixels of the pictures that contain it. Its weight is
        the median of the frequencies over its own frequency (Eigen and Fergus 2015, section 6.3.2).
        """
        return median_frequency_weights(self.class_pixels, self.present_pixels)

    def sqrt_median_frequency_weights(self) -> tuple[float, ...]:
        """The square roots of the median frequency weights, the default of training for imbalanced classes."""
        return sqrt_median_frequency_weights(self.class_pixels, self.present_pixels)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as values that JSON can hold."""
        values = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def median_frequency_weights(class_pixels: Sequence[int], present_pixels: Sequence[int]) -> tuple[float, ...]:
    """See `Fingerprint.median_frequency_weights`.

    >>> median_frequency_weights([75, 25, 0], [100, 50, 0])
    (0.8333333333333334, 1.25, 0.0)
    """
    pixels, present = np.asarray(class_pixels, np.float64), np.asarray(present_pixels, np.float64)
    occurs = pixels > 0
    if not occurs.any():
        return (0.0,) * len(pixels)
    frequency = pixels[occurs] / present[occurs]
    weights = np.zeros(len(pixels))
    weights[occurs] = np.median(frequency) / frequency
    return tuple(weights.tolist())


def sqrt_median_frequency_weights(class_pixels: Sequence[int], present_pixels: Sequence[int]) -> tuple[float, ...]:
    """The square roots of `median_frequency_weights`: rare classes count more, but are not predicted everywhere."""
    return tuple(weight**0.5 for weight in median_frequency_weights(class_pixels, present_pixels))


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


def changes(before: Mapping[str, Any], now: Fingerprint) -> list[str]:
    """Describes the differences between two states of a dataset in words; the files themselves if nothing else differs.

    Args:
        before: a result of `Fingerprint.to_dict`, perhaps read from a file.
    """
    found = []
    old, new = before.get("pictures", {}), now.pictures
    for split in sorted({*old, *new}):
        if old.get(split, 0) != new.get(split, 0):
            found.append(f"{new.get(split, 0)} pictures in the split '{split}' instead of {old.get(split, 0)}")
    names = before.get("class_names", [])
    if list(names) != list(now.class_names):
        found.append(f"the classes {', '.join(now.class_names)} instead of {', '.join(names)}")
    if found:
        return found
    for key, what in (("mean", "the pictures differ"), ("class_pixels", "the labels differ")):
        if list(before.get(key, [])) != list(getattr(now, key)):
            found.append(what)
    return found or ["some file has another name or other bytes, or the pictures are split differently"]


def digest(dataset: Dataset) -> str:
    """BLAKE2b over names, sizes and the first and last 64 KB of every file, the class names and the splits.

    Annotation files, in which a change may be anywhere, are read whole. The location of the folders does not matter.
    """
    names: dict[Path, str] = {}
    for record in dataset.records:
        for file in (record.picture, *record.labels):
            inside = file.is_relative_to(dataset.root)
            names[file] = file.relative_to(dataset.root).as_posix() if inside else f"{record.name}{file.suffix}"
    files = sorted(names, key=lambda file: Path(names[file]))
    whole = hashlib.blake2b(digest_size=16)
    with ThreadPoolExecutor() as pool:
        for file, ends in zip(files, pool.map(_ends, files), strict=True):
            whole.update(f"{names[file]}\0".encode())
            whole.update(ends)
    splits = sorted(item for item in dataset.splits.items() if item[0] != UNLABELLED)  # all other pictures are in it
    whole.update(repr((dataset.class_names, splits)).encode())
    return whole.hexdigest()


def _ends(file: Path) -> bytes:
    size = file.stat().st_size
    parts = hashlib.blake2b(str(size).encode(), digest_size=16)
    with file.open("rb") as stream:
        parts.update(stream.read(_BLOCK))
        if file.suffix.lower() not in PICTURE_SUFFIXES:
            parts.update(stream.read())
        elif size > _BLOCK:
            stream.seek(max(_BLOCK, size - _BLOCK))
            parts.update(stream.read())
    return parts.digest()


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
