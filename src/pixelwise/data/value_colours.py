"""Maps of numbers in colours."""

from __future__ import annotations

import cv2
import numpy as np

from pixelwise.data.draw import to_rgb

UNKNOWN = 128  # grey of pixels without a value


def coloured(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """(H, W) -> (H, W, 3) uint8 in the colours of viridis, grey where there is no value."""
    from matplotlib import colormaps

    shares = (np.nan_to_num(values, nan=low) - low) / (high - low if high > low else 1.0)
    colours = colormaps["viridis"](np.clip(shares, 0, 1), bytes=True)[:, :, :3].copy()
    colours[~np.isfinite(values)] = UNKNOWN
    return colours


def coloured_over(image: np.ndarray, values: np.ndarray, low: float, high: float, alpha: float = 0.6) -> np.ndarray:
    """(H, W, 3) uint8: the values in colours over the greyed picture."""
    grey = cv2.cvtColor(to_rgb(image), cv2.COLOR_RGB2GRAY)
    under = np.repeat(grey[:, :, None], 3, axis=2)
    return cv2.addWeighted(coloured(values, low, high), alpha, under, 1 - alpha, 0)
