"""Views filled by one object: all of it, in the middle, and nothing else where that is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pixelwise.data.augment import MARGIN, Augmentation
from pixelwise.data.one_object import draw_object, with_objects
from pixelwise.data.sample import VOID, Instances, Sample


def scene(channels: int = 1) -> Sample:
    """Two regions of class 2, of which one lies in the other's box, one of class 1, a speck, and some void."""
    mask = np.zeros((100, 140), np.uint8)
    mask[20:60, 10:14] = mask[56:60, 10:50] = 2  # an L
    mask[24:34, 30:40] = 2
    mask[70:90, 90:130] = 1
    mask[5, 5] = 1
    mask[95:, :] = VOID
    image = np.repeat((mask % 5 * 40)[:, :, None], channels, 2).astype(np.uint8)
    return Sample("scene", image, mask)


def test_connected_regions_are_objects() -> None:
    found = with_objects(scene()).instances
    assert found is not None
    boxes = {(class_id, *box) for class_id, box in zip(found.classes.tolist(), found.boxes.tolist(), strict=True)}
    assert boxes == {(1, 5, 5, 6, 6), (1, 90, 70, 130, 90), (2, 10, 20, 50, 60), (2, 30, 24, 40, 34)}


def test_a_speck_is_not_chosen() -> None:
    sample = with_objects(scene())
    drawn = [draw_object(sample, np.random.default_rng(seed), alone=False)[1] for seed in range(30)]
    assert {box[0] for box in drawn if box is not None} == {10, 30, 90}
    assert sample.instances is not None
    alone = Instances(sample.instances.boxes[:1], sample.instances.classes[:1])
    assert alone.boxes.tolist() == [[5, 5, 6, 6]]
    assert draw_object(replace(sample, instances=alone), np.random.default_rng(0), alone=True)[1] is None


def test_what_the_data_tells_apart_is_kept() -> None:
    sample = scene()
    assert sample.mask is not None
    ids = (sample.mask == 2).astype(np.int32)  # one object of two pieces
    told = Sample("told", sample.image, sample.mask, Instances.from_label_map(ids, 2))
    assert with_objects(told) is told
    alone, box = draw_object(told, np.random.default_rng(0), alone=True)
    assert box is not None
    assert box.tolist() == [10, 20, 50, 60]
    assert alone.mask is not None
    np.testing.assert_array_equal(alone.mask == 2, sample.mask == 2)


@pytest.mark.parametrize("seed", range(8))
def test_nothing_else_is_labelled(seed: int) -> None:
    sample = with_objects(scene())
    before = sample.mask
    assert before is not None
    kept = before.copy()
    alone, box = draw_object(sample, np.random.default_rng(seed), alone=True)
    assert alone.mask is not None
    assert box is not None
    np.testing.assert_array_equal(before, kept)  # the cache's own mask
    np.testing.assert_array_equal(alone.mask == VOID, before == VOID)
    rows, columns = np.nonzero((alone.mask > 0) & (alone.mask != VOID))
    assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == box.tolist()
    assert len(np.unique(alone.mask[rows, columns])) == 1
    # The L has 304 pixels, and the region in its box is not among them.
    assert len(rows) in {304, 100, 800}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("scale", [(1.0, 1.0), (1.0, 1.15)])
@pytest.mark.parametrize("flip", ["none", "both"])
def test_the_object_fills_the_crop(seed: int, scale: tuple[float, float], flip: str) -> None:
    augment = Augmentation(crop=(64, 96), scale=scale, flip=flip, objects=1.0, alone=True)
    crop = augment(with_objects(scene()), np.random.default_rng(seed))
    assert crop.mask is not None
    assert crop.image.shape == (64, 96, 1)
    rows, columns = np.nonzero((crop.mask > 0) & (crop.mask != VOID))
    tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
    shares = (tall / 64, wide / 96)
    assert max(shares) == pytest.approx(1 / MARGIN, rel=0.16 if scale[1] > 1 else 0.03)
    middle = ((columns.min() + columns.max() + 1) / 2 / 96, (rows.min() + rows.max() + 1) / 2 / 64)
    tolerance = 0.02 if scale[1] == 1 else 0.09
    assert middle == pytest.approx((0.5, 0.5), abs=tolerance)


def test_without_an_object_a_view_is_as_any_other() -> None:
    empty = with_objects(Sample("empty", np.zeros((50, 50, 3), np.uint8), np.zeros((50, 50), np.uint8)))
    unlabelled = with_objects(Sample("unlabelled", np.zeros((50, 50, 3), np.uint8)))
    augment = Augmentation(crop=(20, 30), objects=1.0, alone=True)
    for sample in (empty, unlabelled):
        assert augment(sample, np.random.default_rng(0)).image.shape == (20, 30, 3)


def test_objects_that_are_not_asked_for_change_nothing() -> None:
    augment = Augmentation(crop=(40, 40), scale=(0.8, 1.3), rotate=10)
    sample = with_objects(scene())
    plain = augment(scene(), np.random.default_rng(3))
    also = augment.model_copy(update={"alone": True})(sample, np.random.default_rng(3))
    np.testing.assert_array_equal(plain.image, also.image)
    np.testing.assert_array_equal(plain.mask, also.mask)
