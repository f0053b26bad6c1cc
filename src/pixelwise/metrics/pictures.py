"""Errors of pictures that a network draws: mean absolute error and PSNR."""

from __future__ import annotations

import math

import numpy as np

LEVELS = 255.0
"""Errors are stated in grey levels of 0 to this, whatever the depth of the pictures."""


class ConstantScore:
    """The error of the best single colour for all pictures, chosen with the truth at hand.

    A network that does not beat it has learned nothing of its input. Values are counted in 256 grey levels.
    """

    def __init__(self) -> None:
        self._counts = np.zeros((0, 256), np.int64)  # by channel

    def update(self, truth: np.ndarray, low: float, span: float) -> None:
        """Adds one picture (H, W, C) whose values are `low` to `low + span`; NaN is left out."""
        levels = (truth.astype(np.float64) - low) * (LEVELS / span)
        counts = [
            np.bincount(np.clip(np.rint(plane[np.isfinite(plane)]), 0, LEVELS).astype(np.int64), minlength=256)
            for plane in np.moveaxis(levels, 2, 0)
        ]
        self._counts = np.stack(counts) + (self._counts if len(self._counts) else 0)

    def merge(self, other: ConstantScore) -> None:
        """Adds the pictures that another accumulator has counted."""
        if len(other._counts):
            self._counts = other._counts + (self._counts if len(self._counts) else 0)

    def l1(self) -> float:
        """The mean absolute error of each channel's median, in grey levels; NaN if nothing was counted."""
        total = int(self._counts.sum())
        if not total:
            return math.nan
        levels = np.arange(256)
        medians = (self._counts.cumsum(axis=1) * 2 >= self._counts.sum(axis=1, keepdims=True)).argmax(axis=1)
        return float((self._counts * np.abs(levels - medians[:, None])).sum() / total)


class PictureScore:
    """Accumulates the errors of pictures in float64; every value of every picture has the same weight.

    Attributes:
        values: number of values that were compared: pixels times channels.
    """

    def __init__(self) -> None:
        self.values = 0
        self._absolute = self._squared = 0.0

    def update(self, made: np.ndarray, truth: np.ndarray, span: float) -> None:
        """Adds one picture.

        Args:
            made, truth: (H, W, C); values that are NaN in either are left out.
            span: the range of values of such pictures, which counts as 255 grey levels.

        Raises:
            ValueError: the shapes differ.
        """
        if made.shape != truth.shape:
            raise ValueError(f"the picture is {made.shape} but the truth is {truth.shape}")
        errors = (made.astype(np.float64) - truth) * (LEVELS / span)
        errors = errors[np.isfinite(errors)]
        self.values += errors.size
        self._absolute += float(np.abs(errors).sum())
        self._squared += float(np.square(errors).sum())

    def merge(self, other: PictureScore) -> None:
        """Adds the pictures that another accumulator has counted."""
        self.values += other.values
        self._absolute += other._absolute
        self._squared += other._squared

    def l1(self) -> float:
        """The mean absolute error in grey levels of 0..255; NaN if nothing was compared."""
        return self._absolute / self.values if self.values else math.nan

    def psnr(self) -> float:
        """The peak signal-to-noise ratio, 10 log10(255² / mean squared error), in dB; NaN if nothing was compared or
        nothing differs."""
        return 10 * math.log10(LEVELS**2 * self.values / self._squared) if self._squared else math.nan
