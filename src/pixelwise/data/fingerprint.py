"""Facts about a dataset that decisions rest on: sizes, intensities, class shares, and a digest that notices changes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.dataset import Dataset, Record
from pixelwise.data.objects import ObjectFacts
from pixelwise.data.pictures import PICTURE_SUFFIXES, PictureFormat
from pixelwise.data.sample import VOID
from pixelwise.data.splits import even_sample

MOST_PICTURES = 200
"""Pictures of `train` whose intensities are measured."""
MOST_MASKS = 1000
"""Masks of `train` whose classes are counted."""
_BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a dataset is like; statistics are of its `train` split.

    Attributes:
        pictures: labelled pictures by split.
        unlabelled: pictures without labels.
        height, width: (smallest, median, largest) over all pictures, in pixels.
        form: what pictures are brought to.
        mean, std: per channel over all pixels, in the units of `form.dtype`.
        class_names: by class id.
        class_pixels: pixels by class; where pictures as a whole have a class, pictures.
        class_pictures: pictures that have the class.
        present_pixels: by class, labelled pixels of the pictures that have it; where pictures as a whole have a class,
            all labelled pictures.
        void_fraction: share of pixels without a label.
        digest: hexadecimal; another one means that a file, a name, a class or a split has changed.
        objects: of the training pictures, where the task is about objects.
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

    def class_shares(self) -> tuple[float, ...]:
        """Share of the labelled pixels by class."""
        total = max(sum(self.class_pixels), 1)
        return tuple(pixels / total for pixels in self.class_pixels)

    def median_frequency_weights(self) -> tuple[float, ...]:
        """Class weights by median frequency balancing; 0 for classes that never occur.

        The frequency of a class is its pixels over all labelled pixels of the pictures that have it, and its weight
        the median of the frequencies over its own (Eigen and Fergus 2015, section 6.3.2).
        """
        return median_frequency_weights(self.class_pixels, self.present_pixels)

    def sqrt_median_frequency_weights(self) -> tuple[float, ...]:
        """Their roots, which is what training takes for unbalanced classes unless told otherwise."""
        return sqrt_median_frequency_weights(self.class_pixels, self.present_pixels)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
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
    """The roots of `median_frequency_weights`: rare classes count more, without being seen everywhere."""
    return tuple(weight**0.5 for weight in median_frequency_weights(class_pixels, present_pixels))


def fingerprint(dataset: Dataset) -> Fingerprint:
    """Measures a dataset: headers of all pictures, pixels of at most 200, masks of at most 1000 training pictures.

    Class ids of pictures as a whole are all counted.

    Raises:
        UserError: a file that cannot be read, or labels that do not fit their picture or the classes.
    """
    train = dataset.split("train")
    classes = len(dataset.class_names)
    with ThreadPoolExecutor() as pool:
        sizes = list(pool.map(dataset.size, dataset.records))
        moments = list(pool.map(lambda record: _moments(dataset, record), even_sample(train, MOST_PICTURES)))
        if dataset.task == "classify":
            counts = _class_counts(dataset, train)
        else:
            counts = np.stack(list(pool.map(lambda record: _count(dataset, record), even_sample(train, MOST_MASKS))))
    pixels = sum(moment[0] for moment in moments)
    mean = np.sum([moment[1] for moment in moments], axis=0) / pixels
    square = np.sum([moment[2] for moment in moments], axis=0) / pixels
    labelled = counts[:, :classes]
    present = (labelled.sum(axis=1, keepdims=True) * (labelled > 0)).sum(axis=0)
    if dataset.task == "classify":
        present = np.where(labelled.sum(axis=0) > 0, labelled.sum(), 0)
    return Fingerprint(
        pictures={split: len(names) for split, names in dataset.splits.items()},
        unlabelled=sum(not record.labelled for record in dataset.records),
        height=_low_median_high([height for height, _ in sizes]),
        width=_low_median_high([width for _, width in sizes]),
        form=dataset.form,
        mean=tuple(mean.tolist()),
        std=tuple(np.sqrt(np.maximum(square - mean**2, 0)).tolist()),
        class_names=dataset.class_names,
        class_pixels=tuple(labelled.sum(axis=0).tolist()),
        class_pictures=tuple((labelled > 0).sum(axis=0).tolist()),
        present_pixels=tuple(present.tolist()),
        void_fraction=0.0 if dataset.task == "classify" else float(counts[:, VOID].sum() / counts.sum()),
        digest=digest(dataset),
    )


def digest(dataset: Dataset) -> str:
    """BLAKE2b over names, sizes and the first and last 64 KB of every file, the class names and the splits.

    Annotation files, in which a change may lie anywhere, are read whole.
    """
    files = sorted({file for record in dataset.records for file in (record.picture, *record.labels)})
    whole = hashlib.blake2b(digest_size=16)
    with ThreadPoolExecutor() as pool:
        for file, ends in zip(files, pool.map(_ends, files), strict=True):
            whole.update(f"{file.relative_to(dataset.root).as_posix()}\0".encode())
            whole.update(ends)
    whole.update(repr((dataset.class_names, sorted(dataset.splits.items()))).encode())
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


def _moments(dataset: Dataset, record: Record) -> tuple[int, np.ndarray, np.ndarray]:
    """Pixels, and per channel the sum and the sum of squares."""
    image = dataset.read(record)
    flat = image.reshape(-1, image.shape[2])
    if image.dtype == np.uint8:
        histograms = np.stack([np.bincount(channel, minlength=256) for channel in flat.T])
        values = np.arange(256)
        return len(flat), (histograms @ values).astype(np.float64), (histograms @ values**2).astype(np.float64)
    exact = flat.astype(np.float64)
    return len(flat), exact.sum(axis=0), (exact**2).sum(axis=0)


def _count(dataset: Dataset, record: Record) -> np.ndarray:
    """Pixels by class id, (256,)."""
    return np.bincount(dataset.load_mask(record).ravel(), minlength=256)


def _class_counts(dataset: Dataset, records: Sequence[Record]) -> np.ndarray:
    """1 at the class of each labelled record, (pictures, classes)."""
    ids = [record.class_id for record in records if record.class_id is not None]
    return np.eye(len(dataset.class_names), dtype=np.int64)[ids]


def _low_median_high(sizes: Sequence[int]) -> tuple[int, int, int]:
    return min(sizes), int(np.median(sizes)), max(sizes)
