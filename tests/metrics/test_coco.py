"""COCO's average precision by hand, over all pictures, and where there is nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from faster_coco_eval.core import mask as rle

from pixelwise.metrics.coco import CocoScore, encoded

NONE = np.zeros((0, 4)), np.zeros(0, np.int64), None


def boxes(*lefts: float, side: float = 40) -> np.ndarray:
    return np.array([[left, 0, left + side, side] for left in lefts], np.float64).reshape(-1, 4)


def ones(count: int) -> np.ndarray:
    return np.ones(count, np.int64)


def test_average_precision_by_hand() -> None:
    """Right, wrong, right of two objects: precision 1 up to a recall of a half, 2/3 beyond it."""
    score = CocoScore([1])
    found = boxes(0, 500, 100)
    score.update((boxes(0, 100), ones(2), None), (found, ones(3), None), np.array([0.9, 0.8, 0.7]), (50, 600))
    expected = (51 * 1 + 50 * 2 / 3) / 101
    values = score.average_precision()
    assert values["ap50"] == pytest.approx(expected)
    assert (values["ap"], values["ap75"]) == (pytest.approx(expected), pytest.approx(expected))
    assert values["ap_medium"] == pytest.approx(expected)
    assert math.isnan(values["ap_small"])
    assert score.by_class() == {1: (pytest.approx(expected), pytest.approx(expected))}


def test_the_thresholds_of_iou() -> None:
    """Boxes of 40 x 40, moved by 4: an IoU of 36 / 44 = 0.818 counts at seven of ten thresholds."""
    score = CocoScore([1])
    score.update((boxes(0), ones(1), None), (boxes(4), ones(1), None), np.array([0.9]), (50, 50))
    values = score.average_precision()
    assert (values["ap50"], values["ap75"]) == (pytest.approx(1), pytest.approx(1))
    assert values["ap"] == pytest.approx(0.7)


def test_pictures_count_together_and_parts_merge() -> None:
    """A confident mistake in an empty picture costs the objects of all others; the mean over pictures would not."""
    whole, first, second = CocoScore([1, 2]), CocoScore([1, 2]), CocoScore([1, 2])
    pictures = [
        ((boxes(0), ones(1), None), (boxes(0), ones(1), None), np.array([0.8])),
        (NONE, (boxes(0), ones(1), None), np.array([0.9])),
        ((boxes(0), 2 * ones(1), None), NONE, np.zeros(0)),
    ]
    for number, picture in enumerate(pictures):
        whole.update(*picture, (50, 50))
        (first if number < 1 else second).update(*picture, (50, 50))
    first.merge(second)
    assert first.average_precision() == pytest.approx(whole.average_precision(), nan_ok=True)
    assert whole.by_class()[1] == (pytest.approx(0.5), pytest.approx(0.5))
    assert whole.by_class()[2] == (0.0, 0.0)
    assert whole.average_precision()["ap50"] == pytest.approx(0.25)


def test_a_part_of_a_picture_is_encoded_as_the_whole() -> None:
    draw = np.random.default_rng(0)
    for height, width, top, left in ((5, 7, 0, 0), (5, 7, 3, 2), (1, 1, 4, 6), (8, 9, 0, 0)):
        part = draw.random((height, width)) < 0.5
        whole = np.zeros((top + height + 2, left + width + 3), bool)
        whole[top : top + height, left : left + width] = part
        found = encoded(part, whole.shape, top, left)
        assert found == encoded(whole)
        assert found == rle.encode(np.asfortranarray(whole, np.uint8))
        assert (rle.decode(found) == whole).all()
    nothing = encoded(np.zeros((3, 4), bool), (9, 9), 2, 2)
    assert rle.area(nothing) == 0
    assert (rle.decode(encoded(np.ones((3, 4), bool))) == 1).all()


def test_masks_have_an_iou_of_their_own() -> None:
    """Two triangles that fill the same box, but not each other."""
    lower, upper = np.tril(np.ones((40, 40), bool)), np.triu(np.ones((40, 40), bool))
    score = CocoScore([1])
    box = boxes(0)
    score.update((box, ones(1), [encoded(lower)]), (box, ones(1), [encoded(upper)]), np.array([0.9]), (40, 40))
    assert score.average_precision("bbox")["ap50"] == pytest.approx(1)
    assert score.average_precision("segm")["ap50"] == 0


def test_more_than_a_hundred_objects_of_a_picture_count() -> None:
    score = CocoScore([1])
    many = boxes(*range(0, 50 * 150, 50))
    score.update((many, ones(150), None), (many, ones(150), None), np.linspace(0.9, 0.1, 150), (50, 7500))
    assert score.average_precision()["ap50"] == pytest.approx(1)


def test_nothing_found_and_nothing_there() -> None:
    score = CocoScore([1])
    score.update(NONE, NONE, np.zeros(0), (10, 10))
    assert all(math.isnan(value) for value in score.average_precision().values())
    score.update((boxes(0), ones(1), None), NONE, np.zeros(0), (50, 50))
    assert score.average_precision()["ap50"] == 0
    assert score.by_class() == {1: (0.0, 0.0)}


def test_detections_in_a_crowd_are_neither_right_nor_wrong() -> None:
    """Several in the crowd of their class, one of another class there, and one that half lies outside of it."""
    crowd = np.array([[100.0, 0, 300, 50]]), ones(1), None
    found = np.array([[0.0, 0, 40, 40], [110, 0, 150, 40], [160, 0, 200, 40], [110, 0, 150, 40], [285, 0, 325, 40]])
    classes = np.array([1, 1, 1, 2, 1])
    plain, score = CocoScore([1, 2]), CocoScore([1, 2])
    for one, ignored in ((plain, None), (score, crowd)):
        truth = np.concatenate([boxes(0), boxes(600)]), np.array([1, 2]), None
        one.update(truth, (found, classes, None), np.array([0.5, 0.9, 0.8, 0.7, 0.4]), (50, 700), ignored)
    assert score.objects == 2
    assert plain.by_class()[1][1] == pytest.approx(1 / 3)
    assert score.by_class() == {1: (pytest.approx(1), pytest.approx(1)), 2: (0, 0)}


def test_a_class_of_crowds_alone_has_no_score() -> None:
    for found in (NONE, (boxes(0), ones(1), None)):
        score = CocoScore([1, 2])
        score.update(
            (boxes(0), 2 * ones(1), None), found, np.full(len(found[0]), 0.5), (50, 50), (boxes(0), ones(1), None)
        )
        assert score.by_class() == {2: (0.0, 0.0)}
