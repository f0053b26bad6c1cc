"""Random crops of a sample: picture, mask, boxes and keypoints move together, by one warp.

Scaling, rotation, flips, the position of the crop, the elastic field, the bends of a sheet of paper and a turn out of
the plane are composed into a single map from the pixels of the crop to those of the picture, so that everything is
resampled only once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Literal

import cv2
import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pixelwise.data.backgrounds import replace_background
from pixelwise.data.documents import bleed, draw_sheet, lit, scan
from pixelwise.data.one_object import draw_object
from pixelwise.data.pictures import FULL_RANGE, as_dtype
from pixelwise.data.sample import VOID, Instances, Sample, within
from pixelwise.data.turning import Turn, draw_turn


def _rising(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError("the first number must not be larger than the second")
    return pair


MARGIN = 1.2
"""If an object fills a crop, the object's box is enlarged by this factor (Noh et al., ICCV 2015, section 4.2)."""

Side = Annotated[int, Field(ge=1)]
Factor = Annotated[float, Field(gt=0)]


class Augmentation(BaseModel):
    """How crops of a picture vary. By default only the position of the crop does."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    crop: tuple[Side, Side] = Field((256, 256), description="height and width of a crop, in pixels")
    scale: Annotated[tuple[Factor, Factor], AfterValidator(_rising)] = Field(
        (1.0, 1.0), description="magnification, drawn log-uniformly between the two"
    )
    rotate: float = Field(0.0, ge=0, le=180, description="degrees, drawn uniformly to either side")
    flip: Literal["none", "horizontal", "both"] = Field("none", description="mirrored with probability 1/2 per axis")
    elastic: float = Field(0.0, ge=0, description="standard deviation in pixels of displacements on a 3 x 3 grid")
    brightness: float = Field(0.0, ge=0, le=1, description="gain drawn within 1 +- this")
    contrast: float = Field(0.0, ge=0, le=1, description="contrast about the picture's mean, within 1 +- this")
    saturation: float = Field(0.0, ge=0, le=1, description="saturation of colour pictures, within 1 +- this")
    noise: float = Field(0.0, ge=0, le=1, description="largest standard deviation, as a share of the full range")
    blur: float = Field(0.0, ge=0, description="largest gaussian standard deviation in pixels, for half of the crops")
    sharpen: float = Field(0.0, ge=0, description="largest amount of unsharp masking, for half of the crops")
    erase: float = Field(0.0, ge=0, le=1, description="probability that a rectangle is covered; its labels become void")
    background: float = Field(0.0, ge=0, le=1, description="probability that the masked background is replaced")
    background_class: int = Field(0, ge=0, le=254, description="the class that is background")
    backgrounds: str = Field("", description="folder of pictures for it; empty for plain, shaded and noisy surfaces")
    objects: float = Field(
        0.0, ge=0, le=1, description="probability that a crop is filled by an object: 1.2 times its box, times scale"
    )
    alone: bool = Field(False, description="whether everything else in such a crop is labelled as class 0")
    perspective: float = Field(0.0, ge=0, le=0.25, description="the most that a corner moves, as a share of the sides")
    folds: int = Field(0, ge=0, le=8, description="the most creases of a sheet of paper")
    shading: float = Field(0.0, ge=0, le=1, description="the most that light falls off over a sheet of paper")
    ink: float = Field(0.0, ge=0, le=5, description="the most that dark strokes spread, in pixels")
    yaw: float = Field(
        0.0, ge=0, le=60, description="degrees that a rounded object turns to either side, like a head that is shaken"
    )
    pitch: float = Field(0.0, ge=0, le=60, description="degrees that it turns up or down, like a head that nods")
    scan: float = Field(0.0, ge=0, le=1, description="largest amount of a scanner's streaks, bands, grain and dust")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Draws one crop: an image (crop height, crop width, C) with its mask and objects.

        The same state of `rng` gives the same crop.

        Random numbers are drawn in this order:

        - `objects`, and then which object: only if `objects` is above 0;
        - scale, angle, two flips and the position: always, whatever the settings;
        - the elastic field: only if `elastic` is above 0;
        - the sheet of paper: only if `perspective`, `folds` or `shading` is above 0;
        - the turn: only if `yaw` or `pitch` is above 0;
        - `background`: only if above 0, and the new background only in the crops that get one;
        - gain, contrast, saturation, level of noise and blur: always, whatever the settings;
        - `sharpen`, one number per value of the picture for `noise`, `ink`, `scan`: each only if above 0;
        - `erase`: only if above 0, and the rectangle only in the crops that get one.

        So changing a setting that is always drawn leaves all other draws alone, while turning one of the other settings
        on or off changes everything that is drawn after it in the same crop.
        """
        if sample.image.shape[:2] == self.crop and _has_no_geometry(sample) and _only_moves(self):
            return replace(sample, weights=None)  # the crop is the picture, so nothing is drawn or resampled
        box = None
        if self.objects > 0 and rng.random() < self.objects:
            sample, box = draw_object(sample, rng, alone=self.alone)
        warp = self.draw_warp(sample.image.shape[:2], rng, box)
        sheet = None
        if self.perspective > 0 or self.folds > 0 or self.shading > 0:
            sheet = draw_sheet(self.crop, rng, perspective=self.perspective, folds=self.folds, shading=self.shading)
            warp = warp.displaced(sheet.displacement)
        if self.yaw > 0 or self.pitch > 0:
            height, width = self.crop
            ellipse = np.array([0, 0, width, height]) if box is None else warp.move_boxes(box[None])[0]
            warp = warp.turned(draw_turn(ellipse, rng, yaw=self.yaw, pitch=self.pitch))
        crop = warp.apply(sample)
        if self.background > 0 and rng.random() < self.background and crop.mask is not None:
            image = replace_background(crop.image, crop.mask == self.background_class, rng, self.backgrounds)
            crop = replace(crop, image=image)
        image = self._recolour(crop.image, rng)
        if self.ink > 0:
            image = bleed(image, self.ink * rng.random())
        if sheet is not None:
            image = lit(image, sheet.light)
        if self.scan > 0:
            image = scan(image, self.scan * rng.random(), rng)
        crop = replace(crop, image=image)
        return erased(crop, rng) if self.erase > 0 and rng.random() < self.erase else crop

    def draw_warp(self, size: tuple[int, int], rng: np.random.Generator, box: np.ndarray | None = None) -> Warp:
        """Draws the geometry of one crop of a picture of `size` (height, width).

        A crop that fits into the magnified picture lies inside it; a larger crop contains the whole picture.

        Args:
            box: (4,) xyxy of an object that fills the crop, with a margin (`MARGIN`). At a scale of 1 box and margin
                just fit into the crop; at larger scales the crop moves within them. Along the other axis the object
                stays in the middle.
        """
        # These numbers are drawn whatever the settings, so that changing one setting leaves the others' draws alone.
        # The elastic field, below, is drawn only if it is used.
        scale = float(np.exp(rng.uniform(*np.log(self.scale))))
        angle = np.deg2rad(rng.uniform(-self.rotate, self.rotate))
        mirror = rng.random(2) < 0.5
        offset = rng.random(2)
        middle = np.array([size[1], size[0]]) / 2
        if box is not None:
            middle = (box[:2] + box[2:]) / 2
            extent = np.maximum(MARGIN * (box[2:] - box[:2]), 1)
            scale *= float(np.min(np.array([self.crop[1], self.crop[0]]) / extent))
        linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
        if self.flip != "none" and mirror[0]:
            linear = linear @ np.diag([-1.0, 1.0])
        if self.flip == "both" and mirror[1]:
            linear = linear @ np.diag([1.0, -1.0])
        seen = np.array([self.crop[1], self.crop[0]]) / scale
        room = np.abs((size[1], size[0]) - seen) if box is None else np.maximum(extent - seen, 0)
        centre = middle + (offset - 0.5) * room
        shift = centre - linear @ (np.array([self.crop[1], self.crop[0]]) / 2)
        if scale == 1 and angle == 0:
            shift = np.round(shift)  # nothing is interpolated
        displacement = None
        if self.elastic > 0:
            displacement = elastic_field(self.crop, self.elastic, rng)
        return Warp(np.hstack([linear, shift[:, None]]), self.crop, displacement)

    def _recolour(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        gain, contrast, saturation = 1 + rng.uniform(-1, 1, 3) * (self.brightness, self.contrast, self.saturation)
        noise, blur = rng.random(2) * (self.noise, 2 * self.blur)
        if self.blur > 0 and blur > self.blur:
            image = _with_channels(cv2.GaussianBlur(image, (0, 0), blur - self.blur + 0.1))
        if self.sharpen > 0:
            amount = self.sharpen * max(rng.uniform(-1, 1), 0)
            soft = _with_channels(cv2.GaussianBlur(image, (0, 0), 1.0))
            image = _with_channels(cv2.addWeighted(image, 1 + amount, soft, -amount, 0))
        if self.saturation > 0 and image.shape[2] == 3:
            grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None]
            image = cv2.addWeighted(image, saturation, np.repeat(grey, 3, axis=2), 1 - saturation, 0)
        if self.brightness > 0 or self.contrast > 0:
            mean = float(image.mean())
            image = _linear(image, gain * contrast, gain * mean * (1 - contrast))
        if self.noise > 0:
            full = FULL_RANGE.get(str(image.dtype), float(image.std()) or 1.0)
            noisy = image + rng.normal(0, noise * full, image.shape).astype(np.float32)
            image = as_dtype(noisy, image.dtype)
        return image


