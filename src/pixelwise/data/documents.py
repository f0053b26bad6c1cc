"""What happens to a sheet of paper before it is a picture: it is seen askew, folded, lit unevenly, and scanned badly.

The geometry is a displacement that `warp.Warp` adds to its single map, so that masks, boxes and keypoints follow it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pixelwise.data.pictures import FULL_RANGE, as_dtype


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """How the sheet in a crop is bent and lit.

    Attributes:
        displacement: (height, width, 2) float32 pixels, added to the source position of each pixel of the crop.
        light: (height, width) float32 factors of the brightness.
    """

    displacement: np.ndarray
    light: np.ndarray


def draw_sheet(
    size: tuple[int, int], rng: np.random.Generator, *, perspective: float, folds: int, shading: float
) -> Sheet:
    """Draws a random sheet.

    Args:
        size: height and width of the crop.
        perspective: the most that a corner moves, as a share of the sides.
        folds: the most creases, along the sides or askew.
        shading: the most that light falls off, as a share of full brightness.
    """
    displacement = perspective_displacement(size, perspective * rng.uniform(-1, 1, (4, 2)))
    light = 1 - shading * _slope(size, rng) if shading else np.ones(size, np.float32)
    for _ in range(rng.integers(folds + 1) if folds else 0):
        distance, across = _crease(size, rng)
        # Next to the crease the paper slopes away: it looks shorter there, and one side turns away from the light.
        reach = 0.12 * min(size)
        near = np.exp(-np.abs(distance) / reach)
        displacement += (rng.uniform(0.15, 0.5) * distance * near)[..., None] * across
        line = np.exp(-((distance / max(0.004 * min(size), 0.7)) ** 2))
        light *= 1 - rng.uniform(0.05, 0.25) * (distance > 0) * near - rng.uniform(0.1, 0.35) * line
    return Sheet(displacement.astype(np.float32), light.astype(np.float32))


def perspective_displacement(size: tuple[int, int], corners: np.ndarray) -> np.ndarray:
    """(height, width, 2) pixels from each pixel of a crop to its position after a projective map.

    Args:
        corners: (4, 2) how far the corners move (top left, top right, bottom right, bottom left), as shares of the
            width and the height.
    """
    height, width = size
    still = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = still + (corners * (width, height)).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(still, moved)
    xs, ys = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    points = np.stack([xs, ys, np.ones_like(xs)], axis=-1) @ matrix.T
    return points[..., :2] / points[..., 2:] - np.stack([xs, ys], axis=-1)


def _slope(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(height, width) from 0 to 1: light that falls off to one side and a little unevenly."""
    rough = rng.random((3, 3)).astype(np.float32)
    smooth = cv2.resize(rough, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    angle = rng.uniform(0, 2 * np.pi)
    xs, ys = np.meshgrid(np.linspace(-1, 1, size[1]), np.linspace(-1, 1, size[0]))
    slope = 0.5 + 0.35 * (np.cos(angle) * xs + np.sin(angle) * ys)
    return np.clip(0.7 * slope + 0.3 * smooth, 0, 1) * rng.random()


def _crease(size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance (height, width) in pixels from a random line, and the unit vector (2,) across it."""
    height, width = size
    angle = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.05) if rng.random() < 0.8 else rng.uniform(0, np.pi)
    across = np.array([np.cos(angle), np.sin(angle)])
    position = rng.uniform(0.2, 0.8, 2) * (width, height)
    xs, ys = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return (xs - position[0]) * across[0] + (ys - position[1]) * across[1], across


def bleed(image: np.ndarray, amount: float) -> np.ndarray:
    """Bleeding ink: dark strokes spread by about `amount` pixels and lose their sharp edges. (H, W, C) -> the same."""
    if amount <= 0:
        return image
    side = 2 * int(np.ceil(amount)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    spread = cv2.GaussianBlur(cv2.erode(image, kernel), (0, 0), 0.6 * amount + 0.3).reshape(image.shape)
    share = amount / np.ceil(amount)
    return cv2.addWeighted(np.minimum(spread, image), share, image, 1 - share, 0).reshape(image.shape)


def scan(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """A scanner's defects: streaks along the path of the carriage, bands across it, grain and specks of dust.

    Args:
        image: (H, W, C) of any type.
        amount: 0 to 1.
    """
    height, width = image.shape[:2]
    full = FULL_RANGE.get(str(image.dtype), float(image.max()) or 1.0)
    streaks = rng.normal(0, 0.03, (1, width)) * (rng.random((1, width)) < 0.08)
    bands = cv2.GaussianBlur(rng.normal(0, 0.15, (height, 1)).astype(np.float32), (1, 31), 0, sigmaY=6)
    grain = rng.normal(0, 0.05, (height, width))
    dust = -0.6 * (cv2.GaussianBlur((rng.random((height, width)) < 2e-4).astype(np.float32), (0, 0), 0.7) > 0.05)
    noisy = image + (amount * full * (streaks + bands + grain + dust * rng.random()))[:, :, None]
    return as_dtype(noisy, image.dtype)


def lit(image: np.ndarray, light: np.ndarray) -> np.ndarray:
    """(H, W, C) under a light (H, W) of brightness factors."""
    return as_dtype(image * light[:, :, None], image.dtype)
