"""Prediction: from a picture of any size and kind to its objects, as boxes, and as masks if the network has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from pixelwise.data.draw import palette, to_rgb
from pixelwise.data.objects import Stretch
from pixelwise.data.pictures import convert, write_png
from pixelwise.data.regions import Patch
from pixelwise.errors import UserError, unknown
from pixelwise.inference.engine import device_and_dtype
from pixelwise.inference.forms import check_form
from pixelwise.inference.predictor import Inference, InferenceOptions, Prediction, Progress, Written
from pixelwise.inference.rasters import Picture, Raster, open_raster
from pixelwise.inference.tiles import Span, TileGrid, square_grid
from pixelwise.metrics.coco import encoded
from pixelwise.models.detect.detector import Detections, Detector
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.finite import check_answer
from pixelwise.nn.mask_paste import paste_masks
from pixelwise.nn.nms import nms
from pixelwise.report.boxes import draw_boxes

BACKGROUND = 0
"""Class id of the background."""
TILE = 1024
OVERLAP = 256
"""Pixels that neighbouring tiles share: an object up to this length is whole in one of the tiles of a large picture."""
MASKS = "masks"
"""The only value of the option `instances`: objects are distinguished by their masks."""
MAX_OBJECTS = np.iinfo(np.uint16).max
"""Number of objects that fit a label map of 16 bits."""
CONFIDENCE = 0.5
"""Least confidence at which precision, recall and label maps are scored, so that runs can be compared. It is also the
least confidence of objects that are shown and written if the network comes without a recommended confidence."""


class ObjectOptions(InferenceOptions):
    """Options of prediction by networks that find every object."""

    tile: int = Field(TILE, ge=64, description="longest side of a tile, the part predicted at once, in pixels")
    overlap: int = Field(OVERLAP, ge=0, description="pixels that neighbouring tiles share: the length of long objects")
    threshold: float | None = Field(
        None, gt=0, lt=1, description="least confidence of an object; null: the best one on the validation pictures"
    )
    overlay: bool = Field(False, description="also write NAME_overlay.png, the objects drawn over the picture")
    instances: str | None = Field(None, description="masks: also write NAME_instances.png, a label map of the objects")


@dataclass(frozen=True, slots=True, eq=False)
class ObjectPrediction(Prediction):
    """The objects that a network finds in one picture, the most confident first.

    Attributes:
        boxes: (M, 4) float32 xyxy in pixels of the picture, within it.
        classes: (M,) int64 class ids.
        confidences: (M,) float32, 0..1.
        class_names: by class id.
        image: (H, W, C), the picture.
        masks: for each object its mask, as a patch of the picture; None if only boxes are predicted.
    """

    columns: ClassVar = ("class", "confidence", "x0", "y0", "x1", "y1", "pixels")
    boxes: np.ndarray
    classes: np.ndarray
    confidences: np.ndarray
    class_names: tuple[str, ...]
    image: np.ndarray
    masks: tuple[Patch, ...] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def above(self, confidence: float) -> ObjectPrediction:
        """The objects with at least this confidence."""
        return self.select(np.flatnonzero(self.confidences >= confidence))

    def select(self, which: np.ndarray) -> ObjectPrediction:
        """The objects at these indices (K,), in this order."""
        masks = None if self.masks is None else tuple(self.masks[number] for number in which)
        return ObjectPrediction(
            self.boxes[which], self.classes[which], self.confidences[which], self.class_names, self.image, masks
        )

    def moved(self, top: int, left: int, image: np.ndarray) -> ObjectPrediction:
        """The same objects in a larger picture, `image`, of which this one is the part that begins at `top`, `left`."""
        masks = None
        if self.masks is not None:
            masks = tuple(replace(piece, top=piece.top + top, left=piece.left + left) for piece in self.masks)
        boxes = self.boxes + np.array([left, top, left, top], np.float32)
        return replace(self, boxes=boxes, image=image, masks=masks)

    def centred(self, rows: tuple[float, float], columns: tuple[float, float]) -> ObjectPrediction:
        """The objects whose centre lies within these rows and columns."""
        x, y = ((self.boxes[:, axis] + self.boxes[:, axis + 2]) / 2 for axis in (0, 1))
        inside = (y >= rows[0]) & (y < rows[1]) & (x >= columns[0]) & (x < columns[1])
        return self.select(np.flatnonzero(inside))

    def labels(self) -> list[str]:
        """Class name and confidence in percent of each object."""
        return [
            f"{self.class_names[class_id]} {100 * confidence:.0f}%"
            for class_id, confidence in zip(self.classes.tolist(), self.confidences.tolist(), strict=True)
        ]

    def label_map(self) -> np.ndarray:
        """(H, W) int32: i + 1 on the pixels of object i, 0 elsewhere; if objects overlap, the more confident wins."""
        ids = np.zeros(self.image.shape[:2], np.int32)
        for number, piece in reversed(list(enumerate(self.masks or (), start=1))):
            ids[piece.window][piece.mask] = number
        return ids

    def overlay(self) -> np.ndarray:
        """(H, W, 3) uint8: the picture with its objects, as tinted and outlined masks, or as boxes without masks."""
        colours = palette(len(self.class_names), BACKGROUND)
        if self.masks is None:
            return draw_boxes(self.image, self.boxes, self.classes, self.labels(), colours=colours)
        drawn = to_rgb(self.image).copy()
        for class_id, piece in zip(self.classes.tolist(), self.masks, strict=True):
            draw_piece(drawn, piece, colours[class_id])
        return drawn

    def rows(self) -> list[list[str]]:
        areas = [""] * len(self) if self.masks is None else [str(int(piece.mask.sum())) for piece in self.masks]
        return [
            [self.class_names[class_id], f"{confidence:.6f}", *(f"{edge:.2f}" for edge in box), area]
            for box, class_id, confidence, area in zip(
                self.boxes.tolist(), self.classes.tolist(), self.confidences.tolist(), areas, strict=True
            )
        ]


class ObjectInference(Inference[ObjectPrediction]):
    """Prediction by a detector on pictures of any size.

    Pictures keep their size, and large ones are divided into overlapping tiles. A network that was trained on pictures
    of one size (`ModelSpec.input_size`) sees every picture stretched to that size.

    Two neighbouring tiles share their overlap at its middle: each tile contributes only the objects whose centre lies
    on its own side. An object no longer than the overlap lies whole in the tile that contributes it. If two tiles still
    have boxes on the same object, non-maximum suppression removes one.

    Raises:
        UserError: an unknown option, a network that does not detect objects, or a label map from a network without
            masks.
    """

    table = "boxes.csv"
    columns = ObjectPrediction.columns
    document = "objects.json"

    def __init__(self, model: nn.Module, spec: ModelSpec, options: ObjectOptions) -> None:
        if not isinstance(model, Detector):
            raise UserError(f"'{spec.model}' does not find objects; give a network of the task `detect`.")
        if options.instances is not None and options.instances != MASKS:
            raise unknown("way to separate objects", options.instances, [MASKS])
        if options.instances is not None and not model.outlines:
            raise UserError(
                f"'{spec.model}' predicts boxes without masks, so it has no label map; leave out --instances."
            )
        given = options.model_fields_set & {"tile", "overlap"}
        if given and spec.input_size is not None:
            height, width = spec.input_size
            raise UserError(
                f"--{min(given)}: '{spec.model}' brings each picture to {height} x {width} pixels as a whole, so there "
                "are no tiles; leave it out, or cut large pictures yourself."
            )
        super().__init__(spec)
        self.options = options
        limit_by_area(model, spec)
        self.device, self.dtype = device_and_dtype(options.device, options.precision)
        self.model = model.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean, self._std = (torch.tensor(part, device=self.device) for part in (spec.mean, spec.std))

    @property
    def suffixes(self) -> dict[str, tuple[str, ...]]:
        wanted = {"overlay": self.options.overlay, "instances": self.options.instances is not None}
        return {name: (".png",) for name, asked in wanted.items() if asked}

    def predict(self, raster: Raster, picture: Picture) -> ObjectPrediction:
        return self.candidates(raster).above(self.threshold)

    @property
    def threshold(self) -> float:
        """Least confidence of an object: the option, or the value chosen on the validation pictures."""
        return recommended_confidence(self.spec) if self.options.threshold is None else self.options.threshold

    def measured(self, prepared: Sequence[np.ndarray]) -> list[ObjectPrediction]:
        found = []
        for image in prepared:
            with open_raster(image) as raster:
                found.append(self.candidates(raster))
        return found

    def candidates(self, raster: Raster) -> ObjectPrediction:
        """Like `predict`, but with the objects below the threshold.

        Raises:
            NotFinite: the network's output has NaN or infinite numbers.
        """
        grid = self.grid(raster.height, raster.width)
        image = np.empty((raster.height, raster.width, self.spec.form.channels), self.spec.form.dtype)
        parts = []
        for ys, xs in grid:
            tile = convert(raster.read(ys.start, ys.stop, xs.start, xs.stop), self.spec.form, raster.name)
            image[ys.start : ys.stop, xs.start : xs.stop] = tile
            found = prediction_of(self._detected(tile), self.spec.class_names, tile)
            parts.append(found.moved(ys.start, xs.start, image).centred(owned(ys, grid), owned(xs, grid)))
        if len(parts) == 1:
            return parts[0]
        every = joined(parts)
        boxes, scores, classes = map(torch.from_numpy, (every.boxes, every.confidences, every.classes))
        return every.select(nms(boxes, scores, self.model.limits.overlap, classes).numpy())

    def grid(self, height: int, width: int) -> TileGrid:
        if self.spec.input_size is not None:
            return super().grid(height, width)
        return square_grid(
            height, width, tile=self.options.tile, overlap=self.options.overlap, stride=self.model.stride
        )

    def proposals(self, image: np.ndarray) -> np.ndarray:
        """(H, W, C) in the spec's form -> (P, 4) proposals of the first stage, the most confident first."""
        model: Any = self.model
        with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            maps, picture = model.maps(self._normalised(image))
            found = model.rpn(maps, picture, model.limits.growth(picture)).boxes[0]
        boxes: np.ndarray = found.float().cpu().numpy()
        return boxes

    def _normalised(self, image: np.ndarray) -> Tensor:
        """(H, W, C) in the spec's form -> (1, C, H, W) float32, on the device."""
        pixels = torch.from_numpy(image.astype(np.float32)).to(self.device)
        return ((pixels - self._mean) / self._std).permute(2, 0, 1)[None]

    def _detected(self, image: np.ndarray) -> Detections:
        """(H, W, C) in the spec's form -> the network's detections, in pixels of the picture."""
        if self.spec.input_size is not None:
            stretch = Stretch(self.spec.input_size)
            found = self._given(stretch.image(image))
            boxes = stretch.back(found.boxes.float().cpu().numpy(), *image.shape[:2])
            return found._replace(boxes=torch.from_numpy(boxes))
        return self._given(image)

    def _given(self, image: np.ndarray) -> Detections:
        """(H, W, C) at the network's input size -> its detections."""
        with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return check_answer(self.model(self._normalised(image))[0])

    def write(self, file: Path, target: Path, progress: Progress) -> Written:
        with open_raster(file) as raster:
            check_form(raster, self.spec)
            found = self.predict(raster, file)
        overlay, label_map = (target.with_name(f"{target.name}_{name}.png") for name in ("overlay", "instances"))
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.options.overlay:
            write_png(overlay, found.overlay())
        if self.options.instances is None:
            return Written(rows=found.rows(), entry=coco_entry(found))
        if len(found) > MAX_OBJECTS:
            raise UserError(
                f"{file}: has {len(found):,} objects; a label map of 16 bits holds {MAX_OBJECTS:,}. "
                "Leave out --instances, or divide the picture."
            )
        write_png(label_map, found.label_map().astype(np.uint16))
        return Written(files=(label_map,), rows=found.rows(), entry=coco_entry(found))

    def document_of(self, entries: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        """The objects of all pictures in COCO's form, with a score each, and masks as compressed run lengths."""
        images, annotations = [], []
        for number, (picture, (size, objects)) in enumerate(entries, start=1):
            images.append({"id": number, "file_name": picture, "height": size[0], "width": size[1]})
            annotations += [{"image_id": number, **each} for each in objects]
        names = enumerate(self.spec.class_names)
        return {
            "images": images,
            "annotations": [{"id": number, **each} for number, each in enumerate(annotations, start=1)],
            "categories": [{"id": class_id, "name": name} for class_id, name in names if class_id != BACKGROUND],
        }


def limit_by_area(network: nn.Module, spec: ModelSpec) -> None:
    """Makes a detector propose and keep as many objects per area of a large picture as per area of a training crop."""
    crop = spec.notes.get("crop")
    if isinstance(network, Detector) and crop is not None:
        network.limits = network.limits._replace(area=crop[0] * crop[1])


def recommended_confidence(spec: ModelSpec) -> float:
    """The least confidence that gave the highest F1 on the validation pictures; `CONFIDENCE` if none is stored."""
    return float(spec.notes.get("confidence", CONFIDENCE))


def joined(parts: Sequence[ObjectPrediction]) -> ObjectPrediction:
    """Joins the objects of the parts of one picture."""
    boxes, classes, confidences = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("boxes", "classes", "confidences")
    )
    masks = None
    if parts[0].masks is not None:
        masks = tuple(piece for part in parts for piece in part.masks or ())
    return replace(parts[0], boxes=boxes, classes=classes, confidences=confidences, masks=masks)