@lru_cache(maxsize=64)
def _only_moves(augmentation: Augmentation) -> bool:
    """Whether crops differ by their positions alone."""
    return augmentation == Augmentation(crop=augmentation.crop)


def _has_no_geometry(sample: Sample) -> bool:
    """Whether a sample is a picture with at most a mask and a class."""
    return all(each is None for each in (sample.instances, sample.values, sample.partner, sample.proposals))


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
            partner = _with_channels(self._resample(partner, maps, cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101))
        return replace(
            sample,
            image=_with_channels(image),
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
            return np.concatenate([_with_channels(part) for part in parts], axis=2)
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


def elastic_field(size: tuple[int, int], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth random displacements (height, width, 2) in pixels: normal on a 3 x 3 grid, bicubic in between.

    Ronneberger et al. 2015, section 3.1, with sigma = 10 pixels.
    """
    grid = rng.normal(0, sigma, (3, 3, 2)).astype(np.float32)
    return cv2.resize(grid, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)


def erased(crop: Sample, rng: np.random.Generator) -> Sample:
    """Covers a rectangle of 2 to 20 % of a crop with noise; its pixels get no label (Zhong et al., AAAI 2020).

    Objects keep their boxes, as when something stands in front of them.
    """
    height, width = crop.image.shape[:2]
    area, ratio = rng.uniform(0.02, 0.2), np.exp(rng.uniform(-1, 1))
    rows = min(max(round(height * np.sqrt(area * ratio)), 1), height)
    columns = min(max(round(width * np.sqrt(area / ratio)), 1), width)
    top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
    window = (slice(top, top + rows), slice(left, left + columns))
    image = crop.image.copy()
    low, high = float(image.min()), float(image.max())
    image[window] = as_dtype(rng.uniform(low, high, image[window].shape), image.dtype)
    mask = crop.mask
    if mask is not None:
        mask = mask.copy()
        mask[window] = VOID
    values = crop.values
    if values is not None:
        values = values.copy()
        values[window] = np.nan
    return replace(crop, image=image, mask=mask, values=values)


def _with_channels(image: np.ndarray) -> np.ndarray:
    """Restores the axis of a single channel, which OpenCV drops."""
    return image[:, :, None] if image.ndim == 2 else image


def _linear(image: np.ndarray, gain: float, bias: float) -> np.ndarray:
    if image.dtype == np.uint8:
        table = np.clip(np.rint(np.arange(256) * gain + bias), 0, 255).astype(np.uint8)
        return _with_channels(cv2.LUT(image, table))
    return as_dtype(image.astype(np.float32) * gain + bias, image.dtype)
