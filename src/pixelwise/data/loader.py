"""Batches in an order that depends on nothing but the seed and the step, prepared while the network works.

Threads, not processes: decoding and warping release the interpreter's lock, nothing is copied between processes, and
decoded pictures are shared in one cache.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.dataset import Dataset, Record
from pixelwise.data.sample import VOID, Sample

Transform = Callable[[Sample, np.random.Generator], Sample]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Pictures and labels of one step.

    Attributes:
        images: (N, C, H, W) in the files' units and dtype, channels last in memory.
        masks: (N, H, W) int64 class ids, 255 = void; for pictures with a class as a whole (N, 1, 1), that
            class, where 255 is a class like any other.
        names: of the N samples.
        weights: (N, H, W) float32 factors of the loss; None for 1 everywhere.
        boxes: (N, M, 4) float32 xyxy in pixels of the view: the objects, in the order that the samples have them in, M
            the most that one has; NaN behind those. None where no sample knows objects.
        classes: (N, M) int64 class ids of the objects, -1 behind those; None with the boxes.
    """

    images: Tensor
    masks: Tensor
    names: tuple[str, ...]
    weights: Tensor | None = None
    boxes: Tensor | None = None
    classes: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        if self.images.device == device:
            return self

        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return Batch(
            self.images.to(device, non_blocking=True),
            self.masks.to(device, non_blocking=True),
            self.names,
            moved(self.weights),
            moved(self.boxes),
            moved(self.classes),
        )


def collate(samples: Sequence[Sample]) -> Batch:
    """Stacks samples of one size; a sample without label is void everywhere."""
    images = np.stack([sample.image for sample in samples])
    masks = [_target(sample) for sample in samples]
    weights = None
    if any(sample.weights is not None for sample in samples):
        ones = np.ones(images.shape[1:3], np.float32)
        weights = torch.from_numpy(np.stack([ones if s.weights is None else s.weights for s in samples]))
    if images.dtype == np.uint16:  # few of torch's kernels take uint16
        images = images.astype(np.int32)
    return Batch(
        torch.from_numpy(images).permute(0, 3, 1, 2),
        torch.from_numpy(np.stack(masks)).long(),
        tuple(sample.name for sample in samples),
        weights,
        *_objects(samples),
    )


def _objects(samples: Sequence[Sample]) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """`Batch.boxes` and `Batch.classes`."""
    if all(sample.instances is None for sample in samples):
        return None, None
    most = max([1, *(len(sample.instances) for sample in samples if sample.instances is not None)])
    boxes = torch.full((len(samples), most, 4), torch.nan)
    classes = torch.full((len(samples), most), -1)
    for row, sample in enumerate(samples):
        if sample.instances is not None:
            count = len(sample.instances)
            boxes[row, :count] = torch.from_numpy(sample.instances.boxes)
            classes[row, :count] = torch.from_numpy(sample.instances.classes)
    return boxes, classes


def _target(sample: Sample) -> np.ndarray:
    """(H, W) class ids, or (1, 1) the class of the picture as a whole."""
    if sample.class_id is not None:
        return np.array([[sample.class_id]])
    return np.full(sample.image.shape[:2], VOID, np.uint8) if sample.mask is None else sample.mask


@dataclass
class SampleCache:
    """Decoded pictures and masks, kept until `limit` bytes are held; later ones are read anew each time.

    Attributes:
        objects: whether samples come with the objects that the dataset tells apart, which takes longer.
        prepare: what is done to each sample after reading, before it is kept; None for nothing.
    """

    dataset: Dataset
    limit: int = 1 << 30
    objects: bool = False
    prepare: Callable[[Sample], Sample] | None = None
    _samples: dict[str, Sample] = field(default_factory=dict)
    _held: int = 0
    _lock: Lock = field(default_factory=Lock)

    def load(self, record: Record) -> Sample:
        """Raises:
        UserError: as `Dataset.load`.
        """
        sample = self._samples.get(record.name)
        if sample is not None:
            return sample
        sample = self.dataset.load(record) if self.objects else self.dataset.load_without_objects(record)
        if self.prepare is not None:
            sample = self.prepare(sample)
        size = sample.image.nbytes + (0 if sample.mask is None else sample.mask.nbytes)
        with self._lock:
            if record.name not in self._samples and self._held + size <= self.limit:
                self._samples[record.name] = sample
                self._held += size
        return sample

    def check(self, records: Sequence[Record]) -> np.ndarray:
        """Reads every labelled record once, before anything depends on it: pixels by class id, (256,).

        While the cache has room pictures are decoded into it, so the work is not lost; later only masks are.

        Raises:
            UserError: as `Dataset.load`, for the first record that cannot be used.
        """

        def count(record: Record) -> np.ndarray:
            full = self._held >= self.limit
            mask = self.dataset.load_mask(record) if full else self.load(record).mask
            assert mask is not None
            return np.bincount(mask.ravel(), minlength=256)

        with ThreadPoolExecutor(thread_name_prefix="pixelwise-check") as pool:
            return np.sum(list(pool.map(count, records)), axis=0)


