"""Decides what the values of masks mean, by the values themselves and by the regions in which they lie.

Class ids occur in many regions, and the same few in every picture. Numbers of objects count from 1, each is one region,
and one picture has more of them than another. Black and white with soft edges has two peaks and a ramp between them.
The bit depth decides nothing: 16 bits may hold class ids, and 8 bits may number objects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from pixelwise.data.pictures import probe, read_ids
from pixelwise.data.sample import VOID
from pixelwise.data.splits import even_sample
from pixelwise.errors import UserError

SAMPLE = 20
"""How many masks are looked at."""
MANY_OBJECTS = 40
"""More values than this, numbered without gaps, are objects, whatever their regions look like."""
MAX_PIXELS = 1 << 22
"""Of larger masks, only every n-th row and column is looked at, or the middle for soft edges."""
NEARLY = 16
"""Values in areas of a lossy mask differ by no more than this; across an edge they differ by more."""
MIN_APART = 5
"""Shades of grey that were chosen to be distinguishable differ by this or more."""
MAX_REGIONS = 30
"""How many values per mask have their regions looked at."""

Kind = Literal["ids", "codes", "objects", "black_and_white", "soft"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """The meaning of the values of masks.

    Attributes:
        kind: `ids` of classes, `codes` of classes beyond 255, numbers of `objects`, `black_and_white` (0 and one large
            value), or `soft`: black and white with values between, at smoothed or lossy edges.
        top: the largest value.
        why: half a sentence on the reason if the meaning is not obvious; empty if there is no doubt.
    """

    kind: Kind
    top: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Mask:
    """Statistics of one mask.

    Attributes:
        counts: stored value -> pixels.
        single: how many of the values looked at, other than 0 and 255, are one region.
        looked: how many values were looked at.
        deep: more than 8 bits per pixel.
        lossy: the mask was smoothed or saved lossily, so values lie between the ids.
        filled: for a lossy mask, (256,) pixels per value that hardly differ from their neighbours.
    """

    counts: dict[int, int]
    single: int
    looked: int
    deep: bool
    lossy: bool
    filled: np.ndarray

    @property
    def values(self) -> list[int]:
        """All values but 0."""
        return [value for value in self.counts if value]

    @property
    def counts_from_one(self) -> bool:
        return self.values == list(range(1, len(self.values) + 1))


def meaning_of(masks: Sequence[Path], class_names: tuple[str, ...] | None = None) -> Meaning:
    """Judges `SAMPLE` masks spread over the dataset; masks without values are reported when they are read.

    Args:
        masks: one file per labelled picture.
        class_names: as given, or None.
    """
    seen = [look for mask in even_sample(masks, SAMPLE) if (look := _look(mask)) is not None and look.values]
    values = sorted({value for mask in seen for value in mask.values})
    if not values:
        return Meaning("ids")
    top, named = values[-1], len(class_names or ())
    if named > 2 and (top < named or top == VOID):
        return Meaning("ids", top)
    if len(values) == 1 and top > VOID:
        return Meaning("black_and_white", top)
    lossy = sum(mask.lossy for mask in seen)
    if lossy and _two_peaks(seen):
        return Meaning("soft", top)
    if 2 * lossy > len(seen):
        return Meaning("ids", top)
    return _objects_or_ids(seen, values)


def _objects_or_ids(masks: Sequence[_Mask], values: Sequence[int]) -> Meaning:
    top = values[-1]
    deep = 2 * sum(mask.deep for mask in masks) > len(masks)
    single = sum(mask.single for mask in masks) / max(sum(mask.looked for mask in masks), 1)
    numbers = [len(mask.values) for mask in masks]
    differ = len({tuple(mask.values) for mask in masks}) > 1
    counting = sum(mask.counts_from_one for mask in masks) >= 0.9 * len(masks)
    if any(len(mask.values) > MANY_OBJECTS and _hardly_a_gap(mask) for mask in masks):
        return Meaning("objects", top, "" if deep else f"a single mask holds {max(numbers)} values without gaps")
    if deep and top > VOID and single >= 0.5:
        return Meaning("objects", top)
    one_region = f"{single:.0%} of the values lie in one region each"
    if deep and len(values) > 1 and single >= 0.8 and (differ or len(masks) < 4):
        return Meaning("objects", top, one_region)
    if counting and single >= 0.9 and len(set(numbers)) > 1 and max(numbers) > 2 and VOID not in values:
        return Meaning(
            "objects", top, f"{one_region}, and there are {min(numbers)} to {max(numbers)} of them in a picture"
        )
    if 2 * sum(max(mask.values) > VOID for mask in masks) > len(masks):
        return Meaning("codes", top)
    return Meaning("ids", top, _why_ids(masks, values, deep, single))


def _why_ids(masks: Sequence[_Mask], values: Sequence[int], deep: bool, single: float) -> str:
    """Half a sentence if numbers of objects could look the same: in more than 8 bits, or of one region each."""
    if deep and values[-1] > 1 and list(values) != [VOID]:
        return "they lie in several regions each, or are the same in every picture"
    numbers = {len(mask.values) for mask in masks}
    if single >= 0.9 and len(numbers) > 1 and max(numbers) > 2 and VOID not in values:
        return f"{single:.0%} of them lie in one region each, but they do not count from 1 without gaps"
    return ""


def _hardly_a_gap(mask: _Mask) -> bool:
    """Objects are numbered without gaps; in 8-bit pictures with shades of grey, 255 is white and covers large areas."""
    dense = len(mask.values) >= 0.9 * (mask.values[-1] + 1)
    return dense and mask.counts.get(VOID, 0) <= 0.05 * sum(mask.counts.values())


def _two_peaks(masks: Sequence[_Mask]) -> bool:
    """Whether values crowd near 0 and near the top, and values between fill no areas, as a third class would."""
    histogram, filled = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for mask in masks:
        for value, pixels in mask.counts.items():
            histogram[min(value, 255)] += pixels
        filled += mask.filled
    top = int(np.flatnonzero(histogram)[-1])
    if top < 100 or any(0 < value < 0.8 * top for mask in masks if not mask.lossy for value in mask.counts):
        return False
    marked = histogram[int(0.2 * top) :].sum()
    between = filled[int(0.2 * top) : int(0.8 * top)].sum()
    return bool(histogram[int(0.8 * top) :].sum() >= 0.3 * marked and between <= 0.02 * marked)


def _look(mask: Path) -> _Mask | None:
    """The statistics of a mask; None if the file is unreadable or a colour picture."""
    status = mask.stat()
    try:
        return _look_once(mask, status.st_mtime_ns, status.st_size)
    except UserError:
        return None


@lru_cache(maxsize=256)
def _look_once(file: Path, modified: int, size: int) -> _Mask:
    ids = read_ids(file)
    header = probe(file)
    if ids.dtype == np.uint8:
        histogram = np.bincount(ids.ravel(), minlength=256)
        counts = {int(value): int(histogram[value]) for value in np.flatnonzero(histogram)}
    else:
        found, pixels = np.unique(ids, return_counts=True)
        counts = dict(zip(found.tolist(), pixels.tolist(), strict=True))
    lossy = is_lossy(_middle(ids), header.kind)
    filled = _filled(_middle(ids)) if lossy else np.zeros(256, np.int64)
    step = math.ceil(math.sqrt(ids.size / MAX_PIXELS))
    coarse = ids[::step, ::step]
    values = even_sample([value for value in np.unique(coarse).tolist() if value not in (0, VOID)], MAX_REGIONS)
    single = 0 if lossy else sum(_is_one_region(coarse == value) for value in values)
    return _Mask(counts, single, len(values), header.dtype not in ("uint8", "bool"), lossy, filled)


def _filled(ids: np.ndarray) -> np.ndarray:
    """(256,) pixels per value whose 3x3 neighbourhood differs by no more than `NEARLY`; ids (H, W) uint8."""
    square = np.ones((3, 3), np.uint8)
    level = cv2.dilate(ids, square).astype(int) - cv2.erode(ids, square) <= NEARLY
    return np.bincount(ids[level], minlength=256)


def _middle(ids: np.ndarray) -> np.ndarray:
    """The middle of a large mask, of as many pixels as are looked at."""
    side = math.isqrt(MAX_PIXELS)
    top, left = (max(length - side, 0) // 2 for length in ids.shape)
    return ids[top : top + side, left : left + side]


def _is_one_region(marked: np.ndarray) -> bool:
    """Whether nearly all marked pixels are connected (8 neighbours)."""
    ys, xs = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    part = marked[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1].astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return bool(areas.max() >= 0.95 * areas.sum())


def is_lossy(ids: np.ndarray, kind: str) -> bool:
    """Whether a mask was smoothed or saved lossily, so that values lie between its ids.

    Ids fill areas. Soft edges and the ringing of JPEG add many values that hardly ever fill a square of 3x3 pixels;
    weak ringing adds few values, but over the whole range, and only in JPEGs.

    Args:
        ids: (H, W) stored values.
        kind: the file's true format.
    """
    if ids.dtype != np.uint8:
        return False
    values = np.flatnonzero(np.bincount(ids.ravel(), minlength=256))
    inner = values[values != VOID]
    if kind in {"JPEG", "MPO"} and len(inner) and inner[-1] > 2 * len(values):
        return True
    if len(values) <= 8:
        return False
    square = np.ones((3, 3), np.uint8)
    filled = np.bincount(ids[cv2.erode(ids, square) == cv2.dilate(ids, square)], minlength=256)
    return bool(np.count_nonzero(filled) < len(values) / 2)


def grey_levels(values: set[int], classes: int | None = None) -> tuple[int, ...]:
    """The values of masks that are shades of grey for classes (0, 128, 255), ascending; empty if they are ids.

    Shades skip most values, are far apart, and reach at least 100. 255 is one of them if the values divide 0 to 255
    evenly, or if it is needed to make up the number of classes; otherwise it is void.

    Args:
        values: all values that occur.
        classes: the number of classes, if it is known.

    >>> grey_levels({0, 64, 128, 255}), grey_levels({0, 1, 2, 255}), grey_levels({0, 100, 200, 255})
    ((0, 64, 128, 255), (), (0, 100, 200))
    """
    below = sorted(values - {VOID})
    if len(below) < 2 or below[-1] < 100 or 2 * len(below) >= below[-1] + 1:
        return ()
    if min(higher - lower for lower, higher in pairwise(below)) < MIN_APART:
        return ()
    even = any(
        all(abs(round(value * parts / VOID) * VOID / parts - value) <= 1 for value in below) for parts in range(2, 16)
    )
    with_white = (*below, VOID) if VOID in values else tuple(below)
    if classes is not None:
        return next((levels for levels in (with_white, tuple(below)) if len(levels) == classes), ())
    return with_white if even else tuple(below)
