"""The facts about a dataset that decisions rest on: sizes, intensities, class shares, and what changed since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pixelwise.data.domain import PairFacts
from pixelwise.data.joints import Joints
from pixelwise.data.objects import ObjectFacts
from pixelwise.data.pictures import PictureFormat


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
