"""Regions of a picture: polygons, runs, discs, points and patches, drawn at the picture's size.

All outlines follow one rule: a pixel belongs to a region if its centre (x + 0.5, y + 0.5) lies inside by the even-odd
rule; a centre exactly on the outline belongs to the region on its right, or if that does not decide, below. So regions
that share an edge neither overlap nor leave a gap, and a polygon along the pixels' edges covers exactly these pixels.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol

import numpy as np

from pixelwise.data import rle
from pixelwise.data.order import Order
from pixelwise.errors import UserError


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A part of a picture's pixels, which is also a region: `mask` (h, w) bool with its corner at (top, left)."""

    top: int
    left: int
    mask: np.ndarray

    def draw(self, height: int, width: int) -> Patch:
        """Returns the patch itself.

        Raises:
            UserError: it reaches beyond the picture.
        """
        bottom, right = self.top + self.mask.shape[0], self.left + self.mask.shape[1]
        if self.top < 0 or self.left < 0 or bottom > height or right > width:
            raise UserError(
                f"the mask covers columns {self.left} to {right} and rows {self.top} to {bottom}, "
                f"but the picture is {width} x {height} (width x height)."
            )
        return self

    @property
    def window(self) -> tuple[slice, slice]:
        """The patch's position: `picture[patch.window]` has the shape of `mask`."""
        return (
            slice(self.top, self.top + self.mask.shape[0]),
            slice(self.left, self.left + self.mask.shape[1]),
        )


class Region(Protocol):
    """Anything that covers pixels of a picture."""

    def draw(self, height: int, width: int) -> Patch:
        """The pixels covered in a picture of that size.

        Raises:
            UserError: the region cannot belong to a picture of that size.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """The union of polygons. Parts outside the picture are cut off.

    Attributes:
        polygons: each a tuple of rings (N, 2) `x, y` in pixels; by the even-odd rule, rings within a ring are holes.
    """

    polygons: tuple[tuple[np.ndarray, ...], ...]

    def draw(self, height: int, width: int) -> Patch:
        corners = np.concatenate([ring for rings in self.polygons for ring in rings])
        low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
        left, top = np.clip(low, 0, (width, height)).astype(int).tolist()
        right, bottom = np.clip(high, (left, top), (max(left, width), max(top, height))).astype(int).tolist()
        covered = np.zeros((bottom - top, right - left), bool)
        for rings in self.polygons:
            covered |= fill([ring - (left, top) for ring in rings], *covered.shape)
        return Patch(top, left, covered)


@dataclass(frozen=True, slots=True, eq=False)
class Disc:
    """All pixels whose centre is no farther than `radius` from (x, y)."""

    x: float
    y: float
    radius: float

    def draw(self, height: int, width: int) -> Patch:
        left, right = (int(np.clip(edge, 0, width)) for edge in (self.x - self.radius, self.x + self.radius + 1))
        top, bottom = (int(np.clip(edge, 0, height)) for edge in (self.y - self.radius, self.y + self.radius + 1))
        ys, xs = np.mgrid[top:bottom, left:right] + 0.5
        return Patch(top, left, (xs - self.x) ** 2 + (ys - self.y) ** 2 <= self.radius**2)


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Single pixels: (P, 2) int64 `x, y`, column and row from 0 at the top left; at least one."""

    pixels: np.ndarray

    def draw(self, height: int, width: int) -> Patch:
        """The pixels themselves.

        Raises:
            UserError: a pixel outside the picture.
        """
        outside = ((self.pixels < 0) | (self.pixels >= (width, height))).any(axis=1)
        if outside.any():
            x, y = self.pixels[outside.argmax()].tolist()
            raise UserError(
                f"the pixel x {x}, y {y} is outside the picture, which is {width} x {height} (width x height)."
            )
        left, top = self.pixels.min(axis=0).tolist()
        right, bottom = (self.pixels.max(axis=0) + 1).tolist()
        covered = np.zeros((bottom - top, right - left), bool)
        covered[self.pixels[:, 1] - top, self.pixels[:, 0] - left] = True
        return Patch(top, left, covered)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Runs as in csv files: (R, 2) 1-based starts, down the columns or along the rows, and lengths."""

    pairs: np.ndarray
    order: Order = "columns"

    def draw(self, height: int, width: int) -> Patch:
        return Patch(0, 0, rle.from_pairs(self.pairs, height, width, self.order))


@dataclass(frozen=True, slots=True, eq=False)
class RunLengths:
    """Runs as in COCO's files: (R,) counts, or the compressed string, of a mask of `size` (height, width)."""

    counts: np.ndarray | str
    size: tuple[int, int]

    def draw(self, height: int, width: int) -> Patch:
        if self.size != (height, width):
            raise UserError(
                f"the run-length encoding is of a picture of {self.size[1]} x {self.size[0]}, but this picture is "
                f"{width} x {height} (width x height)."
            )
        counts = rle.decompress(self.counts) if isinstance(self.counts, str) else self.counts
        return Patch(0, 0, rle.decode(counts, height, width))


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """One object in several parts, such as a cow behind a tree."""

    parts: tuple[Region, ...]

    def draw(self, height: int, width: int) -> Patch:
        """The union of all parts.

        Raises:
            UserError: a part cannot belong to a picture of that size.
        """
        patches = [part.draw(height, width) for part in self.parts]
        top, left = min(patch.top for patch in patches), min(patch.left for patch in patches)
        bottom = max(patch.top + patch.mask.shape[0] for patch in patches)
        right = max(patch.left + patch.mask.shape[1] for patch in patches)
        covered = np.zeros((bottom - top, right - left), bool)
        for patch in patches:
            covered[Patch(patch.top - top, patch.left - left, patch.mask).window] |= patch.mask
        return Patch(top, left, covered)


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """An object somewhere between four edges, in pixels; it is not known which pixels belong to it."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def is_flat(self) -> bool:
        """Whether the box has no area."""
        return not (self.right > self.left and self.bottom > self.top)

    def overshoot(self, height: int, width: int) -> float:
        """Pixels by which the box reaches beyond a picture of that size; 0 or less if it does not."""
        return max(-self.left, -self.top, self.right - width, self.bottom - height)

    def draw(self, height: int, width: int) -> Patch:
        """All pixels whose centre lies between the edges."""
        left, right = (int(np.clip(np.ceil(edge - 0.5), 0, width)) for edge in (self.left, self.right))
        top, bottom = (int(np.clip(np.ceil(edge - 0.5), 0, height)) for edge in (self.top, self.bottom))
        return Patch(top, left, np.ones((max(bottom - top, 0), max(right - left, 0)), bool))

    def within(self, height: int, width: int) -> np.ndarray:
        """(4,) float32 xyxy, cut off at the picture's borders."""
        edges = np.array([self.left, self.top, self.right, self.bottom], np.float32)
        return edges.clip(0, (width, height, width, height))


