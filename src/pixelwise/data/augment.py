"""Random crops of a sample: the settings, and the numbers that are drawn for each crop.

Scaling, rotation, flips, the position of the crop, the elastic field, the bends of a sheet of paper and a turn out of
the plane are composed into a single `Warp`, so that everything is resampled only once.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Literal

import cv2
import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pixelwise.data.backgrounds import replace_background
from pixelwise.data.documents import bleed, draw_sheet, lit, scan
from pixelwise.data.one_object import draw_object
from pixelwise.data.pictures import FULL_RANGE, as_dtype
from pixelwise.data.sample import VOID, Sample
from pixelwise.data.turning import draw_turn
from pixelwise.data.warp import Warp, with_channels


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
            image = with_channels(cv2.GaussianBlur(image, (0, 0), blur - self.blur + 0.1))
        if self.sharpen > 0:
            amount = self.sharpen * max(rng.uniform(-1, 1), 0)
            soft = with_channels(cv2.GaussianBlur(image, (0, 0), 1.0))
            image = with_channels(cv2.addWeighted(image, 1 + amount, soft, -amount, 0))
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


def _linear(image: np.ndarray, gain: float, bias: float) -> np.ndarray:
    if image.dtype == np.uint8:
        table = np.clip(np.rint(np.arange(256) * gain + bias), 0, 255).astype(np.uint8)
        return with_channels(cv2.LUT(image, table))
    return as_dtype(image.astype(np.float32) * gain + bias, image.dtype)
