"""Objects from label maps, against scikit-image; windows of pictures, against brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.measure import regionprops

from pixelwise.data.sample import Instances, Sample

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


def test_ignored_objects_go_along_and_are_not_counted() -> None:
    label_map = np.zeros((9, 12), np.int64)
    label_map[2:8, 3:9], label_map[8, 11] = 1, 2
    crowds = replace(Instances.from_label_map(label_map), crowd=np.array([True, False]))
    objects = replace(drawn_objects(3, ids=True), ignored=crowds)
    assert objects.nbytes > replace(objects, ignored=None).nbytes
    assert len(objects) == len(drawn_objects(3, ids=True))
    part = objects.window(4, 2, 3, 4)
    assert part.ignored is not None
    assert part.ignored.crowd is not None
    assert part.ignored.ids is not None
    assert part.ignored.boxes.tolist() == [[1, 0, 4, 3]]
    assert part.ignored.crowd.tolist() == [True]
    assert part.ignored.ids.tolist() == [[0, 1, 1, 1]] * 3
    assert part.select([]).ignored is part.ignored
    assert crowds.select([1]).crowd.tolist() == [False]  # type: ignore[union-attr]


def drawn_objects(seed: int, *, ids: bool) -> Instances:
    """Up to five rectangles that cover each other, on 9 x 12 pixels, then two boxes alone."""
    rng = np.random.default_rng(seed)
    label_map = np.zeros((9, 12), np.int32)
    for number in range(1, 6):
        top, left = rng.integers(0, 7), rng.integers(0, 10)
        label_map[top : top + rng.integers(1, 5), left : left + rng.integers(1, 6)] = number
    outlined = Instances.from_label_map(label_map)
    low = rng.uniform(0, 8, (2, 2))
    alone = np.concatenate([low, low + rng.uniform(0.5, 4, (2, 2))], 1).astype(np.float32)
    boxes = np.concatenate([outlined.boxes, alone])
    keypoints = rng.uniform(0, 9, (len(boxes), 3, 3)).astype(np.float32)
    keypoints[..., 2] = 1
    return Instances(
        boxes, rng.integers(1, 9, len(boxes)), outlined.ids if ids else None, keypoints, ((0, 1),), boxes + 0.25
    )


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 10_000), st.booleans(), st.integers(0, 8), st.integers(0, 11), st.integers(1, 9), st.integers(1, 9)
)
def test_a_window_holds_what_is_in_it(seed: int, ids: bool, top: int, left: int, height: int, width: int) -> None:
    """Object by object, pixel by pixel."""
    whole = drawn_objects(seed, ids=ids)
    height, width = min(height, 9 - top), min(width, 12 - left)
    found = whole.window(top, left, height, width)
    expected = []
    for index, box in enumerate(whole.boxes):
        x0, y0, x1, y1 = (
            min(max(float(edge) - corner, 0.0), float(side))
            for edge, corner, side in zip(box, (left, top) * 2, (width, height) * 2, strict=True)
        )
        pixels = [
            (y, x)
            for y in range(height)
            for x in range(width)
            if whole.ids is not None and whole.ids[top + y, left + x] == index + 1
        ]
        outlined = index < whole.outlined
        if x1 > x0 and y1 > y0 and (pixels or not outlined):
            expected.append((index, [x0, y0, x1, y1], pixels))
    assert found.classes.tolist() == [int(whole.classes[index]) for index, _, _ in expected]
    assert found.sides == whole.sides
    assert found.keypoints is not None
    assert found.extents is not None
    for number, (index, box, pixels) in enumerate(expected):
        np.testing.assert_allclose(found.boxes[number], box, atol=1e-6)
        assert np.array_equal(found.extents[number], whole.extents[index] - np.float32([left, top, left, top]))  # type: ignore[index]
        if found.ids is not None:
            assert list(zip(*np.nonzero(found.ids == number + 1), strict=True)) == pixels
        for joint, (x, y, visible) in zip(found.keypoints[number], whole.keypoints[index], strict=True):  # type: ignore[index]
            np.testing.assert_allclose(joint[:2], [x - left, y - top], atol=1e-6)
            assert joint[2] == (visible if left <= x < left + width and top <= y < top + height else 0)
    if whole.ids is not None:
        assert found.ids is not None
        assert found.ids.shape == (height, width)
        assert np.array_equal(found.ids > 0, whole.ids[top : top + height, left : left + width] > 0)
    assert found.outlined == sum(bool(pixels) for _, _, pixels in expected)


def test_a_window_of_a_sample_is_smaller_at_the_edge_and_shows_the_same_part_of_a_partner() -> None:
    image = np.arange(9 * 12).reshape(9, 12, 1)
    whole = Sample("a", image, class_id=3, partner=image, instances=drawn_objects(1, ids=True))
    part = whole.window(6, 7, 10, 10)
    assert part.image.shape == (3, 5, 1)
    assert part.instances is not None
    assert part.instances.ids is not None
    assert part.instances.ids.shape == (3, 5)
    assert part.instances.boxes.max() <= 5
    assert part.partner is not None
    np.testing.assert_array_equal(part.partner, part.image)
    assert replace(whole, paired=False).window(6, 7, 10, 10).partner is None
    assert part.class_id == 3
