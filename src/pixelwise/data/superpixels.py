"""Superpixels: connected regions of similar colour that follow the edges of a picture."""

from __future__ import annotations

import numpy as np

from pixelwise.data.draw import to_rgb


def superpixels(image: np.ndarray, count: int, *, compactness: float = 10.0) -> np.ndarray:
    """The superpixels of SLIC (Achanta et al., PAMI 2012, section 3).

    Args:
        image: (H, W) or (H, W, C), as `data.draw.to_rgb` takes it.
        count: about how many; SLIC may return fewer or more.
        compactness: larger values make superpixels squarer and follow edges less.

    Returns:
        (H, W) int64, the number of each pixel's superpixel, from 0 without gaps.
    """
    from skimage.segmentation import slic

    segments = slic(to_rgb(image), n_segments=count, compactness=compactness, start_label=0, channel_axis=-1)
    return segments.astype(np.int64)
