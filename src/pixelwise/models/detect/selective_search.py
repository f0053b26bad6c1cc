"""Selective search: boxes that may hold an object, from segments that are grouped step by step.

Uijlings, van de Sande, Gevers, Smeulders: Selective Search for Object Recognition, IJCV 2013, in its fast setting.

    picture -> segments (Felzenszwalb & Huttenlocher, IJCV 2004) -> group the two most similar neighbours, again and
    again, until the whole picture is one segment -> the box of every segment and every group

Nothing is learned. The property that two segments of an object share (colour, texture, size) differs between objects.
Therefore grouping is done several times: in several colour spaces, from segments of several sizes, with and without
colour.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Sequence
from threading import Lock

import cv2
import numpy as np

WORKING_AREA = 160_000
"""Number of pixels that larger pictures are reduced to, about 460 x 345. Objects of a few pixels are then lost."""
SEGMENT_SCALES = (50, 100)
"""Felzenszwalb's k: a larger k gives larger segments. The fast setting of the paper, section 4.3."""
PAPER_AREA = 500 * 375
"""Number of pixels of the pictures for which the paper's smallest segments, of k pixels, are meant."""
SMALLEST_SEGMENT = 8
LARGEST = 2000
"""Largest number of boxes per picture."""
REMEMBERED = 2000
"""Number of pictures whose boxes are cached, since every validation sees the same pictures: at most 32 KB each."""
SMOOTHING = 0.8
COLOUR_BINS, TEXTURE_BINS = 25, 10
ORIENTATIONS = 8
RANGE = (1.0, 99.0)
"""Percentiles of a channel that are scaled to 0 and 1, so that units and exposure make no difference."""


_FOUND: dict[bytes, np.ndarray] = {}
_LOCK = Lock()


def selective_search(image: np.ndarray, most: int = LARGEST) -> np.ndarray:
    """Finds boxes that may hold an object; boxes of large groups tend to come first. Results repeat exactly.

    A positive factor or an offset per channel changes only how numbers are rounded. A picture in the units of its file
    and the same picture normalised for a network therefore have the same boxes, or very nearly so.

    Args:
        image: (H, W, C), any numbers; the first three channels are used as colours, or the first one as grey.
        most: largest number of boxes, up to `LARGEST`.

    Returns:
        (P, 4) float32 xyxy in pixels, all different, each at least one pixel wide and high.
    """
    height, width = image.shape[:2]
    small = _stretched(_reduced(image))
    digest = hashlib.sha256(repr(small.shape).encode() + small.tobytes()).digest()
    boxes = _FOUND.get(digest)
    if boxes is None:
        boxes = _searched(small)
        with _LOCK:
            _FOUND[digest] = boxes
            while len(_FOUND) > REMEMBERED:
                del _FOUND[next(iter(_FOUND))]
    factors = np.tile([width / small.shape[1], height / small.shape[0]], 2)
    return (boxes[:most] * factors).astype(np.float32)


def _searched(small: np.ndarray) -> np.ndarray:
    """(H, W, C) uint8 -> (P, 4) int32 boxes, ranked, without duplicates."""
    boxes, ranks = [], []
    rng = np.random.default_rng(0)
    for colours in colour_spaces(small.astype(np.float32) / 255):
        texture = orientation_energies(colours)
        for scale in SEGMENT_SCALES:
            segments = segments_of(colours, scale)
            shades = shares(segments, colours, COLOUR_BINS)
            edges = shares(segments, texture, TEXTURE_BINS)
            for histograms in ((shades, edges), (edges,)):
                found = grouped(segments, histograms).boxes
                boxes.append(found)
                # Section 3.4: groups made later rank higher, but with a random factor, so that the large groups of all
                # settings do not come before every small group.
                ranks.append(np.arange(len(found), 0, -1) * rng.random(len(found)))
    every = np.concatenate(boxes)[np.argsort(np.concatenate(ranks), kind="stable")]
    _, first = np.unique(every, axis=0, return_index=True)
    return every[np.sort(first)[:LARGEST]].astype(np.int32)


