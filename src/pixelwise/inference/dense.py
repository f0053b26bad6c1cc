"""Dense networks on pictures of any size, in bounded memory: in one pass if a picture is small, else in tiles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from pydantic import Field
from torch import Tensor

from pixelwise.data.pictures import convert
from pixelwise.errors import UserError
from pixelwise.inference.augmentation import AveragedCopies
from pixelwise.inference.engine import TorchEngine
from pixelwise.inference.overview import Overview
from pixelwise.inference.predictor import Inference, InferenceOptions, Prediction, Progress
from pixelwise.inference.rasters import Raster
from pixelwise.inference.tiles import Span, TileGrid, grid_within, square_grid
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.dense import DenseModel

ACTIVATION_BYTES = 200_000_000
"""Memory for the tensors of one pass. With this a process takes about 1 GB in all (benchmarks/predict_large.md)."""
OVERLAP = 32
"""Pixels that neighbouring tiles share, or one stride if that is more: 8 on each side are discarded, 16 are blended.
With the trained networks that were tried, twice the overlap left as many pixels different from a single pass, and took
4 % more time."""

P = TypeVar("P", bound=Prediction)


class DenseOptions(InferenceOptions):
    """Options of all tasks whose networks predict every pixel."""

    tile: int | None = Field(None, description="longest side of a tile in pixels; null: as large as memory allows")
    overlap: int | None = Field(None, ge=0, description="pixels that neighbouring tiles share; null: 32 or a stride")
    batch: int | None = Field(None, ge=1, description="tiles per forward pass; null: up to 16")


class DenseInference(Inference[P]):
    """Prediction with a dense network, in tiles if a picture is too large for one pass.

    Args:
        channels: K, the channels of the network's output.
        averaged: which copies of a picture are averaged; None for the unchanged picture only.

    Raises:
        UserError: a network that does not predict every pixel, unknown options, or tiles too small for the network.
    """

    def __init__(
        self,
        model: object,
        spec: ModelSpec,
        options: DenseOptions,
        *,
        channels: int,
        averaged: AveragedCopies | None = None,
    ) -> None:
        if not isinstance(model, DenseModel):
            raise UserError(
                f"'{spec.model}' does not predict every pixel; give a network of the task `segment` or `regress`."
            )
        super().__init__(spec)
        self.channels = channels
        self.engine = TorchEngine(model, spec, device=options.device, precision=options.precision)
        self.averaged = averaged or AveragedCopies()
        self._tile = options.tile
        # At a tile's border the margin is mirrored. Without that part, tiles of valid convolutions are exact.
        default = max(OVERLAP, self.engine.stride) + 2 * self.engine.margin
        self._overlap = default if options.overlap is None else options.overlap
        if options.tile is not None:  # raises now, not at the first picture, if tiles are too small
            square_grid(options.tile, options.tile, tile=options.tile, overlap=self._overlap, stride=self.engine.stride)
        self._area = self._affordable_area()
        self._batch = options.batch or max(1, min(16, self._area // (options.tile or math.isqrt(self._area)) ** 2))

    def _affordable_area(self) -> int:
        """Pixels of a tile whose tensors stay within `ACTIVATION_BYTES`, at every scale and with the sum of copies."""
        scales = self.averaged.scales
        side = math.sqrt(ACTIVATION_BYTES / self.engine.bytes_per_pixel) - 2 * self.engine.margin
        area = (max(side, 1) / max(scales)) ** 2
        if not self.averaged.is_identity:  # three float32 tensors of probabilities: sum, copy, resized copy
            area = min(area, ACTIVATION_BYTES / (12 * self.channels * max(1.0, *scales) ** 2))
        return max(int(area), (3 * (self._overlap + self.engine.stride)) ** 2)

    def grid(self, height: int, width: int) -> TileGrid:
        """The tiles of a picture; a single tile if it fits into one pass."""
        stride = self.engine.stride
        if self._tile is not None:
            return square_grid(height, width, tile=self._tile, overlap=self._overlap, stride=stride)
        return grid_within(height, width, area=self._area, overlap=self._overlap, stride=stride)

    def outputs(
        self, raster: Raster, grid: TileGrid, overview: Overview | None = None, progress: Progress | None = None
    ) -> Iterator[Tensor]:
        """The output (K, h, w) of the network for each tile. During each pass a thread reads the next tiles."""
        done = 0
        batches = _batches(grid, self._batch)
        with ThreadPoolExecutor(1, "read") as reader:
            coming = reader.submit(self._read, raster, batches[0], overview)
            for number in range(len(batches)):
                prepared = coming.result()
                if number + 1 < len(batches):
                    coming = reader.submit(self._read, raster, batches[number + 1], overview)
                yield from self.averaged(self.engine.run, prepared)
                done += len(batches[number])
                if progress is not None:
                    progress(done / len(grid))

    def _read(self, raster: Raster, tiles: Sequence[tuple[Span, Span]], overview: Overview | None) -> Tensor:
        blocks = []
        for ys, xs in tiles:
            block = raster.read(ys.start, ys.stop, xs.start, xs.stop)
            if overview is not None:
                overview.add_block(block, ys.start, xs.start)
            blocks.append(convert(block, self.spec.form, raster.name))
        return self.engine.prepare(blocks[0][None] if len(blocks) == 1 else np.stack(blocks))


def _batches(grid: TileGrid, size: int) -> list[list[tuple[Span, Span]]]:
    """The grid's tiles in order, in batches of at most `size` tiles of the same shape."""
    batches: list[list[tuple[Span, Span]]] = []
    shape = (0, 0)
    for ys, xs in grid:
        previous, shape = shape, (ys.stop - ys.start, xs.stop - xs.start)
        if shape == previous and len(batches[-1]) < size:
            batches[-1].append((ys, xs))
        else:
            batches.append([(ys, xs)])
    return batches
