"""Translation by one generator, for pictures of any size and depth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from pixelwise import notebook
from pixelwise.data.domain import Domain
from pixelwise.data.draw import to_rgb
from pixelwise.data.pictures import FULL_RANGE, PictureFormat, as_dtype
from pixelwise.errors import UserError
from pixelwise.inference.dense import ACTIVATION_BYTES, OVERLAP, DenseInference, DenseOptions
from pixelwise.inference.predictor import Prediction, Progress, Written
from pixelwise.inference.rasters import Picture, Raster
from pixelwise.inference.tiles import LONGEST_RAMP, Merger, Span, TileGrid, as_they_are, square_grid
from pixelwise.inference.writer import SUFFIXES, MaskWriter
from pixelwise.models.spec import ModelSpec
from pixelwise.models.translate.translator import Direction, Generator
from pixelwise.nn.dense import mirror_pad
from pixelwise.nn.picture_norm import Tile, statistics_of_all

WIDEST_OVERLAP = 256
"""The most pixels that neighbouring tiles share by default, unless the stride of a network is larger."""
MEASURED_BYTES = 8 * ACTIVATION_BYTES
"""Memory for the pass over many tiles at once that measures the statistics of a picture."""
FEWEST_MEASURED = 4
"""The fewest tiles of such a pass, even if they take more memory."""


class TranslateOptions(DenseOptions):
    """Options of prediction by networks that translate pictures."""

    direction: Direction | None = Field(
        None, description="a-to-b or b-to-a; null: as trained, and a-to-b for networks that translate both ways"
    )
    precision: str = Field("auto", description="float32 or bfloat16; auto: float32, which keeps every grey level")
    half: Literal["none", "left", "right"] = Field(
        "none", description="which half of each picture is translated, for files of two pictures side by side"
    )


@dataclass(frozen=True, slots=True, eq=False)
class TranslatePrediction(Prediction):
    """The translation of one picture.

    Attributes:
        picture: (H, W, C), the translation at the picture's own size, in the form of the pictures of the target kind.
        rebuilt: (H, W, C), the translation translated back; None for networks that translate one way.
        other, other_rebuilt: the translation of the sample's other picture, and this translated back; None likewise,
            and outside of evaluations.
    """

    picture: np.ndarray
    rebuilt: np.ndarray | None = None
    other: np.ndarray | None = None
    other_rebuilt: np.ndarray | None = None

    def save(self, path: Path | str) -> Path:
        """Writes the translation at its depth; see `MaskWriter`.

        Raises:
            UserError: the file cannot be written, or is a PNG although a PNG cannot hold such pictures.
        """
        height, width, channels = self.picture.shape
        path = target_path(Path(path), PictureFormat(channels, str(self.picture.dtype)))
        with MaskWriter(path, height, width, self.picture.dtype, channels) as writer:
            writer.write(self.picture)
        return writer.path

    def _repr_html_(self) -> str:
        """What a notebook shows: the translation."""
        return notebook.picture(to_rgb(self.picture), "the translated picture")


class OneWay(DenseInference[TranslatePrediction]):
    """Translation by one generator.

    Args:
        spec: the pictures that the generator takes.
        target: the pictures that it makes.

    Raises:
        UserError: as in `DenseInference`, or bfloat16 for pictures of more than 8 bits.
    """

    def __init__(self, generator: Generator, spec: ModelSpec, target: Domain, options: TranslateOptions) -> None:
        deep = {spec.form.dtype, target.form.dtype} != {"uint8"}
        if deep and options.precision == "bfloat16":
            raise UserError(
                "precision: bfloat16 keeps 8 bits, and these pictures have more; use float32, or leave it out."
            )
        overlap = max(OVERLAP, min(2 * generator.reach + LONGEST_RAMP, WIDEST_OVERLAP), generator.stride)
        if options.tile is not None:
            overlap = max(min(overlap, options.tile // 3 // generator.stride * generator.stride), generator.stride)
        given = options.model_copy(
            update={
                # bfloat16 has steps of half a grey level, and rounds differently in tiles.
                "precision": "float32" if options.precision == "auto" else options.precision,
                "overlap": overlap if options.overlap is None else options.overlap,
            }
        )
        super().__init__(generator, spec, given, channels=target.form.channels)
        self.target = target

    def predict(self, raster: Raster, picture: Picture) -> TranslatePrediction:
        return TranslatePrediction(self.translated(raster))

    def write(self, file: Path, target: Path, progress: Progress) -> Written:
        raise NotImplementedError("files are written by TranslateInference")

    def translated(self, raster: Raster) -> np.ndarray:
        """The whole translation, (H, W, C) in the target's form."""
        return np.concatenate(list(self.bands(raster)))

    def bands(self, raster: Raster, progress: Progress | None = None) -> Iterator[np.ndarray]:
        """Yields finished rows (n, W, C) of the translation from the top, in the target's form.

        Pixels without a value in any channel of the picture get none in translations of floats (NaN).
        """
        grid = self.grid(raster.height, raster.width)
        merger = Merger(grid, self.channels, classes=False, blended=True, activation=as_they_are)
        with self._statistics(raster, grid):
            for answer in self.outputs(raster, grid, None, progress):
                band = merger.add(answer)
                if band is None:
                    continue
                assert band.blended is not None
                rows = decoded(band.blended.transpose(1, 2, 0), self.target)
                lost = raster.unknown(band.top, band.top + len(rows), 0, raster.width)
                if lost is not None and rows.dtype == np.float32:
                    rows[lost] = np.nan
                yield rows

    def _statistics(self, raster: Raster, grid: TileGrid) -> AbstractContextManager[None]:
        """The context in which all tiles are normalised alike; nothing for a picture of one tile."""
        if len(grid) == 1:
            return nullcontext()
        spans, side = self._measured(raster, grid)
        tiles = [self._counted(raster, ys, xs, side) for ys, xs in spans]
        return statistics_of_all(self.engine.network, tiles, self.engine.run)

    def _measured(self, raster: Raster, grid: TileGrid) -> tuple[list[tuple[Span, Span]], tuple[int, int]]:
        """The tiles that measure the statistics of a picture, and the size to which they are mirrored outwards.

        They are all tiles of the grid if these fit into `MEASURED_BYTES` together; otherwise a random choice among the
        smallest possible tiles, the same every time.
        """
        side = self._side(grid)
        if len(grid) * self._bytes(side) <= MEASURED_BYTES:
            return list(grid), side
        stride = self.engine.stride
        least = max(3 * -(-self._overlap // stride), 2) * stride
        spans = list(square_grid(raster.height, raster.width, tile=least, overlap=self._overlap, stride=stride))
        side = (least, least)
        number = min(max(int(MEASURED_BYTES // self._bytes(side)), FEWEST_MEASURED), len(spans))
        chosen = np.random.default_rng(0).choice(len(spans), number, replace=False)
        return [spans[index] for index in sorted(chosen.tolist())], side

    def _side(self, grid: TileGrid) -> tuple[int, int]:
        """The height and width of the largest tile of a grid."""
        return max(map(self._padded, grid.rows)), max(map(self._padded, grid.columns))

    def _bytes(self, side: tuple[int, int]) -> float:
        """The memory of a pass over a tile."""
        return math.prod(side) * self.engine.bytes_per_pixel

    def _counted(self, raster: Raster, ys: Span, xs: Span, side: tuple[int, int]) -> Tile:
        """A tile, mirrored outwards to a size, of which the part that it adds to the picture is counted.

        The parts end at multiples of the stride, so that maps of all resolutions are divided without remainder.
        """
        images = self._read(raster, [(ys, xs)], None)
        padding = (0, side[1] - images.shape[3], 0, side[0] - images.shape[2])
        shares = []
        for span, size, length in zip((ys, xs), (raster.height, raster.width), side, strict=True):
            ends = [round(end / self.engine.stride) * self.engine.stride - span.start for end in (span.begin, span.end)]
            shares += [ends[0] / length, (self._padded(span) if span.stop == size else ends[1]) / length]
        return Tile(mirror_pad(images, padding), *shares)

    def _padded(self, span: Span) -> int:
        """The length of a tile after the network's own padding."""
        return -(-(span.stop - span.start) // self.engine.stride) * self.engine.stride


def decoded(answer: np.ndarray, domain: Domain) -> np.ndarray:
    """A generator's output in -1..1, of any shape -> values in the domain's dtype, rounded if these are integers."""
    values = (answer.astype(np.float64) + 1) * (domain.span / 2) + domain.low
    return as_dtype(values, np.dtype(domain.form.dtype))


def pictures_of(answers: Tensor, domain: Domain) -> list[np.ndarray]:
    """Generators' outputs (N, C, H, W) in -1..1 -> N pictures (H, W, C) in the domain's dtype."""
    with torch.no_grad():
        return [decoded(one, domain) for one in answers.float().permute(0, 2, 3, 1).cpu().numpy()]


def target_path(path: Path, form: PictureFormat) -> Path:
    """The file of a translation: `path`, with .tif added if it has no suffix and a PNG cannot hold such pictures.

    Raises:
        UserError: the path ends in .png, and a PNG cannot hold such pictures.
    """
    if form.channels in (1, 3) and form.dtype in FULL_RANGE:
        return path
    if path.suffix.lower() == ".png":
        raise UserError(
            f"{path}: a PNG holds 1 or 3 channels of integers, but the translation has {form.channels} of "
            f"{form.dtype}; write a .tif."
        )
    return path if path.suffix.lower() in SUFFIXES else path.with_name(f"{path.name}.tif")
