"""Objects from label maps, against scikit-image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.measure import regionprops

from pixelwise.data.sample import Instances

label_maps = arrays(
    np.int64, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from([0, 0, 1, 4, 9])
)


@settings(max_examples=100, deadline=None)
@given(label_maps)
def test_boxes_and_ids_against_scikit_image(ids: np.ndarray) -> None:
    found = Instances.from_label_map(ids)
    regions = regionprops(ids)
    expected = [[region.bbox[1], region.bbox[0], region.bbox[3], region.bbox[2]] for region in regions]
    np.testing.assert_array_equal(found.boxes, np.array(expected, np.float32).reshape(-1, 4))
    assert found.ids is not None
    for index, region in enumerate(regions, start=1):
        np.testing.assert_array_equal(found.ids == index, ids == region.label)
    np.testing.assert_array_equal(found.ids == 0, ids == 0)
    assert found.classes.tolist() == [1] * len(regions)


@settings(max_examples=50, deadline=None)
@given(label_maps)
def test_huge_ids_are_only_names(ids: np.ndarray) -> None:
    small, huge = Instances.from_label_map(ids), Instances.from_label_map(ids * 100_000_007)
    np.testing.assert_array_equal(small.boxes, huge.boxes)
    np.testing.assert_array_equal(small.ids, huge.ids)


def test_classes_follow_the_rising_ids() -> None:
    found = Instances.from_label_map(np.array([[7, 0, 2]]), np.array([5, 3]))
    assert found.classes.tolist() == [5, 3]
    np.testing.assert_array_equal(found.ids, [[2, 0, 1]])
    np.testing.assert_array_equal(found.boxes, [[2, 0, 3, 1], [0, 0, 1, 1]])


def test_no_objects() -> None:
    found = Instances.from_label_map(np.zeros((3, 4), np.int64))
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


def test_selected_objects_keep_all_but_the_label_map() -> None:
    ids = np.array([[1, 0, 2], [3, 3, 0]], np.int32)
    plain = Instances.from_label_map(ids, np.array([5, 6, 7]))
    keypoints = np.arange(3 * 2 * 3, dtype=np.float32).reshape(3, 2, 3)
    objects = replace(plain, keypoints=keypoints, sides=((0, 1),), extents=plain.boxes + 0.5)
    for which in ([2, 0], np.array([2, 0])):
        chosen = objects.select(which)
        assert chosen.classes.tolist() == [7, 5]
        assert chosen.ids is None
        assert chosen.sides == ((0, 1),)
        assert chosen.keypoints is not None
        assert chosen.extents is not None
        assert np.array_equal(chosen.keypoints, keypoints[[2, 0]])
        assert np.array_equal(chosen.extents, chosen.boxes + 0.5)
    assert objects.select(np.array([False, True, False])).classes.tolist() == [6]
