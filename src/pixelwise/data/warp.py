"""A map from a crop to a picture: moves picture, labels, boxes and keypoints together, and resamples each only once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from pixelwise.data.sample import VOID, Instances, Sample, within
from pixelwise.data.turning import Turn


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """A map from a crop to a picture, in continuous coordinates: `source = matrix @ (x, y, 1)`, plus a displacement.

    Attributes:
        matrix: (2, 3).
        size: height and width of the crop.
        displacement: (height, width, 2) float32 pixels of the picture, added at each pixel of the crop; or None.
        turn: a turn of the crop's content out of its plane, after everything else; or None.
    """

    matrix: np.ndarray
    size: tuple[int, int]
    displacement: np.ndarray | None = None
    turn: Turn | None = None

    @property
    def mirrors(self) -> bool:
        """Whether the crop is a mirror image: after one flip it is, after two flips or any rotation it is not."""
        return bool(np.linalg.det(self.matrix[:, :2]) < 0)

    def displaced(self, displacement: np.ndarray) -> Warp:
        """This warp after a displacement (height, width, 2) of each pixel of the crop, in pixels of the crop."""
        in_picture = displacement @ self.matrix[:, :2].T
        if self.displacement is not None:
            in_picture = in_picture + self.displacement
        return replace(self, displacement=in_picture.astype(np.float32))

    def turned(self, turn: Turn) -> Warp:
        """The same warp, with its content turned out of the plane."""
        return replace(self, turn=turn)

    def apply(self, sample: Sample) -> Sample:
        """Resamples picture (linear, mirrored border) and labels (nearest, void outside), and moves the objects.

        Areas that a turn brings into sight are mirrored in the picture and void in the labels. In a mirror image left
        and right joints (`Instances.sides`) change places.
        """
        maps, hidden = self._maps()
        image = self._resample(sample.image, maps, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101)
        mask = sample.mask
        if mask is not None:
            mask = self._resample(mask, maps, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT, VOID)
            mask[hidden] = VOID
        instances = None if sample.instances is None else self._move(sample.instances, maps, hidden)
        values = sample.values
        if values is not None:
            values = self._move_values(values, maps)
            values[hidden] = np.nan
        partner = sample.partner
        if partner is not None:
            partner = with_channels(self._resample(partner, maps, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101))
        return replace(
            sample,
            image=with_channels(image),
            mask=mask,
            instances=instances,
            weights=None,
            values=values,
            partner=partner,
            proposals=None if sample.proposals is None else within(self.move_boxes(sample.proposals), *self.size),
        )

    def _move_values(self, values: np.ndarray, maps: np.ndarray | None) -> np.ndarray:
        """(H, W) numbers at the crop's pixels, linear between known numbers; NaN outside and where void prevails."""
        known = np.isfinite(values).astype(np.float32)
        filled = np.where(known > 0, values, 0).astype(np.float32)
        moved = self._resample(filled, maps, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
        weight = self._resample(known, maps, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
        inside = self._resample(np.ones_like(known), maps, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
        return np.where((weight > 0.5) & (inside > 0), moved / np.maximum(weight, 0.5), np.nan).astype(np.float32)

    def _maps(self) -> tuple[np.ndarray | None, np.ndarray]:
        """Where each pixel of the crop comes from, (height, width, 2) float32 for OpenCV, or None if the matrix alone
        determines it; and (height, width) bool, the pixels about which nothing is known.

        OpenCV's coordinates have pixel centres at whole numbers.
        """
        height, width = self.size
        hidden = np.zeros(self.size, bool)
        if self.displacement is None and self.turn is None:
            return None, hidden
        xs, ys = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        points, displacement = np.stack([xs, ys], axis=-1), self.displacement
        if self.turn is not None:
            points, seen = self.turn.backward(points)
            hidden = ~seen
            if displacement is not None:
                at = (points - 0.5).astype(np.float32)
                displacement = cv2.remap(displacement, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        moved = points @ self.matrix[:, :2].T + self.matrix[:, 2] - 0.5
        return (moved if displacement is None else moved + displacement).astype(np.float32), hidden

    def _resample(
        self, array: np.ndarray, maps: np.ndarray | None, interpolation: int, border: int, fill: float = 0
    ) -> np.ndarray:
        """(H, W) or (H, W, C), any number of channels -> the same at the crop's size."""
        if array.ndim == 3 and array.shape[2] > 4:  # OpenCV fills and warps at most four channels at once
            parts = [
                self._resample(array[:, :, start : start + 4], maps, interpolation, border, fill)
                for start in range(0, array.shape[2], 4)
            ]
            return np.concatenate([with_channels(part) for part in parts], axis=2)
        if maps is None:
            height, width = self.size
            matrix = self.matrix.copy()
            matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
            flags = interpolation | cv2.WARP_INVERSE_MAP
            return cv2.warpAffine(
                array, matrix, (width, height), flags=flags, borderMode=border, borderValue=(fill,) * 4
            )
        return cv2.remap(array, maps, None, interpolation, borderMode=border, borderValue=(fill,) * 4)

    def forward(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of the picture -> their positions in the crop; inverts the elastic part by iteration."""
        return self.located(points)[0]

    def located(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The result of `forward`, and for each point (...) whether it faces the viewer or is turned out of sight."""
        inverse = np.linalg.inv(self.matrix[:, :2])
        moved = (points - self.matrix[:, 2]) @ inverse.T
        if self.displacement is not None:
            height, width = self.size
            for _ in range(20):
                column = np.clip(moved[..., 0], 0, width - 1).astype(int)
                row = np.clip(moved[..., 1], 0, height - 1).astype(int)
                moved = (points - self.displacement[row, column] - self.matrix[:, 2]) @ inverse.T
        if self.turn is None:
            return moved, np.ones(moved.shape[:-1], bool)
        return self.turn.forward(moved)

    def _move(self, instances: Instances, maps: np.ndarray | None, hidden: np.ndarray) -> Instances:
        height, width = self.size
        keypoints = instances.keypoints
        if keypoints is not None:
            keypoints = keypoints.copy()
            keypoints[..., :2], seen = self.located(keypoints[..., :2])
            inside = (keypoints[..., :2] >= 0).all(-1) & (keypoints[..., :2] < (width, height)).all(-1)
            keypoints[..., 2] *= inside & seen
            if self.mirrors:
                for left, right in instances.sides:
                    keypoints[:, [left, right]] = keypoints[:, [right, left]]
        ids = instances.ids
        outlined = instances.outlined
        boxes = self.move_boxes(instances.boxes[outlined:]).clip(0, (width, height, width, height))
        kept = np.flatnonzero((boxes[:, 2:] - boxes[:, :2] >= 1).all(-1))
        boxes = boxes[kept].astype(np.float32)
        kept = kept + outlined
        if ids is not None:
            ids = self._resample(ids.astype(np.float32), maps, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT).astype(np.int64)
            ids[hidden] = 0
            shown = np.unique(ids[ids > 0]) - 1
            label_map = Instances.from_label_map(ids, instances.classes[shown])
            boxes, ids, kept = np.concatenate([label_map.boxes, boxes]), label_map.ids, np.concatenate([shown, kept])
        extents = instances.extents
        return Instances(
            boxes=boxes,
            classes=instances.classes[kept],
            ids=ids,
            keypoints=None if keypoints is None else keypoints[kept],
            sides=instances.sides,
            extents=None if extents is None else self.move_boxes(extents[kept]).astype(np.float32),
            ignored=None if instances.ignored is None else self._move(instances.ignored, maps, hidden),
            crowd=None if instances.crowd is None else instances.crowd[kept],
        )

    def move_boxes(self, boxes: np.ndarray) -> np.ndarray:
        """(N, 4) xyxy of the picture -> (N, 4) around the four moved corners of each box, not cut off at the edges.

        With a turn, the result surrounds the visible points of a grid over each box, and is empty if none is visible.
        """
        shares = np.linspace(0, 1, 2 if self.turn is None else 9)
        xs, ys = (boxes[:, k, None] * (1 - shares) + boxes[:, k + 2, None] * shares for k in (0, 1))
        grid = np.stack(np.broadcast_arrays(xs[:, None, :], ys[:, :, None]), -1).reshape(len(boxes), shares.size**2, 2)
        moved, seen = self.located(grid)
        low = np.where(seen[..., None], moved, np.inf).min(1)
        high = np.where(seen[..., None], moved, -np.inf).max(1)
        return np.where(seen.any(axis=1, keepdims=True), np.concatenate([low, high], -1), 0)


def with_channels(image: np.ndarray) -> np.ndarray:
    """Restores the axis of a single channel, which OpenCV drops."""
    return image[:, :, None] if image.ndim == 2 else image
