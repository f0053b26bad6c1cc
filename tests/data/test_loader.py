"""Loading: an order that depends on seed and step alone, shares that make up the whole, and no picture lost."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pixelwise.data.augment import Augmentation
from pixelwise.data.dataset import Dataset
from pixelwise.data.formats import open_dataset
from pixelwise.data.loader import (
    Batch,
    EvaluationLoader,
    SampleCache,
    TrainLoader,
    collate,
    ordering,
    prefetch,
    stream_seed,
    windows,
)
from pixelwise.data.record import Record
from pixelwise.data.sample import Instances, Sample
from pixelwise.data.targets import PixelTargets
from pixelwise.errors import UserError

VIEW = Augmentation(crop=(24, 32), scale=(0.8, 1.2), rotate=10, flip="both", noise=0.02)


@pytest.fixture(scope="module")
def dataset(scenes_folder: Path) -> Dataset:
    return open_dataset(scenes_folder)


def loader(dataset: Dataset, **options: Any) -> TrainLoader:
    settings: dict[str, Any] = {"batch_size": 3, "seed": 0, "targets": PixelTargets, **options}
    return TrainLoader(SampleCache(dataset), dataset.split("train"), VIEW, **settings)


def equal(a: Batch, b: Batch) -> bool:
    return a.names == b.names and torch.equal(a.images, b.images) and torch.equal(a.targets.masks, b.targets.masks)


def first(train: TrainLoader, count: int, start: int = 0) -> list[Batch]:
    batches = train.batches(start)
    found = list(islice(batches, count))
    batches.close()
    return found


def test_an_epoch_has_every_picture_once_and_epochs_differ() -> None:
    epochs = [[ordering(7, (3,), epoch * 7 + place)[0] for place in range(7)] for epoch in range(4)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_the_labelled_stream_depends_on_seed_and_epoch_alone() -> None:
    """So that another stream, added to a run, leaves the labelled pictures where they were."""
    for seed in (0, 3, 2**31):
        for epoch in range(3):
            expected = np.random.default_rng((seed, epoch)).permutation(11).tolist()
            found = [ordering(11, stream_seed(seed, "labelled"), 11 * epoch + place) for place in range(11)]
            assert found == [(index, epoch) for index in expected]


def test_other_streams_have_orders_and_views_of_their_own(dataset: Dataset) -> None:
    names = ("labelled", "unlabelled", "a", "b")
    orders = [[ordering(30, stream_seed(3, name), place)[0] for place in range(30)] for name in names]
    assert all(sorted(order) == list(range(30)) for order in orders)
    assert len({tuple(order) for order in orders}) == len(names)
    streams = [loader(dataset, stream=name, batch_size=1) for name in names]
    record = dataset.split("train")[0].name
    crops = [next(b for b in first(each, 8) if b.names == (record,)).images for each in streams]
    assert all(not torch.equal(crops[0], crop) for crop in crops[1:])
    again = loader(dataset, stream="unlabelled", batch_size=1)
    assert all(map(equal, first(streams[1], 8), first(again, 8)))
    assert not all(map(equal, first(streams[1], 8), first(loader(dataset, stream="unlabelled", seed=1), 8)))


def test_a_stream_of_pictures_alone(dataset: Dataset) -> None:
    labelled, alone = first(loader(dataset), 1)[0], first(loader(dataset, targets=None), 1)[0]
    assert alone.targets is None
    assert torch.equal(alone.images, labelled.images)


def test_a_later_start_gives_the_later_batches(dataset: Dataset) -> None:
    whole = first(loader(dataset), 7)
    for start in (1, 4, 6):
        assert all(equal(a, b) for a, b in zip(first(loader(dataset), 7 - start, start), whole[start:], strict=True))


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_threads_changes_nothing(dataset: Dataset, workers: int) -> None:
    assert all(map(equal, first(loader(dataset), 4), first(loader(dataset, workers=workers), 4)))


def test_another_seed_gives_other_crops(dataset: Dataset) -> None:
    assert not equal(first(loader(dataset), 1)[0], first(loader(dataset, seed=1), 1)[0])


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_same_batch(dataset: Dataset, processes: int) -> None:
    (whole,) = first(loader(dataset), 1)
    parts = [first(loader(dataset, rank=rank, processes=processes), 1)[0] for rank in range(processes)]
    for rank, part in enumerate(parts):
        assert part.names == whole.names[rank::processes]
        assert torch.equal(part.images, whole.images[rank::processes])


def test_one_picture_fills_any_batch(dataset: Dataset) -> None:
    train = TrainLoader(SampleCache(dataset), dataset.split("train")[:1], VIEW, targets=None, batch_size=5, seed=0)
    (batch,) = first(train, 1)
    assert batch.images.shape == (5, 3, 24, 32)
    assert not torch.equal(batch.images[0], batch.images[1])  # the same picture, other crops


def test_batches_are_channels_last_bytes_and_ids(dataset: Dataset) -> None:
    (batch,) = first(loader(dataset), 1)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.targets.masks.dtype == torch.int64


def test_sixteen_bits_collate() -> None:
    deep = np.full((4, 5, 2), 60_000, np.uint16)
    batch = collate([Sample("a", deep), Sample("b", deep)], None)
    assert int(batch.images.max()) == 60_000


@pytest.mark.parametrize(("side", "batch_size"), [(1024, 4), (20, 4), (33, 2)])
def test_evaluation_sees_every_labelled_pixel_once(dataset: Dataset, side: int, batch_size: int) -> None:
    records = dataset.split("val")
    expected = np.sum([np.bincount(dataset.load(r).mask.ravel(), minlength=256) for r in records], axis=0)  # type: ignore[union-attr]
    pieces = partial(windows, side=side)
    groups = list(EvaluationLoader(SampleCache(dataset), records, pieces=pieces, batch_size=batch_size))
    assert max(map(len, groups)) <= batch_size
    assert all(len({sample.image.shape for sample in group}) == 1 for group in groups)
    masks = [sample.mask.ravel() for group in groups for sample in group if sample.mask is not None]
    assert np.bincount(np.concatenate(masks), minlength=256).tolist() == expected.tolist()


def test_processes_share_the_held_out_pictures(dataset: Dataset) -> None:
    records = dataset.split("val")
    parts = [list(EvaluationLoader(SampleCache(dataset), records, rank=r, processes=3)) for r in range(3)]
    names = sorted(sample.name for part in parts for group in part for sample in group)
    assert names == sorted(record.name for record in records)


def test_evaluation_transforms_each_sample_before_it_is_cut(dataset: Dataset) -> None:
    records = dataset.split("val")[:1]

    def rows(sample: Sample) -> Sample:
        return sample.window(0, 0, 10, 40)

    loaded = EvaluationLoader(SampleCache(dataset), records, transform=rows, pieces=partial(windows, side=20))
    assert [sample.image.shape[:2] for group in loaded for sample in group] == [(10, 20), (10, 20)]


def test_windows_cut_without_overlap_or_loss() -> None:
    image = np.arange(5 * 7).reshape(5, 7, 1)
    pieces = list(windows(Sample("s", image), 3))
    assert sorted(np.concatenate([piece.image.ravel() for piece in pieces])) == list(range(35))
    assert max(max(piece.image.shape[:2]) for piece in pieces) == 3


def test_windows_carry_every_label() -> None:
    rng = np.random.default_rng(0)
    shape = (5, 7)
    mask, values = rng.integers(0, 9, shape).astype(np.uint8), rng.normal(size=shape).astype(np.float32)
    weights = rng.uniform(0, 2, shape).astype(np.float32)
    ids = np.zeros(shape, np.int32)
    ids[0, :2], ids[4, 4:] = 1, 2
    instances = Instances.from_label_map(ids, np.array([4, 6]))
    whole = Sample("s", rng.integers(0, 255, (*shape, 1), np.uint8), mask, instances, weights, 12, values)
    pieces = list(windows(whole, 4))
    places = [(0, 0), (0, 4), (4, 0), (4, 4)]
    assert len(pieces) == len(places)
    for piece, (top, left) in zip(pieces, places, strict=True):
        here = np.s_[top : top + 4, left : left + 4]
        assert piece.class_id == 12
        for name in ("image", "mask", "weights", "values"):
            np.testing.assert_array_equal(getattr(piece, name), getattr(whole, name)[here])
        assert piece.instances is not None
        assert piece.instances.ids is not None
        np.testing.assert_array_equal(piece.instances.ids > 0, ids[here] > 0)
    found = [piece.instances.classes.tolist() for piece in pieces if piece.instances is not None]
    assert found == [[4], [], [], [6]]


def test_the_cache_keeps_to_its_limit_and_gives_the_same(dataset: Dataset) -> None:
    record = dataset.split("train")[0]
    cache = SampleCache(dataset)
    assert cache.load(record) is cache.load(record)
    small = SampleCache(dataset, limit=10)
    assert small.load(record) is not small.load(record)
    assert np.array_equal(small.load(record).image, cache.load(record).image)
    assert small.held == 0


def test_the_limit_counts_label_maps_and_everything_else_of_a_sample(dataset: Dataset) -> None:
    record = dataset.split("train")[0]
    ids = np.zeros((64, 96), np.int32)
    ids[:5, :5] = 1
    sample = replace(dataset.load(record), instances=Instances.from_label_map(ids))
    assert sample.mask is not None
    assert sample.instances is not None
    own = sample.instances
    expected = sample.image.nbytes + sample.mask.nbytes + ids.nbytes + own.boxes.nbytes + own.classes.nbytes
    cache = SampleCache(dataset)
    cache.keep(record, sample)
    assert cache.held == expected
    for limit, kept in ((expected, True), (expected - 1, False)):
        cache = SampleCache(dataset, limit=limit)
        cache.keep(record, sample)
        assert (cache.load(record) is sample) == kept


class Darker:
    """Takes a number off every pixel, and counts the samples."""

    def __init__(self, by: int) -> None:
        self.by, self.done = by, 0

    def __call__(self, sample: Sample) -> Sample:
        self.done += 1
        return replace(sample, image=sample.image // self.by)


def test_a_further_preparation_takes_over_what_is_held(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    half, third = Darker(2), Darker(3)
    records = dataset.split("train")
    expected = {record.name: dataset.load(record).image // 2 // 3 for record in records}
    cache = SampleCache(dataset, prepare=(half,))
    for record in records[:5]:
        cache.load(record)
    assert cache.then(half) is cache
    further = cache.then(half, third)
    assert (half.done, third.done) == (5, 5)
    assert cache.held == 0  # nothing is held twice
    assert further.held == sum(expected[record.name].nbytes for record in records[:5]) + sum(
        sample.mask.nbytes for sample in map(further.load, records[:5]) if sample.mask is not None
    )
    reads: list[str] = []
    load = Dataset.load

    def counted(self: Dataset, record: Record, **options: bool) -> Sample:
        reads.append(record.name)
        return load(self, record, **options)

    monkeypatch.setattr(Dataset, "load", counted)
    for record in records:
        np.testing.assert_array_equal(further.load(record).image, expected[record.name])
    assert sorted(reads) == sorted(record.name for record in records[5:])
    assert half.done == third.done == len(records)


def test_other_preparations_start_from_the_files(dataset: Dataset) -> None:
    half, third = Darker(2), Darker(3)
    record = dataset.split("train")[0]
    cache = SampleCache(dataset, prepare=(half,), objects=False, limit=123_456)
    cache.load(record)
    other = cache.then(third)
    assert other.limit == 123_456
    np.testing.assert_array_equal(other.load(record).image, dataset.load(record).image // 3)
    np.testing.assert_array_equal(cache.load(record).image, dataset.load(record).image // 2)


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
    train = TrainLoader(SampleCache(dataset), records, VIEW, targets=None, batch_size=3, seed=0)
    with pytest.raises(UserError, match=r"bad\.png.*zero bytes"):
        first(train, 3)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before
