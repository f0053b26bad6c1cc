"""Batches in an order that depends only on the seed and the step, prepared while the network computes.

Threads, not processes: decoding and warping release the interpreter's lock, nothing is copied between processes, and
decoded pictures are shared in one cache.
"""

from __future__ import annotations

import math
import os
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.cache import SampleCache
from pixelwise.data.record import Record
from pixelwise.data.sample import Sample
from pixelwise.data.targets import Targets, stack
from pixelwise.hardware import on_device

Transform = Callable[[Sample, np.random.Generator], Sample]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The pictures of one step, and their targets.

    Attributes:
        images: (N, C, H, W) in the files' units and dtype, channels last in memory.
        names: the names of the N samples.
        targets: their labels; None for a stream of pictures without labels.
    """

    images: Tensor
    names: tuple[str, ...]
    targets: Any = None  # the kind that the task's criterion takes

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        if self.images.device == device:
            return self
        targets = None if self.targets is None else self.targets.to(device)
        return Batch(on_device(self.images, device), self.names, targets)


def collate(samples: Sequence[Sample], targets: type[Targets] | None) -> Batch:
    """Stacks samples of one size, with labels of the given kind; None for pictures without labels."""
    return Batch(
        stack([sample.image for sample in samples]),
        tuple(sample.name for sample in samples),
        None if targets is None else targets.collate(samples),
    )


def ordering(count: int, seed: Sequence[int], position: int) -> tuple[int, int]:
    """Which of `count` records has the given `position` in an endless shuffled stream, and in which epoch.

    Args:
        seed: one or two numbers, see `stream_seed`.
    """
    epoch, index = divmod(position, count)
    return int(_permutation(count, tuple(seed), epoch)[index]), epoch


@lru_cache(maxsize=8)
def _permutation(count: int, seed: tuple[int, ...], epoch: int) -> np.ndarray:
    return np.random.default_rng((seed[0], epoch, *seed[1:])).permutation(count)


LABELLED = "labelled"
"""The stream whose order depends only on the seed, so that adding other streams to a run does not change it."""


def stream_seed(seed: int, stream: str) -> tuple[int, ...]:
    """The seed of a stream's order: the run's seed and, for all streams but `labelled`, the stream's name."""
    return (seed,) if stream == LABELLED else (seed, zlib.crc32(stream.encode()), 1)


SHARES = 4
"""A thread gets this many shares of a batch, one after the other, so that no thread has to wait long for another."""


