"""What could be labelled in a picture: the picture as a whole, regions of it, or single pixels, with their scores.

Regions and pixels of one picture are spread apart: after the best one, those close to it are left out, because they
show much the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from pixelwise.active.observer import Observation
from pixelwise.data.fit import resized
from pixelwise.data.regions import Patch
from pixelwise.data.superpixels import superpixels

SUPERPIXELS = 100
"""About how many superpixels a picture is divided into."""
LARGEST = 0.1
"""The largest share of a picture that a region may cover."""
COMPACTNESS = (10.0, 100.0, 1000.0)
"""SLIC's compactness. In noise, whose colours have no regions, small values give a single superpixel; the first value
that gives at least half of the superpixels is used."""
SLIC_SIDE = 512
"""Longest side to which pictures are reduced before they are divided into superpixels."""
REGIONS_APART = 2.0
"""The distance between the centres of two regions of a picture is at least this many times the side of a region."""
UNCERTAIN = 0.05
"""The share of a picture's pixels, the most uncertain ones, from which pixels are drawn (Shin et al., PixelPick, ICCV
2021 workshops, section 3.2)."""
PIXELS_APART = 0.3
"""The least distance between two chosen pixels of a picture, as a share of the spacing of a square grid with as many
pixels as the picture may get."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """Something that could be labelled.

    Attributes:
        picture: number of the picture in the pool.
        features: (F,) float32; None if the strategy does not use them.
        region: None for whole pictures and for pixels.
        pixel: column and row; None for whole pictures and for regions.
    """

    picture: int
    score: float
    features: np.ndarray | None = None
    region: Patch | None = None
    pixel: tuple[int, int] | None = None


def of_picture(number: int, observed: Observation) -> Candidate:
    """The picture as a whole, with the mean of its scores and features."""
    return Candidate(number, observed.score, observed.mean_features if observed.features else None)


def of_regions(
    number: int, observed: Observation, image: np.ndarray, scores: np.ndarray, limit: int
) -> list[Candidate]:
    """At most `limit` superpixels of a picture, the largest mean scores first.

    Superpixels that cover more than a tenth of the picture, or half of whose pixels are NaN, are left out.

    Args:
        image: (H, W, C).
        scores: (H, W), NaN where pixels are not to be labelled: they have no value, or a label already.
    """
    height, width = scores.shape
    segments = _segments(image)
    known = ~np.isnan(scores)
    count = int(segments.max()) + 1
    areas = np.bincount(segments[known], minlength=count)
    sums = np.bincount(segments[known], weights=scores[known], minlength=count)
    positions = (axis[known] + 0.5 for axis in np.mgrid[:height, :width][::-1])
    totals = np.stack([np.bincount(segments[known], weights=each, minlength=count) for each in positions], axis=1)
    centres = totals / np.maximum(areas, 1)[:, None]  # (S, 2) x, y
    whole = np.bincount(segments.ravel(), minlength=count)
    fit = (2 * areas > whole) & (whole <= LARGEST * height * width)
    means = np.where(fit, sums / np.maximum(areas, 1), -np.inf)
    apart = REGIONS_APART * math.sqrt(height * width / count)
    chosen = _spread(np.argsort(-means, kind="stable")[: np.count_nonzero(fit)], centres, apart, limit)
    return [
        Candidate(
            number,
            float(means[segment]),
            observed.features_at(*centres[segment].tolist()) if observed.features else None,
            region=_patch((segments == segment) & known),
        )
        for segment in chosen
    ]


def of_pixels(
    number: int, observed: Observation, scores: np.ndarray, limit: int, random: np.random.Generator
) -> list[Candidate]:
    """At most `limit` pixels of a picture, drawn from the twentieth with the largest scores.

    Args:
        scores: (H, W), NaN where the picture has no value.
        random: draws the pixels.
    """
    height, width = scores.shape
    known = np.flatnonzero(~np.isnan(scores))
    if not known.size:
        return []
    kept = max(limit, math.ceil(UNCERTAIN * known.size))
    uncertain = known[np.argsort(-scores.ravel()[known], kind="stable")[:kept]]
    order = random.permutation(uncertain)
    positions = np.stack([order % width, order // width], axis=1)
    chosen = _spread(np.arange(len(order)), positions, PIXELS_APART * math.sqrt(height * width / limit), limit)
    return [
        Candidate(
            number,
            float(scores[y, x]),
            observed.features_at(x + 0.5, y + 0.5) if observed.features else None,
            pixel=(x, y),
        )
        for x, y in positions[chosen].tolist()
    ]


def _segments(image: np.ndarray) -> np.ndarray:
    """(H, W) superpixels, those of a reduced copy if the picture is large."""
    height, width = image.shape[:2]
    scale = min(1.0, SLIC_SIDE / max(height, width))
    small = resized(image, max(1, round(scale * height)), max(1, round(scale * width)))
    for compactness in COMPACTNESS:
        segments = superpixels(small, SUPERPIXELS, compactness=compactness)
        if 2 * (segments.max() + 1) >= SUPERPIXELS:
            break
    if scale == 1.0:
        return segments
    return cv2.resize(segments.astype(np.int32), (width, height), interpolation=cv2.INTER_NEAREST).astype(np.int64)


def _spread(order: np.ndarray, positions: np.ndarray, apart: float, limit: int) -> list[int]:
    """The first of `order` that are at least `apart` from all chosen before them."""
    chosen: list[int] = []
    left = np.asarray(order)
    while left.size and len(chosen) < limit:
        best = int(left[0])
        chosen.append(best)
        left = left[np.linalg.norm(positions[left] - positions[best], axis=1) >= max(apart, 1e-6)]
    return chosen


def _patch(mask: np.ndarray) -> Patch:
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return Patch(top, left, mask[top : top + height, left : left + width].copy())
