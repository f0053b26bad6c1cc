"""Labels of a batch: what collating and moving keeps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from pixelwise.data.loader import Batch, collate
from pixelwise.data.sample import VOID, Instances, Sample
from pixelwise.data.targets import (
    NO_CLASS,
    ClassTargets,
    ObjectTargets,
    PairTargets,
    PixelTargets,
    Targets,
    ValueTargets,
)
from pixelwise.tasks.detect.criterion import LocalisationTargets

SIZE = (3, 5)
RNG = np.random.default_rng(0)


def image() -> np.ndarray:
    return RNG.integers(0, 255, (*SIZE, 2), np.uint8)


def objects(count: int, *, ids: bool = False, joints: int = 0) -> Instances:
    boxes = RNG.uniform(0, 3, (count, 4)).astype(np.float32)
    label_map = None
    if ids:
        label_map = np.zeros(SIZE, np.int32)
        label_map[0, :count] = np.arange(1, count + 1)
    keypoints = RNG.uniform(0, 3, (count, joints, 3)).astype(np.float32) if joints else None
    return Instances(boxes, RNG.integers(0, 300, count), label_map, keypoints)


def test_masks_and_weights_stand_in_their_rows_and_what_is_missing_is_void_or_one() -> None:
    mask = RNG.integers(0, 4, SIZE).astype(np.uint8)
    weights = RNG.uniform(0, 9, SIZE).astype(np.float32)
    samples = [Sample("a", image()), Sample("b", image(), mask=mask, weights=weights), Sample("c", image(), mask=mask)]
    found = PixelTargets.collate(samples)
    assert found.masks.dtype == torch.int64
    assert (found.masks[0] == VOID).all()
    assert found.masks[1].tolist() == found.masks[2].tolist() == mask.tolist()
    assert found.weights is not None
    assert found.weights[1].tolist() == weights.tolist()
    assert (found.weights[[0, 2]] == 1).all()
    assert PixelTargets.collate(samples[::2]).weights is None


def test_classes_of_pictures() -> None:
    samples = [Sample("a", image(), class_id=255), Sample("b", image()), Sample("c", image(), class_id=0)]
    found = ClassTargets.collate(samples).classes
    assert found.dtype == torch.int64
    assert found.tolist() == [255, NO_CLASS, 0]


def test_values_keep_their_void() -> None:
    values = RNG.normal(size=SIZE).astype(np.float32)
    values[0, 0] = np.nan
    found = ValueTargets.collate([Sample("a", image(), values=values), Sample("b", image())]).values
    np.testing.assert_array_equal(found[0].numpy(), values)
    assert found[1].isnan().all()


def test_objects_are_padded_to_the_most() -> None:
    known = [objects(2, ids=True, joints=3), None, objects(3), objects(0)]
    samples = [Sample(str(n), image(), instances=each) for n, each in enumerate(known)]
    found = ObjectTargets.collate(samples)
    assert found.boxes.shape == (4, 3, 4)
    assert found.masks is not None
    assert found.keypoints is not None
    for row, each in enumerate(known):
        count = 0 if each is None else len(each)
        assert found.boxes[row, count:].isnan().all()
        assert (found.classes[row, count:] == NO_CLASS).all()
        if each is not None:
            np.testing.assert_array_equal(found.boxes[row, :count].numpy(), each.boxes)
            assert found.classes[row, :count].tolist() == each.classes.tolist()
        if each is None or each.ids is None:
            assert not found.masks[row].any()
            assert found.keypoints[row].isnan().all()
    first = known[0]
    assert first is not None
    assert first.ids is not None
    np.testing.assert_array_equal(found.masks[0].numpy(), first.ids)
    np.testing.assert_array_equal(found.keypoints[0, :2].numpy(), first.keypoints)


def test_pictures_without_objects_have_one_empty_row() -> None:
    found = ObjectTargets.collate([Sample("a", image()), Sample("b", image(), instances=objects(0))])
    assert found.boxes.shape == (2, 1, 4)
    assert found.boxes.isnan().all()
    assert found.masks is None
    assert found.keypoints is None
    assert found.ignored is None


def test_ignored_objects_are_padded_apart() -> None:
    ignored = objects(2, ids=True)
    known = [dataclasses.replace(objects(3), ignored=ignored), objects(1), None]
    found = ObjectTargets.collate([Sample(str(n), image(), instances=each) for n, each in enumerate(known)])
    assert found.ignored is not None
    assert found.ignored.shape == (3, 2, 4)
    np.testing.assert_array_equal(found.ignored[0].numpy(), ignored.boxes)
    assert found.ignored[1:].isnan().all()
    assert found.boxes.shape == (3, 3, 4)
    assert found.masks is None


def test_the_other_picture_of_a_pair() -> None:
    partners = [RNG.integers(0, 60_000, (4, 6, 1)).astype(np.uint16) for _ in range(2)]
    found = PairTargets.collate([Sample(str(n), image(), partner=each) for n, each in enumerate(partners)]).pictures
    assert found.shape == (2, 1, 4, 6)
    np.testing.assert_array_equal(found.numpy()[:, 0], np.stack(partners)[..., 0])


def every_kind() -> list[Targets]:
    mask, weights = np.zeros(SIZE, np.uint8), np.ones(SIZE, np.float32)
    proposals = np.array([[0, 0, 2, 3]], np.float32)
    sample = Sample(
        "a",
        image(),
        mask,
        dataclasses.replace(objects(2, ids=True, joints=1), ignored=objects(1)),
        weights,
        class_id=3,
        values=weights,
        partner=image(),
        proposals=proposals,
    )
    kinds: list[type[Targets]] = [
        PixelTargets,
        ClassTargets,
        ValueTargets,
        ObjectTargets,
        PairTargets,
        LocalisationTargets,
    ]
    return [kind.collate([sample]) for kind in kinds]


@pytest.mark.parametrize("targets", every_kind(), ids=lambda targets: type(targets).__name__)
def test_every_field_moves_to_a_device(targets: Targets) -> None:
    def tensors(of: Targets) -> list[torch.Tensor]:
        found = []
        for each in dataclasses.fields(of):  # type: ignore[arg-type]
            value = getattr(of, each.name)
            found += tensors(value) if isinstance(value, Targets) else [value]
        return found

    moved = targets.to(torch.device("meta"))
    assert type(moved) is type(targets)
    assert all(value.device.type == "meta" for value in tensors(moved))
    assert [value.shape for value in tensors(moved)] == [value.shape for value in tensors(targets)]
    assert all(value.device.type == "cpu" for value in tensors(targets))
    batch = Batch(torch.zeros(1, 2, *SIZE), ("a",), targets).to(torch.device("meta"))
    assert batch.images.device.type == "meta"
    assert all(value.device.type == "meta" for value in tensors(batch.targets))


def test_what_is_missing_stays_missing_on_a_device() -> None:
    plain = PixelTargets(torch.zeros(1, *SIZE, dtype=torch.long)).to(torch.device("meta"))
    assert plain.weights is None
    assert Batch(torch.zeros(1, 2, *SIZE), ("a",)).to(torch.device("meta")).targets is None


def test_a_stream_of_pictures_alone_has_no_targets() -> None:
    batch = collate([Sample("a", image(), class_id=1), Sample("b", image())], None)
    assert batch.targets is None
    assert batch.names == ("a", "b")
    assert batch.images.shape == (2, 2, *SIZE)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