class TrainLoader:
    """Full batches of random crops, without end; each epoch of the stream is a new permutation.

    Batch number `step` depends only on (seed, stream, step), so a resumed run continues with the same pictures and
    crops. With several processes, each takes every `processes`-th sample of the same global batch.

    Args:
        records: at least one.
        targets: the labels that batches carry; None for pictures without labels.
        batch_size: the size of a batch over all processes together.
        early: the transform for the steps before a progress of `until`; None for the same transform throughout.
        stream: name of the stream, see `stream_seed`.
        workers: threads; None for the number of the machine's processors, at most 8.
    """

    def __init__(
        self,
        cache: SampleCache,
        records: Sequence[Record],
        transform: Transform,
        *,
        targets: type[Targets] | None,
        batch_size: int,
        seed: int,
        stream: str = LABELLED,
        rank: int = 0,
        processes: int = 1,
        workers: int | None = None,
        prefetch: int = 2,
        early: Transform | None = None,
        until: float = 0.0,
    ) -> None:
        self.cache = cache
        self.records = tuple(records)
        self.transform = transform
        self.early = early
        self.until = until
        self.targets = targets
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.processes = processes
        self.workers = workers or min(8, os.cpu_count() or 1)
        self.prefetch = prefetch
        self._seed = stream_seed(seed, stream)

    def crop(self, position: int, *, early: bool = False) -> Sample:
        """The sample at a position of the stream."""
        transform = self.early if early and self.early is not None else self.transform
        index, epoch = ordering(len(self.records), self._seed, position)
        rng = np.random.default_rng((self._seed[0], epoch, index, *self._seed[1:]))
        return transform(self.cache.load(self.records[index]), rng)

    def _crops(self, positions: Sequence[int], *, early: bool) -> list[Sample]:
        return [self.crop(position, early=early) for position in positions]

    def batches(self, start: int = 0, progress: Callable[[int], float] | None = None) -> Generator[Batch, None, None]:
        """Batches from step `start` on; the next are prepared meanwhile. Close the generator to stop the threads.

        Args:
            progress: step -> the progress of the run at that step, as far as it is known, for choosing the early
                transform; None for none.

        Raises:
            UserError: a file turns out to be unreadable.
        """
        pending: deque[list[Future[list[Sample]]]] = deque()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="pixelwise-loader") as pool:
            try:
                step = start
                while True:
                    while len(pending) <= self.prefetch:
                        first = step * self.batch_size
                        positions = range(first + self.rank, first + self.batch_size, self.processes)
                        early = progress is not None and progress(step) < self.until
                        # A few positions at a time: handing over a single digit takes as long as cropping it.
                        share = math.ceil(len(positions) / (SHARES * self.workers))
                        parts = (positions[at : at + share] for at in range(0, len(positions), share))
                        pending.append([pool.submit(self._crops, part, early=early) for part in parts])
                        step += 1
                    yield collate([crop for future in pending.popleft() for crop in future.result()], self.targets)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


class EvaluationLoader:
    """Every record once, in order, in groups of samples whose pictures have the same size.

    With several processes, each takes every `processes`-th record.

    Args:
        transform: applied to each sample; None for nothing.
        pieces: cuts a sample into the parts that are evaluated; None for the whole sample.
    """

    def __init__(
        self,
        cache: SampleCache,
        records: Sequence[Record],
        *,
        batch_size: int = 4,
        rank: int = 0,
        processes: int = 1,
        workers: int | None = None,
        transform: Callable[[Sample], Sample] | None = None,
        pieces: Callable[[Sample], Iterator[Sample]] | None = None,
    ) -> None:
        self.cache = cache
        self.records = tuple(records)[rank::processes]
        self.transform = transform
        self.pieces = pieces or _itself
        self.batch_size = batch_size
        self.workers = workers

    def __iter__(self) -> Iterator[list[Sample]]:
        waiting: list[Sample] = []
        for sample in prefetch(self._load, self.records, self.workers):
            for piece in self.pieces(sample):
                if waiting and (len(waiting) == self.batch_size or piece.image.shape != waiting[0].image.shape):
                    yield waiting
                    waiting = []
                waiting.append(piece)
        if waiting:
            yield waiting

    def _load(self, record: Record) -> Sample:
        sample = self.cache.load(record)
        return sample if self.transform is None else self.transform(sample)


def _itself(sample: Sample) -> Iterator[Sample]:
    yield sample


T = TypeVar("T")


def prefetch(load: Callable[[Record], T], records: Sequence[Record], workers: int | None = None) -> Iterator[T]:
    """The result of `load` for each record, in order, read ahead by threads; a few at a time are kept in memory.

    Raises:
        UserError: as in `load`, when the record with the problem is reached.
    """
    workers = workers or min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers, thread_name_prefix="pixelwise-loader") as pool:
        try:
            pending: deque[Future[T]] = deque()
            for record in records:
                pending.append(pool.submit(load, record))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


WINDOW = 1024
"""Longest side in pixels of the windows in which a dense network is validated."""


def windows(sample: Sample, side: int = WINDOW) -> Iterator[Sample]:
    """Cuts a sample into windows of at most `side` x `side` pixels with all their labels; keeps a smaller one whole."""
    height, width = sample.image.shape[:2]
    if max(height, width) <= side:
        yield sample
        return
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield sample.window(top, left, side, side)
