"""Loading: an order that depends on seed and step alone, shares that make up the whole, and no picture lost."""

from __future__ import annotations

import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from pixelwise.data.augment import Augmentation
from pixelwise.data.dataset import Dataset, Record
from pixelwise.data.formats import open_dataset
from pixelwise.data.loader import (
    Batch,
    EvaluationLoader,
    SampleCache,
    TrainLoader,
    collate,
    ordering,
    prefetch,
    windows,
)
from pixelwise.data.sample import Sample
from pixelwise.errors import UserError

VIEW = Augmentation(crop=(24, 32), scale=(0.8, 1.2), rotate=10, flip="both", noise=0.02)


@pytest.fixture(scope="module")
def dataset(scenes_folder: Path) -> Dataset:
    return open_dataset(scenes_folder)


def loader(dataset: Dataset, **options: int) -> TrainLoader:
    settings = {"batch_size": 3, "seed": 0, **options}
    return TrainLoader(SampleCache(dataset), dataset.split("train"), VIEW, **settings)


def equal(a: Batch, b: Batch) -> bool:
    return a.names == b.names and torch.equal(a.images, b.images) and torch.equal(a.masks, b.masks)


def first(train: TrainLoader, count: int, start: int = 0) -> list[Batch]:
    batches = train.batches(start)
    found = list(islice(batches, count))
    batches.close()
    return found


def test_an_epoch_has_every_picture_once_and_epochs_differ() -> None:
    epochs = [[ordering(7, 3, epoch * 7 + place)[0] for place in range(7)] for epoch in range(4)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_later_start_gives_the_later_batches(dataset: Dataset) -> None:
    whole = first(loader(dataset), 7)
    for start in (1, 4, 6):
        assert all(equal(a, b) for a, b in zip(first(loader(dataset), 7 - start, start), whole[start:], strict=True))


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_threads_changes_nothing(dataset: Dataset, workers: int) -> None:
    assert all(map(equal, first(loader(dataset), 4), first(loader(dataset, workers=workers), 4)))


def test_another_seed_gives_other_views(dataset: Dataset) -> None:
    assert not equal(first(loader(dataset), 1)[0], first(loader(dataset, seed=1), 1)[0])


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_same_batch(dataset: Dataset, processes: int) -> None:
    (whole,) = first(loader(dataset), 1)
    parts = [first(loader(dataset, rank=rank, processes=processes), 1)[0] for rank in range(processes)]
    for rank, part in enumerate(parts):
        assert part.names == whole.names[rank::processes]
        assert torch.equal(part.images, whole.images[rank::processes])


def test_one_picture_fills_any_batch(dataset: Dataset) -> None:
    train = TrainLoader(SampleCache(dataset), dataset.split("train")[:1], VIEW, batch_size=5, seed=0)
    (batch,) = first(train, 1)
    assert batch.images.shape == (5, 3, 24, 32)
    assert not torch.equal(batch.images[0], batch.images[1])  # the same picture, other views


def test_batches_are_channels_last_bytes_and_ids(dataset: Dataset) -> None:
    (batch,) = first(loader(dataset), 1)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.masks.dtype == torch.int64


def test_sixteen_bits_and_missing_masks_collate() -> None:
    deep = np.full((4, 5, 2), 60_000, np.uint16)
    batch = collate([Sample("a", deep), Sample("b", deep, np.ones((4, 5), np.uint8))])
    assert int(batch.images.max()) == 60_000
    assert batch.masks[0].unique().tolist() == [255]
    assert batch.masks[1].unique().tolist() == [1]


def test_evaluation_sees_every_labelled_pixel_once(dataset: Dataset) -> None:
    records = dataset.split("val")
    expected = np.sum([np.bincount(dataset.load(r).mask.ravel(), minlength=256) for r in records], axis=0)  # type: ignore[union-attr]
    for options in ({}, {"window": 20}, {"window": 33, "batch_size": 2}):
        batches = list(EvaluationLoader(SampleCache(dataset), records, **options))
        found = torch.cat([batch.masks.flatten() for batch in batches]).bincount(minlength=256)
        assert found.tolist() == expected.tolist()
    parts = [list(EvaluationLoader(SampleCache(dataset), records, rank=r, processes=3)) for r in range(3)]
    names = sorted(name for part in parts for batch in part for name in batch.names)
    assert names == sorted(record.name for record in records)


def test_windows_cut_without_overlap_or_loss() -> None:
    image = np.arange(5 * 7).reshape(5, 7, 1)
    pieces = list(windows(Sample("s", image), 3))
    assert sorted(np.concatenate([piece.image.ravel() for piece in pieces])) == list(range(35))
    assert max(max(piece.image.shape[:2]) for piece in pieces) == 3


def test_the_cache_keeps_to_its_limit_and_gives_the_same(dataset: Dataset) -> None:
    record = dataset.split("train")[0]
    cache = SampleCache(dataset)
    assert cache.load(record) is cache.load(record)
    small = SampleCache(dataset, limit=10)
    assert small.load(record) is not small.load(record)
    assert np.array_equal(small.load(record).image, cache.load(record).image)


def test_prefetch_keeps_order_and_reads_only_a_little_ahead(dataset: Dataset) -> None:
    records = [Record(str(i), Path("x")) for i in range(50)]
    read: list[str] = []
    lock = threading.Lock()

    def load(record: Record) -> Sample:
        with lock:
            read.append(record.name)
        return Sample(record.name, np.zeros((1, 1, 1), np.uint8))

    samples = prefetch(load, records, workers=2)
    assert next(samples).name == "0"
    assert len(read) <= 6
    assert [sample.name for sample in samples] == [str(i) for i in range(1, 50)]


def test_an_unreadable_file_is_a_sentence_and_the_threads_stop(dataset: Dataset, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    records = [*dataset.split("train")[:2], Record("bad", bad)]
    before = threading.active_count()
    train = TrainLoader(SampleCache(dataset), records, VIEW, batch_size=3, seed=0)
    with pytest.raises(UserError, match=r"bad\.png.*zero bytes"):
        first(train, 3)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before