def owned(span: Span, grid: TileGrid) -> tuple[float, float]:
    """The range of an axis whose objects a tile contributes; it is unbounded at the edges of the picture."""
    low = -math.inf if span.begin == 0 else span.begin + grid.ramp / 2
    last = span.end == span.stop
    return low, math.inf if last else span.end + grid.ramp / 2


def coco_entry(found: ObjectPrediction) -> tuple[tuple[int, int], list[dict[str, Any]]]:
    """The picture's height and width, and an annotation per object in COCO's form, without the picture's id."""
    height, width = found.image.shape[:2]
    entries = []
    for number, (left, top, right, bottom) in enumerate(found.boxes.tolist()):
        entry: dict[str, Any] = {
            "category_id": int(found.classes[number]),
            "score": float(found.confidences[number]),
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top),
            "iscrowd": 0,
        }
        if found.masks is not None:
            piece = found.masks[number]
            runs = encoded(piece.mask, (height, width), piece.top, piece.left)
            entry |= {
                "segmentation": {**runs, "counts": runs["counts"].decode("ascii")},
                "area": int(piece.mask.sum()),
            }
        entries.append(entry)
    return (height, width), entries


def draw_piece(picture: np.ndarray, piece: Patch, colour: np.ndarray) -> None:
    """Tints an object in a picture (H, W, 3) uint8, in place, and colours its outermost pixels as an outline."""
    window = picture[piece.window]
    window[piece.mask] = (0.65 * window[piece.mask] + 0.35 * colour).astype(np.uint8)
    padded = np.pad(piece.mask, 1).astype(np.uint8)
    inner = cv2.erode(padded, np.ones((3, 3), np.uint8))[1:-1, 1:-1] > 0
    window[piece.mask & ~inner] = colour


def prediction_of(found: Detections, class_names: tuple[str, ...], image: np.ndarray) -> ObjectPrediction:
    """Decodes a network's detections on one picture (H, W, C); masks are laid over the picture's pixels."""
    boxes, classes, scores = (part.float().cpu().numpy() for part in found[:3])
    masks = None
    if found.masks is not None:
        height, width = image.shape[:2]
        windows = None if found.windows is None else found.windows.float().cpu()
        masks = tuple(
            paste_masks(found.masks.float().cpu(), found.boxes.float().cpu(), (height, width), windows=windows)
        )
    return ObjectPrediction(boxes, classes.astype(np.int64), scores, class_names, image, masks)