@dataclass(frozen=True, slots=True, eq=False)
class Broken:
    """An entry that holds no region. It prevents its own picture from being read, and no other."""

    why: str

    def draw(self, height: int, width: int) -> Patch:
        """Reports what is wrong with the entry.

        Raises:
            UserError: always.
        """
        raise UserError(self.why)


def extent(region: Region) -> np.ndarray | None:
    """(4,) float32 xyxy around an outline or a box; None for runs and patches."""
    if isinstance(region, Polygons):
        corners = np.concatenate([ring for rings in region.polygons for ring in rings])
        return np.concatenate([corners.min(axis=0), corners.max(axis=0)]).astype(np.float32)
    if isinstance(region, Box):
        return np.array([region.left, region.top, region.right, region.bottom], np.float32)
    return None


def reach(region: Region) -> tuple[float, float] | None:
    """The largest x and y of an outline or a box; None for runs and patches, which hold the picture's size."""
    if isinstance(region, Polygons):
        x, y = np.concatenate([ring for rings in region.polygons for ring in rings]).max(axis=0).tolist()
        return x, y
    if isinstance(region, Box):
        return region.right, region.bottom
    if isinstance(region, Disc):
        return region.x + region.radius, region.y + region.radius
    return None


SAME = 2
"""Coordinates are compared to this many decimals, because exports of the same outline differ beyond them."""


def content(region: Region) -> Hashable:
    """The kind of a region and its numbers: equal for two regions that agree to a hundredth of a pixel."""
    return _hashable(region)


def _hashable(value: Any) -> Hashable:
    if isinstance(value, np.ndarray):
        value = np.round(value, SAME) + 0 if value.dtype.kind == "f" else value  # -0.0 becomes 0.0
        return value.shape, value.tobytes()
    if isinstance(value, tuple):
        return tuple(map(_hashable, value))
    if is_dataclass(value):
        return type(value).__name__, *(_hashable(getattr(value, each.name)) for each in fields(value))
    hashable: Hashable = round(value, SAME) if isinstance(value, float) else value
    return hashable


def fill(rings: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """The pixels whose centres lie inside closed rings (N, 2) `x, y`, by the even-odd rule: (H, W) bool."""
    toggles = np.zeros((height, width + 1), bool)
    for ring in rings:
        start = np.asarray(ring, np.float64)
        end = np.roll(start, -1, axis=0)
        # Always from the upper to the lower end, so that a shared edge is rounded in the same way from both sides.
        flip = (start[:, 1] > end[:, 1])[:, None]
        upper, lower = np.where(flip, end, start), np.where(flip, start, end)
        # Rows whose centre y + 0.5 lies in [upper, lower): the first one, and the one after the last.
        first = np.clip(np.ceil(upper[:, 1] - 0.5), 0, height).astype(np.int64)
        stop = np.clip(np.ceil(lower[:, 1] - 0.5), 0, height).astype(np.int64)
        edges = np.repeat(np.arange(len(start)), stop - first)
        before = np.cumsum(stop - first) - (stop - first)
        rows = np.arange(len(edges)) - before[edges] + first[edges]
        upper, lower = upper[edges], lower[edges]
        along = (rows + 0.5 - upper[:, 1]) / (lower[:, 1] - upper[:, 1])
        x = upper[:, 0] + along * (lower[:, 0] - upper[:, 0])
        columns = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
        np.logical_xor.at(toggles, (rows, columns), True)
    inside: np.ndarray = np.logical_xor.accumulate(toggles, axis=1)[:, :width]
    return inside
