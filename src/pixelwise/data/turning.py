"""Turns heads and other rounded objects out of the picture's plane: the picture lies on an ellipsoid, which is turned.

Head models of this kind are those of Basu, Essa and Pentland, "Motion regularization for model-based head tracking",
ICPR 1996. Here the ellipsoid is a unit sphere stretched to half axes (a, b) in pixels. For a turn about only the
upright axis, or only the level one, that is the rigid turn of an ellipsoid whose section across the axis is a circle.
The outline of the object stays the same, so its surroundings need not move.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEARNESS = 0.1
"""Half the width of the object over its distance from the camera, for a head at 80 cm: nearer parts look larger."""
GRAZING = 0.1
"""A point is visible if it is nearer to the camera than the outline by this much in z: its surface is then stretched
tenfold."""


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """A turn of the content of an ellipse.

    With picture coordinates (u, v) in half axes from the centre, x to the right, y down and z towards the camera at
    z = 1 / q, a point p of the unit sphere is seen at `(u, v) = sqrt(1 - q^2) (x, y) / (1 - q z)`. Its outline, where
    z = q, is the unit circle. The turn moves p to `R p`, `R = R_x(pitch) R_y(yaw)`.

    Attributes:
        centre: (2,) x and y in pixels.
        radii: (2,) half axes along x and y in pixels.
        yaw: radians about the upright axis; above 0 the front moves to the right.
        pitch: radians about the level axis; above 0 the front moves down.
        nearness: q, from 0 (parallel rays) to less than 1.
    """

    centre: np.ndarray
    radii: np.ndarray
    yaw: float
    pitch: float = 0.0
    nearness: float = NEARNESS

    def forward(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (..., 2) of the picture -> their positions in the turned one, and whether each is visible there (...).

        A surface that is seen at too flat an angle (`GRAZING`) counts as out of sight.
        """
        return self._moved(points, self._rotation(), GRAZING)

    def backward(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (..., 2) of the turned picture -> earlier positions (..., 2), and whether each was visible (...).

        A point that was out of sight gets the position of the visible point in front of it, which mirrors the surface.
        """
        return self._moved(points, self._rotation().T, 0.0)

    def _moved(self, points: np.ndarray, rotation: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
        positions = (points - self.centre) / self.radii
        inside = np.square(positions).sum(-1) < 1
        moved = self._on_sphere(positions) @ rotation.T
        seen = moved[..., 2] > self.nearness + least - 1e-9
        projected = self.centre + self.radii * self._projected(moved)
        return np.where(inside[..., None], projected, points), seen | ~inside

    def _on_sphere(self, positions: np.ndarray) -> np.ndarray:
        """(u, v) -> the point (x, y, z) of the sphere that is seen there; outside the outline, a point on it."""
        q = self.nearness
        squared = np.minimum(np.square(positions).sum(-1, keepdims=True), 1)
        z = (q * squared + np.sqrt(1 - squared) * (1 - q**2)) / (1 - q**2 + q**2 * squared)
        return np.concatenate([positions * (1 - q * z) / np.sqrt(1 - q**2), z], -1)

    def _projected(self, points: np.ndarray) -> np.ndarray:
        return np.sqrt(1 - self.nearness**2) * points[..., :2] / (1 - self.nearness * points[..., 2:])

    def _rotation(self) -> np.ndarray:
        """(3, 3)."""
        yaw, pitch = (np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) for a in (self.yaw, self.pitch))
        about_y, about_x = np.eye(3), np.eye(3)
        about_y[np.ix_([0, 2], [0, 2])] = yaw
        about_x[np.ix_([1, 2], [1, 2])] = pitch
        return about_x @ about_y


def draw_turn(ellipse: np.ndarray, rng: np.random.Generator, *, yaw: float, pitch: float) -> Turn:
    """Draws a random turn.

    Args:
        ellipse: (4,) xyxy of the box around the object's outline, in pixels.
        yaw, pitch: the largest turn to either side, in degrees.
    """
    angles = np.deg2rad(rng.uniform(-1, 1, 2) * (yaw, pitch))
    centre, radii = (ellipse[:2] + ellipse[2:]) / 2, np.maximum((ellipse[2:] - ellipse[:2]) / 2, 0.5)
    return Turn(centre, radii, float(angles[0]), float(angles[1]))
