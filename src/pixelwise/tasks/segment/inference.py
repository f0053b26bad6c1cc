"""Prediction of masks for pictures of any size and kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from pixelwise.data.draw import background_class, overlay, palette
from pixelwise.data.sample import VOID
from pixelwise.errors import UserError, unknown
from pixelwise.inference.augmentation import AveragedCopies
from pixelwise.inference.dense import DenseInference, DenseOptions
from pixelwise.inference.forms import check_form
from pixelwise.inference.overview import Overview
from pixelwise.inference.predictor import Prediction, Progress, Written
from pixelwise.inference.rasters import Picture, Raster, open_raster
from pixelwise.inference.tiles import Band, Merger, TileGrid, class_ids
from pixelwise.inference.writer import MaskWriter, mask_path
from pixelwise.models.spec import ModelSpec
from pixelwise.tasks.segment.instances import INSTANCES
from pixelwise.tasks.segment.objects import COLUMNS, TABLE, write_objects
from pixelwise.tasks.segment.outlines import OutlineWriter
from pixelwise.tasks.segment.refinement import REFINEMENTS


class SegmentOptions(DenseOptions):
    """Options of prediction by networks that label pixels."""

    flips: str = Field("none", description="mirror images to average over: none, horizontal or all")
    scales: tuple[float, ...] = Field((1.0,), description="magnifications to average over")
    refine: str = Field("none", description="refinement after the network: none, crf or superpixels")
    overlay: bool = Field(False, description="also write NAME_overlay.png, the mask drawn over the picture")
    boundaries: bool = Field(False, description="also write NAME_boundaries, the boundaries between classes")
    instances: str | None = Field(None, description="also separate objects: components or watershed")


class EvaluationOptions(SegmentOptions):
    """Options of an evaluation."""

    ways: tuple[str, ...] = Field((), description="ways to separate objects, each compared with the true objects")


@dataclass(frozen=True, slots=True, eq=False)
class SegmentPrediction(Prediction):
    """The prediction of a network that labels pixels, for one picture.

    Attributes:
        mask: (H, W) uint8 class ids; 255 (void) where the picture has no value.
        class_names: class names by class id.
    """

    mask: np.ndarray
    class_names: tuple[str, ...]
    _picture: Picture
    _logits: Tensor | None
    _confidence: np.ndarray | None
    _unknown: np.ndarray | None = None

    @property
    def probabilities(self) -> np.ndarray:
        """(K, H, W) float32, summing to 1 over the classes; 0 where the picture has no value.

        Raises:
            UserError: the picture was too large for one pass.
        """
        if self._logits is None:
            height, width = self.mask.shape
            raise UserError(
                f"a picture of {width:,} x {height:,} pixels is predicted in tiles, and the probabilities of all "
                f"{len(self.class_names)} classes are not kept; predict a region of it, such as "
                "predictor(picture[:2000, :2000]), or use `.confidence`."
            )
        probabilities = self._logits.float().softmax(0).numpy()
        if self._unknown is not None:
            probabilities[:, self._unknown] = 0
        return probabilities

    @property
    def confidence(self) -> np.ndarray:
        """(H, W) float32, the probability of the class in `mask`; in steps of 1/255 for pictures predicted in tiles."""
        if self._confidence is not None:
            return self._confidence.astype(np.float32) / 255
        return self.probabilities.max(axis=0)

    def overlay(self, alpha: float = 0.5) -> np.ndarray:
        """(H, W, 3) uint8: the picture tinted by class; a class named `background` is not tinted."""
        with open_raster(self._picture) as raster:
            image = raster.read(0, raster.height, 0, raster.width)
        return drawn_over(image, self.mask, self.class_names, alpha)

    def save(self, path: Path | str) -> Path:
        """Writes the mask as a grey picture of class ids, and returns the file's name (see `writer.mask_path`).

        Raises:
            UserError: the file cannot be written.
        """
        with MaskWriter(path, *self.mask.shape) as writer:
            writer.write(self.mask)
        return writer.path


class SegmentInference(DenseInference[SegmentPrediction]):
    """Prediction with a network that labels pixels, for pictures of any size.

    Raises:
        UserError: as in `DenseInference`.
    """

    def __init__(self, model: object, spec: ModelSpec, options: SegmentOptions) -> None:
        averaged = AveragedCopies(options.flips, options.scales)
        super().__init__(model, spec, options, channels=len(spec.class_names), averaged=averaged)
        self.options = options
        self.class_names = spec.class_names
        if options.refine not in REFINEMENTS:
            raise unknown("refinement", options.refine, REFINEMENTS)
        if options.instances is not None and options.instances not in INSTANCES:
            raise unknown("way to separate objects", options.instances, INSTANCES)
        self._refinement = REFINEMENTS[options.refine]
        if options.instances is not None:
            self.table, self.columns = TABLE, COLUMNS

    @property
    def suffixes(self) -> dict[str, tuple[str, ...]]:
        written: dict[str, tuple[str, ...]] = {"": (".png", ".tif")}
        if self.options.overlay:
            written["overlay"] = (".png",)
        if self.options.boundaries:
            written["boundaries"] = (".png", ".tif")
        if self.options.instances is not None:
            written["instances"] = (".png",)
        return written

    def predict(self, raster: Raster, picture: Picture) -> SegmentPrediction:
        self._check(raster)
        grid = self.grid(raster.height, raster.width)
        if len(grid) == 1:
            logits = next(self._logits(raster, grid)).cpu()
            lost = raster.unknown(0, raster.height, 0, raster.width)
            mask = class_ids(logits)
            if lost is not None:
                mask[lost] = VOID
            return SegmentPrediction(mask, self.class_names, picture, logits, None, lost)
        bands = list(self._bands(raster, grid, confidence=True))
        mask = np.concatenate([band.classes for band in bands if band.classes is not None])
        confidence = np.concatenate([band.confidence for band in bands if band.confidence is not None])
        return SegmentPrediction(mask, self.class_names, picture, None, confidence)

    def write(self, file: Path, target: Path, progress: Progress) -> Written:
        """Writes the mask (see `predict_file`) and the other results that the options request."""
        options = self.options
        mask = self.predict_file(
            file,
            target,
            overlay=target.with_name(f"{target.name}_overlay.png") if options.overlay else None,
            boundaries=target.with_name(f"{target.name}_boundaries") if options.boundaries else None,
            progress=progress,
        )
        if options.instances is None:
            return Written((mask,))
        out = target.with_name(f"{target.name}_instances.png")
        return Written((mask,), write_objects(mask, out, self.class_names, options.instances))

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
        """Labels a file of any size without holding the picture or its mask in memory as a whole.

        Result files are either complete or not there.

        Args:
            out: the file of the mask; a suffix is added unless it ends in .png, .tif or .tiff (see `writer.mask_path`).
            overlay: a PNG of the picture tinted by class, reduced to 4096 pixels if the picture is larger.
            confidence: a file for the probability of the predicted class, times 255; suffix as for `out`.
            boundaries: a file for the boundaries between classes, 255 on both sides of an edge, else 0; suffix as for
                `out`.
            progress: called with the part that is done, 0 to 1.

        Returns:
            The file that the mask was written to.

        Raises:
            UserError: a picture that cannot be read, does not suit the model or is too large to be refined; a file that
                cannot be written; or a result that would overwrite the picture.
        """
        path = Path(path)
        with ExitStack() as stack:
            raster = stack.enter_context(open_raster(path))
            check_form(raster, self.spec)
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
                        f"{path}: the result would overwrite the picture itself; choose another file for the result."
                    )
            overview = Overview(*size) if overlay is not None else None
            masks = stack.enter_context(MaskWriter(out, *size))
            maxima = stack.enter_context(MaskWriter(confidence, *size)) if confidence is not None else None
            outlines = (
                OutlineWriter(stack.enter_context(MaskWriter(boundaries, *size))) if boundaries is not None else None
            )
            grid = self.grid(*size)
            for band in self._bands(raster, grid, confidence is not None, overview, progress):
                assert band.classes is not None
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
            overview.write(Path(overlay), lambda image, mask: drawn_over(image, mask, self.class_names))
        return masks.path

    def _check(self, raster: Raster) -> None:
        if self._refinement is not None and len(self.grid(raster.height, raster.width)) > 1:
            raise UserError(
                f"{raster.name}: {raster.width:,} x {raster.height:,} pixels are predicted in tiles, but refinement by "
                f"'{self.options.refine}' needs the whole picture at once; leave refinement out, or predict a part or "
                "a smaller version of the picture."
            )

    def _bands(
        self,
        raster: Raster,
        grid: TileGrid,
        confidence: bool,
        overview: Overview | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[Band]:
        merger = Merger(grid, self.channels, confidence=confidence)
        for logits in self._logits(raster, grid, overview, progress):
            band = merger.add(logits)
            del logits  # otherwise it stays in memory while the network runs on the next tile
            if band is not None:
                yield _without_unknown(band, raster)

    def _logits(
        self, raster: Raster, grid: TileGrid, overview: Overview | None = None, progress: Progress | None = None
    ) -> Iterator[Tensor]:
        answers = self.outputs(raster, grid, overview, progress)
        return answers if self._refinement is None else (self._refined(raster, logits) for logits in answers)

    def _refined(self, raster: Raster, logits: Tensor) -> Tensor:
        """The logarithm of the refined probabilities, for a picture that was predicted in one pass."""
        assert self._refinement is not None
        image = raster.read(0, raster.height, 0, raster.width)
        refined = self._refinement(image, logits.float().softmax(0))
        return refined.clamp_min_(torch.finfo(torch.float32).tiny).log_()


def _without_unknown(band: Band, raster: Raster) -> Band:
    """The band with void and a confidence of 0 where the picture has no value."""
    assert band.classes is not None
    lost = raster.unknown(band.top, band.top + len(band.classes), 0, raster.width)
    if lost is not None:
        band.classes[lost] = VOID
        if band.confidence is not None:
            band.confidence[lost] = 0
    return band


def drawn_over(image: np.ndarray, mask: np.ndarray, class_names: Sequence[str], alpha: float = 0.5) -> np.ndarray:
    """(H, W, 3) uint8: a picture tinted by class; a class named `background` is not tinted."""
    background = background_class(class_names)
    return overlay(image, mask, palette(len(class_names), background), alpha, background=background)