def _reduced(image: np.ndarray) -> np.ndarray:
    """(H, W, C) -> float32 colours of at most `WORKING_AREA` pixels and at least 2 x 2, with the same proportions if
    these limits allow it."""
    colours = image[:, :, : 3 if image.shape[2] >= 3 else 1].astype(np.float32)
    height, width = image.shape[:2]
    factor = min((WORKING_AREA / (height * width)) ** 0.5, 1)
    size = max(round(width * factor), 2), max(round(height * factor), 2)
    if size == (width, height):
        return colours
    return cv2.resize(colours, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)


def _stretched(colours: np.ndarray) -> np.ndarray:
    """(H, W, C) -> uint8, each channel stretched to 0..255; computed in double precision, so that the result does not
    depend on the units."""
    exact = colours.astype(np.float64)
    low, high = np.percentile(exact, RANGE, axis=(0, 1))
    shares = np.clip((exact - low) / np.where(high > low, high - low, 1), 0, 1)
    return (shares * 255.99).astype(np.uint8)


def colour_spaces(image: np.ndarray) -> list[np.ndarray]:
    """(H, W, C) -> the picture in the colour spaces to segment in, channels from 0 to 1: HSV and Lab, or only grey."""
    if image.shape[2] == 1:
        return [image]
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV) / np.array([360, 1, 1], np.float32)
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    return [hsv, (lab + np.array([0, 128, 128], np.float32)) / np.array([100, 256, 256], np.float32)]


def segments_of(colours: np.ndarray, scale: int) -> np.ndarray:
    """(H, W, C) -> (H, W) ids of segments, 0..S-1."""
    from skimage.segmentation import felzenszwalb  # a second to import, which listing the networks need not wait for

    share = colours.shape[0] * colours.shape[1] / PAPER_AREA
    smallest = max(round(scale * min(share, 1)), SMALLEST_SEGMENT)
    return felzenszwalb(colours, scale=scale, sigma=SMOOTHING, min_size=smallest, channel_axis=-1)


def orientation_energies(colours: np.ndarray) -> np.ndarray:
    """(H, W, C) -> (H, W, 8 C): slope of each channel in eight directions, as a share of the steepest slope."""
    smooth = cv2.GaussianBlur(colours, (0, 0), 1.0).reshape(colours.shape)
    down, right = np.gradient(smooth, axis=(0, 1))
    angles = 2 * np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS
    rises = right[..., None] * np.cos(angles) + down[..., None] * np.sin(angles)
    rises = np.maximum(rises, 0).reshape(*colours.shape[:2], -1)
    return rises / max(float(rises.max()), 1e-12)


def shares(segments: np.ndarray, values: np.ndarray, bins: int) -> np.ndarray:
    """(H, W) ids and (H, W, C) values from 0 to 1 -> histograms (S, C * bins) of the segments; each row sums to 1."""
    count = int(segments.max()) + 1
    placed = np.minimum((values * bins).astype(np.int64), bins - 1)
    flat = segments.ravel() * bins
    parts = [
        np.bincount(flat + placed[:, :, channel].ravel(), minlength=count * bins).reshape(count, bins)
        for channel in range(values.shape[2])
    ]
    found = np.concatenate(parts, axis=1).astype(np.float64)
    return found / found.sum(1, keepdims=True)


def _neighbours(segments: np.ndarray) -> np.ndarray:
    """(H, W) ids -> (E, 2) pairs of segments that touch, the lower id first, each pair once."""
    pairs = [
        np.stack([segments[:-1].ravel(), segments[1:].ravel()], 1),
        np.stack([segments[:, :-1].ravel(), segments[:, 1:].ravel()], 1),
    ]
    every = np.concatenate(pairs)
    every = np.sort(every[every[:, 0] != every[:, 1]], axis=1)
    return np.unique(every, axis=0)


