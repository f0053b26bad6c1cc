"""Measures pictures with a trained network: scores of its predictions, and features."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pixelwise.active.dropout import SharedBody, heads_of, with_monte_carlo_dropout
from pixelwise.active.strategies import Strategy
from pixelwise.active.uncertainty import Passes
from pixelwise.data.pictures import convert
from pixelwise.errors import UserError
from pixelwise.inference.engine import TorchEngine
from pixelwise.inference.forms import check_form
from pixelwise.inference.rasters import Picture, Raster, open_raster
from pixelwise.inference.tiles import Span, TileGrid
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.dense import DenseModel
from pixelwise.nn.finite import check_answer
from pixelwise.tasks.base import Task

BATCH_PIXELS = 1 << 19
"""Pixels of the pictures that are measured together."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMap:
    """The features before a network's head, for one part of a picture.

    Attributes:
        rows, columns: the part of the picture that they represent.
        span: the part of the picture that the maps cover: top, bottom, left, right.
        maps: (F, h, w) float32; 1 x 1 for a network with one prediction per picture.
    """

    rows: slice
    columns: slice
    span: tuple[float, float, float, float]
    maps: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What was measured of one picture.

    Attributes:
        size: height and width.
        scores: (H, W) float32, a score per pixel, NaN where the picture has no value; or () for the whole picture. None
            if the strategy does not use predictions.
        features: the features of the parts of the picture; empty if the strategy does not use them.
    """

    size: tuple[int, int]
    scores: np.ndarray | None
    features: tuple[FeatureMap, ...] = ()

    @property
    def score(self) -> float:
        """The score of the picture: the mean over its pixels."""
        if self.scores is None:
            return 0.0
        known = self.scores[~np.isnan(self.scores)]
        return float(known.mean(dtype=np.float64)) if known.size else -np.inf

    @property
    def mean_features(self) -> np.ndarray:
        """(F,) float32: the mean over the picture."""
        areas = [
            (each.rows.stop - each.rows.start) * (each.columns.stop - each.columns.start) for each in self.features
        ]
        means = np.stack([each.maps.mean(axis=(1, 2)) for each in self.features])
        return np.average(means, axis=0, weights=areas).astype(np.float32)

    def features_at(self, x: float, y: float) -> np.ndarray:
        """(F,) the features of the position nearest to a point of the picture."""
        for each in self.features:
            if each.rows.start <= y < each.rows.stop and each.columns.start <= x < each.columns.stop:
                top, bottom, left, right = each.span
                _, height, width = each.maps.shape
                row = min(int((y - top) / (bottom - top) * height), height - 1)
                column = min(int((x - left) / (right - left) * width), width - 1)
                return each.maps[:, row, column].copy()  # a view would keep the whole map in memory
        raise ValueError(f"x {x}, y {y}: outside the picture of {self.size[1]} x {self.size[0]}")


class Observer:
    """A network with which pictures are measured for a strategy.

    Pictures are read as for a prediction: in tiles if they are large, resized if the network has one input size.

    Args:
        network: a network in evaluation mode; it is not changed.
        task: a task whose networks output class logits.
        passes: the number of passes with Monte Carlo dropout.
        seed: seed of the dropout.

    Raises:
        UserError: the strategy needs features or dropout, and the network does not name its head.
    """

    def __init__(
        self, network: nn.Module, spec: ModelSpec, task: Task, strategy: Strategy, *, passes: int, seed: int
    ) -> None:
        self._network, self._task, self._strategy, self._spec, self._seed = network, task, strategy, spec, seed
        self._passes = passes if strategy.dropout else 1
        self._inference = task.inference(network, spec, task.options())
        # Rounded to bfloat16, the scores of whole pictures would often be equal.
        precision = "auto" if spec.input_size is None else "float32"
        self._engine = TorchEngine(network, spec, precision=precision)
        self._body: SharedBody | None = None
        if strategy.dropout:  # after the batch norms were folded, because the check of that compares two passes
            self._engine.network = with_monte_carlo_dropout(self._engine.network)
            self._body = SharedBody(self._engine.network, self._engine.example)
        self._captured: list[Tensor] = []
        if strategy.features:
            heads_of(self._engine.network)[0].register_forward_pre_hook(self._capture)
        self._differentiable: nn.Module | None = None
        if strategy.distance is not None:
            plain = copy.deepcopy(network).eval().requires_grad_(False)
            self._differentiable = plain.to(self._engine.device, torch.float32)

    def _capture(self, _: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        self._captured.append(arguments[0])

    def observe(self, pictures: Iterable[Picture]) -> Iterator[Observation | UserError]:
        """What is measured of each picture, in order; the error for a picture that cannot be read or predicted."""
        waiting: list[tuple[np.ndarray, np.ndarray | None, tuple[int, int]]] = []  # input, pixels without value, size
        started = 0  # number of the first picture in `waiting`
        for number, picture in enumerate(pictures):
            try:
                with open_raster(picture) as raster:
                    check_form(raster, self._spec)
                    grid = self._inference.grid(raster.height, raster.width)
                    if len(grid) > 1:
                        yield from self._flush(waiting, started)
                        waiting = []
                        yield self._in_tiles(raster, grid, number)
                        continue
                    prepared = self._prepared(raster, 0, raster.height, 0, raster.width)
                    lost = raster.unknown(0, raster.height, 0, raster.width)
                    size = raster.height, raster.width
            except UserError as error:
                yield from self._flush(waiting, started)
                waiting = []
                yield error
                continue
            pixels = prepared.shape[0] * prepared.shape[1]
            full = (len(waiting) + 1) * pixels > BATCH_PIXELS
            if waiting and (full or waiting[0][0].shape != prepared.shape):
                yield from self._flush(waiting, started)
                waiting = []
            if not waiting:
                started = number
            waiting.append((prepared, lost, size))
        yield from self._flush(waiting, started)

    def _prepared(self, raster: Raster, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        block = convert(raster.read(top, bottom, left, right), self._spec.form, raster.name)
        return self._inference.prepare(block)

    def _flush(
        self, waiting: Sequence[tuple[np.ndarray, np.ndarray | None, tuple[int, int]]], first: int
    ) -> Iterator[Observation | UserError]:
        """Measures pictures whose inputs have one size."""
        if not waiting:
            return
        try:
            scores, features = self._measure(np.stack([prepared for prepared, _, _ in waiting]), first)
        except UserError as error:
            yield from (error for _ in waiting)
            return
        for number, (_, lost, size) in enumerate(waiting):
            own = None if scores is None else scores[number]
            if own is not None and own.ndim == 2 and lost is not None:
                own = np.where(lost, np.float32(np.nan), own)
            parts: tuple[FeatureMap, ...] = ()
            if features is not None:
                parts = (self._cut(features[number], slice(0, size[0]), slice(0, size[1]), (0, 0), size),)
            yield Observation(size, own, parts)

    def _in_tiles(self, raster: Raster, grid: TileGrid, number: int) -> Observation:
        """Measures a large picture tile by tile; where tiles overlap, each counts up to the middle.

        Raises:
            UserError: the picture cannot be read or predicted.
        """
        scores: np.ndarray | None = None
        parts = []
        for index, (ys, xs) in enumerate(grid):
            prepared = self._prepared(raster, ys.start, ys.stop, xs.start, xs.stop)
            own, features = self._measure(prepared[None], number, index)
            rows, columns = _kept(ys, grid.rows, grid.ramp), _kept(xs, grid.columns, grid.ramp)
            if own is not None and own.ndim == 3:
                scores = np.zeros((grid.height, grid.width), np.float32) if scores is None else scores
                inside = _shifted(rows, ys.start), _shifted(columns, xs.start)
                scores[rows, columns] = own[0][inside]
            if features is not None:
                seen = ys.stop - ys.start, xs.stop - xs.start
                parts.append(self._cut(features[0], rows, columns, (ys.start, xs.start), seen))
            lost = raster.unknown(ys.start, ys.stop, xs.start, xs.stop)
            if scores is not None and lost is not None:
                scores[ys.start : ys.stop, xs.start : xs.stop][lost] = np.nan
        return Observation((grid.height, grid.width), scores, tuple(parts))

    def _measure(self, pictures: np.ndarray, number: int, tile: int = 0) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The scores (N,) or (N, H, W), and the features (N, F, h, w), of pictures (N, H, W, C) in the spec's form.

        Args:
            number, tile: number of the first picture in the pool and of its tile, for the seeds of the dropout.

        Raises:
            UserError: NaN or infinite numbers in the network's output.
        """
        images = self._engine.prepare(pictures)
        if self._differentiable is not None and self._strategy.distance is not None:
            distances = self._strategy.distance(self._logits_of, images.float().contiguous())
            return (-distances).cpu().numpy(), None
        self._captured.clear()
        passes = Passes()
        if self._body is not None:
            self._body.start()
        for each in range(self._passes):
            if self._body is not None:
                self._body.start_pass()
            with torch.random.fork_rng([images.device] if images.is_cuda else []):
                torch.manual_seed(int(np.random.SeedSequence((self._seed, number, tile, each)).generate_state(1)[0]))
                logits = self._task.logits(self._engine.run(images)).float()
            if logits.shape[1] == 1:  # the foreground's logit against a background of 0
                logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
            if self._strategy.score is not None:
                passes.add(logits.softmax(1))
        scores = None if self._strategy.score is None else self._strategy.score(passes).float().cpu().numpy()
        return scores, self._features()

    def _features(self) -> np.ndarray | None:
        """(N, F, h, w) float32: the captured input of the head."""
        if not self._captured:
            return None
        found = self._captured.pop().float()
        return (found if found.dim() == 4 else found.flatten(1)[:, :, None, None]).cpu().numpy()

    def _cut(
        self, maps: np.ndarray, rows: slice, columns: slice, corner: tuple[int, int], size: tuple[int, int]
    ) -> FeatureMap:
        """The positions of feature maps (F, h, w) that touch a part of the picture.

        Args:
            rows, columns: the part.
            corner, size: top and left, height and width, of what the network saw of the picture. The maps of a network
                that labels pixels also cover the border that it added at the right and at the bottom.
        """
        covered = size
        if isinstance(self._network, DenseModel):
            _, right, _, bottom = self._network.padding(*size)
            covered = size[0] + bottom - self._network.margin, size[1] + right - self._network.margin
        kept, edges = [], list[float]()
        for part, start, length, count in zip((rows, columns), corner, covered, maps.shape[1:], strict=True):
            step = length / count  # pixels per position
            first, last = int((part.start - start) / step), min(math.ceil((part.stop - start) / step), count)
            kept.append(slice(first, last))
            edges += [start + first * step, start + last * step]
        span = (edges[0], edges[1], edges[2], edges[3])
        return FeatureMap(rows, columns, span, maps[:, kept[0], kept[1]])

    def _logits_of(self, images: Tensor) -> Tensor:
        assert self._differentiable is not None
        return self._task.logits(check_answer(self._differentiable(images)))


def _kept(span: Span, spans: Sequence[Span], ramp: int) -> slice:
    """The pixels along one axis for which a tile counts: up to the middle of what it shares with its neighbours."""
    start = span.start if span is spans[0] else span.begin + ramp // 2
    stop = span.stop if span is spans[-1] else span.end + ramp // 2
    return slice(start, stop)


def _shifted(part: slice, by: int) -> slice:
    return slice(part.start - by, part.stop - by)
