"""Prediction of a number per pixel, for pictures of any size and kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field

from pixelwise.data.value_colours import coloured_over
from pixelwise.data.values import write_map
from pixelwise.errors import UserError
from pixelwise.inference.dense import DenseInference, DenseOptions
from pixelwise.inference.forms import check_form
from pixelwise.inference.overview import Overview
from pixelwise.inference.predictor import Prediction, Progress, Written
from pixelwise.inference.rasters import Picture, Raster, open_raster
from pixelwise.inference.tiles import Merger, as_they_are
from pixelwise.inference.writer import MaskWriter
from pixelwise.models.spec import ModelSpec


class RegressOptions(DenseOptions):
    """Options of prediction by networks that return a number per pixel."""

    overlay: bool = Field(False, description="also write NAME_overlay.png, the values in colours over the picture")


@dataclass(frozen=True, slots=True, eq=False)
class ValuePrediction(Prediction):
    """The values that a network predicts for one picture.

    Attributes:
        values: (H, W) float32, in the unit of the training data; NaN where the picture itself has no data.
        unit: the unit of the training data; may be empty.
    """

    values: np.ndarray
    unit: str
    _picture: Picture

    def overlay(self) -> np.ndarray:
        """(H, W, 3) uint8: the values in colours over the picture, dark for the smallest and bright for the largest."""
        with open_raster(self._picture) as raster:
            image = raster.read(0, raster.height, 0, raster.width)
        known = self.values[np.isfinite(self.values)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        return coloured_over(image, self.values, low, high)

    def save(self, path: Path | str) -> Path:
        """Writes the values as a float32 TIFF."""
        write_map(path, self.values)
        return Path(path)


class RegressInference(DenseInference[ValuePrediction]):
    """Prediction by a dense network with one output, for pictures of any size.

    Raises:
        UserError: as in `DenseInference`.
    """

    def __init__(self, model: object, spec: ModelSpec, options: RegressOptions) -> None:
        super().__init__(model, spec, options, channels=1)
        self.options = options

    @property
    def suffixes(self) -> dict[str, tuple[str, ...]]:
        return {"": (".tif",), **({"overlay": (".png",)} if self.options.overlay else {})}

    def predict(self, raster: Raster, picture: Picture) -> ValuePrediction:
        values = np.concatenate([rows for _, rows in self._bands(raster)])
        return ValuePrediction(values, self.spec.notes.get("unit", ""), picture)

    def write(self, file: Path, target: Path, progress: Progress) -> Written:
        drawn = target.with_name(f"{target.name}_overlay.png") if self.options.overlay else None
        return Written((self.predict_file(file, target.with_name(f"{target.name}.tif"), drawn, progress),))

    def predict_file(
        self, path: Path | str, out: Path | str, overlay: Path | None = None, progress: Progress | None = None
    ) -> Path:
        """Predicts a file of any size without ever holding the whole picture or all its values in memory.

        Args:
            out: the float32 TIFF.
            overlay: a PNG of the values in colours over the picture, reduced to at most 4096 pixels per side.

        Raises:
            UserError: the picture cannot be read or does not suit the network, or the result cannot be written or would
                overwrite the picture.
        """
        path, out = Path(path), Path(out)
        if os.path.realpath(out) == os.path.realpath(path):
            raise UserError(f"{path}: the result would overwrite the picture itself; write it to another path.")
        with ExitStack() as stack:
            raster = stack.enter_context(open_raster(path))
            check_form(raster, self.spec)
            overview = None if overlay is None else Overview(raster.height, raster.width, np.float32)
            writer = stack.enter_context(MaskWriter(out, raster.height, raster.width, np.float32))
            for top, rows in self._bands(raster, overview, progress):
                writer.write(rows)
                if overview is not None:
                    overview.add_mask(rows, top)
        if overview is not None and overlay is not None:
            low, high = (float(self.spec.notes[name]) for name in ("low", "high"))
            overview.write(overlay, lambda image, values: coloured_over(image, values, low, high))
        return writer.path

    def _bands(
        self,
        raster: Raster,
        overview: Overview | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yields finished rows from the top: the number of the first row, and values (rows, W)."""
        grid = self.grid(raster.height, raster.width)
        merger = Merger(grid, 1, classes=False, blended=True, activation=as_they_are)
        for answer in self.outputs(raster, grid, overview, progress):
            band = merger.add(answer)
            if band is not None:
                assert band.blended is not None
                values = rescaled(band.blended[0], self.spec)
                lost = raster.unknown(band.top, band.top + len(values), 0, raster.width)
                if lost is not None:
                    values[lost] = np.nan
                yield band.top, values


def rescaled(answer: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Converts a network's output from standard deviations around the mean to the data's unit; float32."""
    return (answer * np.float32(spec.notes["std"]) + np.float32(spec.notes["mean"])).astype(np.float32)