class Hierarchy:
    """Segments and the groups that are made of them: rows 0..S-1 and S..2S-2 of every array."""

    def __init__(self, segments: np.ndarray, histograms: Sequence[np.ndarray]) -> None:
        first = int(segments.max()) + 1
        rows = 2 * first - 1
        self.area = segments.size
        self.count = first
        self.sizes = np.zeros(rows)
        self.sizes[:first] = np.bincount(segments.ravel(), minlength=first)
        self.boxes = np.zeros((rows, 4), np.int64)
        self.boxes[:first] = _boxes(segments)
        self.parents = np.arange(rows)  # the row of the group that each row was put into; the last row is its own
        self.histograms = [np.concatenate([own, np.zeros((first - 1, own.shape[1]))]) for own in histograms]

    def similarity(self, one: int, others: Sequence[int]) -> np.ndarray:
        """Similarities (len(others),): the sum of those of histograms, size and fill (section 3.2, equations 2, 4 to
        6)."""
        rows = np.asarray(others)
        total = np.zeros(len(rows))
        for histogram in self.histograms:
            total += np.minimum(histogram[one], histogram[rows]).sum(1)
        together = self.sizes[one] + self.sizes[rows]
        total += 1 - together / self.area
        low = np.minimum(self.boxes[one, :2], self.boxes[rows, :2])
        high = np.maximum(self.boxes[one, 2:], self.boxes[rows, 2:])
        total += 1 - ((high - low).prod(1) - together) / self.area
        return total

    def labels(self, groups: int) -> np.ndarray:
        """(S,): the row that each segment belongs to after this number of groups was made."""
        first = (len(self.parents) + 1) // 2
        found = np.arange(first)
        for _ in range(groups):
            above = self.parents[found]
            found = np.where(above < first + groups, above, found)
        return found

    def group(self, one: int, other: int) -> int:
        """Groups two rows and returns the row of the group, whose histograms follow from theirs (section 3.2)."""
        new = self.count
        self.count += 1
        self.parents[[one, other]] = new
        first, second = self.sizes[one], self.sizes[other]
        self.sizes[new] = first + second
        self.boxes[new, :2] = np.minimum(self.boxes[one, :2], self.boxes[other, :2])
        self.boxes[new, 2:] = np.maximum(self.boxes[one, 2:], self.boxes[other, 2:])
        for histogram in self.histograms:
            histogram[new] = (first * histogram[one] + second * histogram[other]) / (first + second)
        return new


def grouped(segments: np.ndarray, histograms: Sequence[np.ndarray]) -> Hierarchy:
    """Algorithm 1: groups segments (H, W) step by step until a single group is left.

    Args:
        histograms: histograms that segments are compared by, in addition to their sizes and how well they fill each
            other's gaps.
    """
    hierarchy = Hierarchy(segments, histograms)
    beside: dict[int, set[int]] = {row: set() for row in range(hierarchy.count)}
    for one, other in _neighbours(segments).tolist():
        beside[one].add(other)
        beside[other].add(one)
    queue: list[tuple[float, int, int]] = []
    for one, others in beside.items():
        later = sorted(other for other in others if other > one)
        if later:
            queue += zip((-hierarchy.similarity(one, later)).tolist(), [one] * len(later), later, strict=True)
    heapq.heapify(queue)
    while queue:
        _, one, other = heapq.heappop(queue)
        if one not in beside or other not in beside:  # already part of a group
            continue
        new = hierarchy.group(one, other)
        around = sorted((beside.pop(one) | beside.pop(other)) - {one, other})
        for row in around:
            beside[row] -= {one, other}
            beside[row].add(new)
        beside[new] = set(around)
        if around:
            for value, row in zip((-hierarchy.similarity(new, around)).tolist(), around, strict=True):
                heapq.heappush(queue, (value, row, new))
    return hierarchy


def _boxes(segments: np.ndarray) -> np.ndarray:
    """(H, W) ids -> (S, 4) xyxy, the box of each segment."""
    ys, xs = np.divmod(np.arange(segments.size), segments.shape[1])
    ids = segments.ravel()
    count = int(ids.max()) + 1
    found = np.empty((count, 4), np.int64)
    for axis, positions in ((0, xs), (1, ys)):
        low, high = np.full(count, segments.size), np.full(count, -1)
        np.minimum.at(low, ids, positions)
        np.maximum.at(high, ids, positions)
        found[:, axis], found[:, axis + 2] = low, high + 1
    return found