def ordering(count: int, seed: int, position: int) -> tuple[int, int]:
    """Which of `count` records stands at `position` of the endless shuffled stream, and in which epoch."""
    epoch, place = divmod(position, count)
    return int(_permutation(count, seed, epoch)[place]), epoch


@lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)


class TrainLoader:
    """Full batches of random views, without end; each epoch of the stream is a new permutation.

    Batch number `step` is a function of (seed, step) alone, so a resumed run goes on with the same pictures and views.
    With several processes each takes every `processes`-th sample of the same global batch.

    Args:
        records: at least one.
        batch_size: of all processes together.
        workers: threads; None for as many as the machine has processors, at most 8.
    """

    def __init__(
        self,
        cache: SampleCache,
        records: Sequence[Record],
        transform: Transform,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        processes: int = 1,
        workers: int | None = None,
        prefetch: int = 2,
    ) -> None:
        self.cache = cache
        self.records = tuple(records)
        self.transform = transform
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.processes = processes
        self.workers = workers or min(8, os.cpu_count() or 1)
        self.prefetch = prefetch

    def view(self, position: int) -> Sample:
        """The sample at a position of the stream."""
        index, epoch = ordering(len(self.records), self.seed, position)
        rng = np.random.default_rng((self.seed, epoch, index))
        return self.transform(self.cache.load(self.records[index]), rng)

    def batches(self, start: int = 0) -> Generator[Batch, None, None]:
        """Batches from step `start` on; the next ones are prepared meanwhile. Close the generator to stop the threads.

        Raises:
            UserError: when a file turns out to be unreadable.
        """
        pending: deque[list[Future[Sample]]] = deque()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="pixelwise-loader") as pool:
            try:
                step = start
                while True:
                    while len(pending) <= self.prefetch:
                        first = step * self.batch_size
                        positions = range(first + self.rank, first + self.batch_size, self.processes)
                        pending.append([pool.submit(self.view, position) for position in positions])
                        step += 1
                    yield collate([future.result() for future in pending.popleft()])
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


class EvaluationLoader:
    """Every labelled picture of a split once, whole, or in windows where it is larger than `window`.

    Consecutive windows of one size are batched. With several processes each takes every `processes`-th picture.

    Args:
        view: what is done to each sample before it is cut; None for nothing.
        cut: the pieces that stand for a sample, instead of those windows.
    """

    def __init__(
        self,
        cache: SampleCache,
        records: Sequence[Record],
        *,
        batch_size: int = 4,
        window: int = 1024,
        rank: int = 0,
        processes: int = 1,
        workers: int | None = None,
        view: Callable[[Sample], Sample] | None = None,
        cut: Callable[[Sample], Iterator[Sample]] | None = None,
    ) -> None:
        self.cache = cache
        self.records = tuple(record for record in records if record.labelled)[rank::processes]
        self.view = view
        self.cut = cut or partial(windows, side=window)
        self.batch_size = batch_size
        self.workers = workers

    def __iter__(self) -> Iterator[Batch]:
        waiting: list[Sample] = []
        for sample in prefetch(self._load, self.records, self.workers):
            for piece in self.cut(sample):
                if waiting and (len(waiting) == self.batch_size or piece.image.shape != waiting[0].image.shape):
                    yield collate(waiting)
                    waiting = []
                waiting.append(piece)
        if waiting:
            yield collate(waiting)

    def _load(self, record: Record) -> Sample:
        sample = self.cache.load(record)
        return sample if self.view is None else self.view(sample)


def prefetch(
    load: Callable[[Record], Sample], records: Sequence[Record], workers: int | None = None
) -> Iterator[Sample]:
    """Samples in order, read ahead by threads; memory holds a few at a time.

    Raises:
        UserError: as `load`, at the sample that has the problem.
    """
    workers = workers or min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers, thread_name_prefix="pixelwise-loader") as pool:
        try:
            pending: deque[Future[Sample]] = deque()
            for record in records:
                pending.append(pool.submit(load, record))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def windows(sample: Sample, side: int) -> Iterator[Sample]:
    """A sample cut into pieces of at most `side` x `side` pixels; itself where it is no larger."""
    height, width = sample.image.shape[:2]
    if max(height, width) <= side:
        yield sample
        return
    for top in range(0, height, side):
        for left in range(0, width, side):
            here = np.s_[top : top + side, left : left + side]
            yield Sample(sample.name, sample.image[here], None if sample.mask is None else sample.mask[here])
