"""Resizes pictures of any size to the size of a classifier's input."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from pixelwise.data.sample import Sample

ROOM = 8 / 7
"""Larger pictures are reduced to this times the crop, so that the crop has room to move: 256 pixels for a crop of 224,
as He et al. (CVPR 2016, section 3.4) and others since Krizhevsky et al. (2012) do."""


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W, C), any number of channels -> (height, width, C)."""
    if image.shape[:2] == (height, width):
        return image
    # Area averages when reducing, because plain sampling would pick every other line of a fine pattern.
    flag = cv2.INTER_AREA if height * width < image.shape[0] * image.shape[1] else cv2.INTER_LINEAR
    parts = [  # OpenCV takes at most four channels at once, and drops a single one
        cv2.resize(image[:, :, start : start + 4], (width, height), interpolation=flag).reshape(height, width, -1)
        for start in range(0, image.shape[2], 4)
    ]
    return np.concatenate(parts, axis=2)


@dataclass(frozen=True, slots=True)
class Cover:
    """Resizes a picture, keeping its proportions, so that it covers a crop of `size` (height, width).

    Larger pictures become at most `ROOM` times as large as the crop needs, smaller ones exactly as large as it needs.
    For samples without mask and objects.
    """

    size: tuple[int, int]

    def __call__(self, sample: Sample) -> Sample:
        return replace(sample, image=self.image(sample.image))

    def image(self, image: np.ndarray) -> np.ndarray:
        """(H, W, C) -> (h, w, C) with h and w at least those of the crop."""
        height, width = image.shape[:2]
        needed = max(self.size[0] / height, self.size[1] / width)
        scale = needed if needed >= 1 else min(ROOM * needed, 1.0)
        if scale == 1:
            return image
        rows = max(round(scale * height), self.size[0])
        columns = max(round(scale * width), self.size[1])
        return resized(image, rows, columns)


@dataclass(frozen=True, slots=True)
class Centre:
    """The middle of a picture, `size` (height, width), after `Cover`: a classifier's input outside training."""

    size: tuple[int, int]

    def __call__(self, sample: Sample) -> Sample:
        return replace(sample, image=self.image(sample.image))

    def image(self, image: np.ndarray) -> np.ndarray:
        """(H, W, C) -> (height, width, C)."""
        covering = Cover(self.size).image(image)
        top = (covering.shape[0] - self.size[0]) // 2
        left = (covering.shape[1] - self.size[1]) // 2
        return covering[top : top + self.size[0], left : left + self.size[1]]
