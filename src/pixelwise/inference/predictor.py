"""From a picture of any size and kind to its mask."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from pixelwise.data.draw import background_class, overlay, palette
from pixelwise.data.pictures import convert
from pixelwise.errors import UserError, unknown
from pixelwise.inference.augmentation import AveragedViews
from pixelwise.inference.engine import TorchEngine
from pixelwise.inference.forms import check_form
from pixelwise.inference.outlines import OutlineWriter
from pixelwise.inference.overview import Overview
from pixelwise.inference.rasters import Picture, Raster, open_raster
from pixelwise.inference.refinement import REFINEMENTS
from pixelwise.inference.tiles import Band, Grid, Merger, Span, class_ids, grid_within, square_grid
from pixelwise.inference.writer import MaskWriter, mask_path
from pixelwise.models.spec import ModelSpec, load_model
from pixelwise.nn.dense import DenseModel

ACTIVATION_BYTES = 650_000_000
"""What the tensors of one pass may take. The process as a whole stays below 2 GB (benchmarks/predict_large.md)."""
OVERLAP = 32
"""Pixels that tiles share, or one stride if that is more: 8 are thrown away on each side, 16 blended. With the trained
networks that were tried, twice as many left as many pixels unlike those of one pass, for 4 % more time."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a model says of one picture.

    Attributes:
        mask: (H, W) uint8 class ids.
        class_names: by class id.
    """

    mask: np.ndarray
    class_names: tuple[str, ...]
    _picture: Picture
    _logits: Tensor | None
    _confidence: np.ndarray | None

    @property
    def probabilities(self) -> np.ndarray:
        """(K, H, W) float32, summing to 1 over the classes.

        Raises:
            UserError: for a picture that was too large for one pass.
        """
        if self._logits is None:
            height, width = self.mask.shape
            raise UserError(
                f"a picture of {width:,} x {height:,} pixels is predicted by tiles, and the probabilities of all its "
                f"{len(self.class_names)} classes are not kept; predict a region of it, such as "
                "predictor(picture[:2000, :2000]), or use `.confidence`."
            )
        return self._logits.float().softmax(0).numpy()

    @property
    def confidence(self) -> np.ndarray:
        """(H, W) float32, the probability of the class in `mask`; in steps of 1/255 for pictures predicted by tiles."""
        if self._confidence is not None:
            return self._confidence.astype(np.float32) / 255
        return self.probabilities.max(axis=0)

    def overlay(self, alpha: float = 0.5) -> np.ndarray:
        """(H, W, 3) uint8: the picture tinted by class, a class named `background` left as it is."""
        with open_raster(self._picture) as raster:
            image = raster.read(0, raster.height, 0, raster.width)
        background = background_class(self.class_names)
        colours = palette(len(self.class_names), background)
        return overlay(image, self.mask, colours, alpha, background=background)

    def save(self, path: Path | str) -> Path:
        """Writes the mask, a grey picture of class ids, and gives the file's name: see `writer.mask_path`.

        Raises:
            UserError: where the file cannot be written.
        """
        with MaskWriter(path, *self.mask.shape) as writer:
            writer.write(self.mask)
        return writer.path


class Predictor:
    """A model ready to label pictures of any size, in bounded memory.

    Args:
        device, precision: see `TorchEngine`.
        tile: longest side of a tile in pixels; None chooses the largest tiles whose tensors stay within
            `ACTIVATION_BYTES`, and takes a picture in one pass where it is no larger.
        overlap: pixels that neighbouring tiles share; None for `OVERLAP` and twice the model's margin.
        flips, scales: see `AveragedViews`.
        refine: what follows the network, a name in `refinement.REFINEMENTS`; it takes pictures of one pass only.
        batch: tiles that go through the network together; None for as many as `ACTIVATION_BYTES` allow, up to 16.

    Raises:
        UserError: a model that does not label pixels, options that are unknown, or tiles too small for the model.
    """

    def __init__(
        self,
        model: nn.Module,
        spec: ModelSpec,
        *,
        device: str = "auto",
        precision: str = "auto",
        tile: int | None = None,
        overlap: int | None = None,
        flips: str = "none",
        scales: Sequence[float] = (1.0,),
        refine: str = "none",
        batch: int | None = None,
    ) -> None:
        if not isinstance(model, DenseModel):
            raise UserError(f"'{spec.model}' gives no class for each pixel, so it cannot segment pictures.")
        self.spec = spec
        self.class_names = spec.class_names
        self.engine = TorchEngine(model, spec, device=device, precision=precision)
        self._augmentation = AveragedViews(flips, scales)
        if refine not in REFINEMENTS:
            raise unknown("refinement", refine, REFINEMENTS)
        self._refinement, self._refinement_name = REFINEMENTS[refine], refine
        self._tile = tile
        # A margin is mirrored at a tile's border: with it thrown away, tiles of valid convolutions are exact.
        default = max(OVERLAP, self.engine.stride) + 2 * self.engine.margin
        self._overlap = default if overlap is None else overlap
        if self._overlap < 0 or (batch is not None and batch < 1):
            raise UserError(f"overlap {self._overlap} and batch {batch}: expected at least 0 and at least 1.")
        if tile is not None:  # says now, not at the first picture, that tiles are too small
            square_grid(tile, tile, tile=tile, overlap=self._overlap, stride=self.engine.stride)
        self._area = self._affordable_area()
        self._batch = batch or max(1, min(16, self._area // (tile or math.isqrt(self._area)) ** 2))

    @classmethod
    def from_file(
        cls,
        path: Path | str,
        *,
        device: str = "auto",
        precision: str = "auto",
        tile: int | None = None,
        overlap: int | None = None,
        flips: str = "none",
        scales: Sequence[float] = (1.0,),
        refine: str = "none",
        batch: int | None = None,
    ) -> Self:
        """The predictor of a model file, such as a run's `best.safetensors`; options as for the class.

        Raises:
            UserError: a file that is missing, damaged, or not written by pixelwise.
        """
        model, spec = load_model(path)
        return cls(
            model,
            spec,
            device=device,
            precision=precision,
            tile=tile,
            overlap=overlap,
            flips=flips,
            scales=scales,
            refine=refine,
            batch=batch,
        )

    def __call__(self, picture: Picture) -> Prediction:
        """Labels a file, an array (H, W) or (H, W, C), or a Pillow image, of any mode and size.

        Raises:
            UserError: a picture that cannot be read, that does not suit the model, or is too large to be refined.
        """
        with open_raster(picture) as raster:
            self._check(raster)
            grid = self.grid(raster.height, raster.width)
            if len(grid) == 1:
                logits = next(self._logits(raster, grid, None, None)).cpu()
                return Prediction(class_ids(logits), self.class_names, picture, logits, None)
            bands = list(self._bands(raster, grid, confidence=True))
        mask = np.concatenate([band.classes for band in bands])
        confidence = np.concatenate([band.confidence for band in bands if band.confidence is not None])
        return Prediction(mask, self.class_names, picture, None, confidence)

    def predict_file(
        self,
        path: Path | str,
        out: Path | str,
        *,
        overlay: Path | str | None = None,
        confidence: Path | str | None = None,
        boundaries: Path | str | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Path:
        """Labels a file of any size without ever holding it, or its mask, as a whole.

        Files of results are complete or not there.

        Args:
            out: the mask's file; without .png, .tif or .tiff at its end it gets one, see `writer.mask_path`.
            overlay: a PNG of the picture tinted by class, reduced to 4096 pixels where the picture is larger.
            confidence: a file for the probability of the chosen class, times 255; named as `out` is.
            boundaries: a file for the outlines of the mask, 255 on both sides of an edge, else 0; named as `out` is.
            progress: is called with the part that is done, 0 to 1.

        Returns:
            The file that the mask was written to.

        Raises:
            UserError: a picture that cannot be read, does not suit the model or is too large to be refined, a file that
                cannot be written, or one that would take the picture's own place.
        """
        path = Path(path)
        with ExitStack() as stack:
            raster = stack.enter_context(open_raster(path))
            self._check(raster)
            size = raster.height, raster.width
            for target in (
                mask_path(out, *size),
                overlay and Path(overlay),
                confidence and mask_path(confidence, *size),
                boundaries and mask_path(boundaries, *size),
            ):
                if target and os.path.realpath(target) == os.path.realpath(path):
                    raise UserError(
                        f"{path}: the result would overwrite the picture itself; choose another place for it."
                    )
            overview = Overview(*size) if overlay is not None else None
            masks = stack.enter_context(MaskWriter(out, *size))
            maxima = stack.enter_context(MaskWriter(confidence, *size)) if confidence is not None else None
            outlines = (
                OutlineWriter(stack.enter_context(MaskWriter(boundaries, *size))) if boundaries is not None else None
            )
            grid = self.grid(*size)
            for band in self._bands(raster, grid, confidence is not None, overview, progress):
                masks.write(band.classes)
                if outlines is not None:
                    outlines.write(band.classes)
                if maxima is not None and band.confidence is not None:
                    maxima.write(band.confidence)
                if overview is not None:
                    overview.add_mask(band.classes, band.top)
            if outlines is not None:
                outlines.finish()
        if overview is not None and overlay is not None:
            overview.write(Path(overlay), self.class_names)
        return masks.path

    def _affordable_area(self) -> int:
        """Pixels of a tile whose tensors stay within `ACTIVATION_BYTES`, at every scale and with the sum of views."""
        scales = self._augmentation.scales
        side = math.sqrt(ACTIVATION_BYTES / self.engine.bytes_per_pixel) - 2 * self.engine.margin
        area = (max(side, 1) / max(scales)) ** 2
        if (
            not self._augmentation.is_identity
        ):  # three float32 tensors of probabilities: the sum, a view's, and a resized one
            area = min(area, ACTIVATION_BYTES / (12 * len(self.class_names) * max(1.0, *scales) ** 2))
        return max(int(area), (3 * (self._overlap + self.engine.stride)) ** 2)

    def _check(self, raster: Raster) -> None:
        check_form(raster, self.spec)
        if self._refinement is not None and len(self.grid(raster.height, raster.width)) > 1:
            raise UserError(
                f"{raster.name}: {raster.width:,} x {raster.height:,} pixels are predicted by tiles, but refinement by "
                f"'{self._refinement_name}' looks at a picture as a whole; leave refinement out, or give it a part or "
                "a smaller version of the picture."
            )

    def grid(self, height: int, width: int) -> Grid:
        stride = self.engine.stride
        if self._tile is not None:
            return square_grid(height, width, tile=self._tile, overlap=self._overlap, stride=stride)
        return grid_within(height, width, area=self._area, overlap=self._overlap, stride=stride)

    def _bands(
        self,
        raster: Raster,
        grid: Grid,
        confidence: bool,
        overview: Overview | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[Band]:
        merger = Merger(grid, len(self.class_names), confidence=confidence)
        for logits in self._logits(raster, grid, overview, progress):
            band = merger.add(logits)
            del logits  # else it stays in memory while the network works on the next tile
            if band is not None:
                yield band

    def _logits(
        self, raster: Raster, grid: Grid, overview: Overview | None, progress: Callable[[float], None] | None
    ) -> Iterator[Tensor]:
        """(K, h, w) logits of every tile; while the network works on some, a thread reads and decodes the next."""
        done = 0
        batches = _batches(grid, self._batch)
        with ThreadPoolExecutor(1, "read") as reader:
            coming = reader.submit(self._read, raster, batches[0], overview)
            for number in range(len(batches)):
                prepared = coming.result()
                if number + 1 < len(batches):
                    coming = reader.submit(self._read, raster, batches[number + 1], overview)
                yield from (self._refined(raster, logits) for logits in self._augmentation(self.engine.run, prepared))
                done += len(batches[number])
                if progress is not None:
                    progress(done / len(grid))

    def _refined(self, raster: Raster, logits: Tensor) -> Tensor:
        """The same logits, or with refinement, which comes with whole pictures only, the logarithm of what it gives."""
        if self._refinement is None:
            return logits
        image = raster.read(0, raster.height, 0, raster.width)
        refined = self._refinement(image, logits.float().softmax(0))
        return refined.clamp_min_(torch.finfo(torch.float32).tiny).log_()

    def _read(self, raster: Raster, tiles: Sequence[tuple[Span, Span]], overview: Overview | None) -> Tensor:
        blocks = []
        for ys, xs in tiles:
            block = raster.read(ys.start, ys.stop, xs.start, xs.stop)
            if overview is not None:
                overview.add_block(block, ys.start, xs.start)
            blocks.append(convert(block, self.spec.form, raster.name))
        return self.engine.prepare(np.stack(blocks))


def _batches(grid: Grid, size: int) -> list[list[tuple[Span, Span]]]:
    """The grid's tiles in order, in runs of at most `size` of one shape."""
    batches: list[list[tuple[Span, Span]]] = []
    shape = (0, 0)
    for ys, xs in grid:
        previous, shape = shape, (ys.stop - ys.start, xs.stop - xs.start)
        if shape == previous and len(batches[-1]) < size:
            batches[-1].append((ys, xs))
        else:
            batches.append([(ys, xs)])
    return batches
