"""Boundaries and their F-score against their definition by loops, and by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import ndimage

from pixelwise.metrics import BoundaryScore, boundaries

VOID = 255


def maps(seed: int, classes: int = 3, size: tuple[int, int] = (23, 31)) -> tuple[np.ndarray, np.ndarray]:
    """Two blobby label maps that are alike, the second with void."""
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(classes, *size)), (0, 3, 3))
    target = fields.argmax(0).astype(np.uint8)
    prediction = (fields + 0.3 * ndimage.gaussian_filter(rng.normal(size=fields.shape), (0, 2, 2))).argmax(0)
    target[ndimage.gaussian_filter(rng.normal(size=size), 2) > 0.15] = VOID
    return prediction.astype(np.uint8), target


def boundary_by_loops(mask: np.ndarray) -> set[tuple[int, int]]:
    height, width = mask.shape
    found = set()
    for y in range(height):
        for x in range(width):
            for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                if 0 <= y + dy < height and 0 <= x + dx < width and mask[y, x] != VOID:
                    other = mask[y + dy, x + dx]
                    if other not in (VOID, mask[y, x]):
                        found.add((y, x))
    return found


def counts_by_loops(prediction: np.ndarray, target: np.ndarray, k: int, tolerance: float) -> tuple[int, int, int, int]:
    prediction = np.where(target == VOID, VOID, prediction)
    found = [place for place in boundary_by_loops(prediction) if prediction[place] == k]
    wanted = [place for place in boundary_by_loops(target) if target[place] == k]

    def near(these: list[tuple[int, int]], others: list[tuple[int, int]]) -> int:
        return sum(any(math.dist(a, b) <= tolerance for b in others) for a in these)

    return near(found, wanted), len(found), near(wanted, found), len(wanted)


@pytest.mark.parametrize("seed", range(4))
def test_boundaries_equal_the_definition_by_loops(seed: int) -> None:
    _, mask = maps(seed)
    assert set(zip(*(axis.tolist() for axis in np.nonzero(boundaries(mask))), strict=True)) == boundary_by_loops(mask)


@pytest.mark.parametrize("tolerance", [0.0, 1.0, math.sqrt(2), 2.9, 5.0, None])
def test_counts_equal_the_definition_by_loops(tolerance: float | None) -> None:
    score = BoundaryScore(["a", "b", "c", "absent"], tolerance)
    expected = np.zeros((4, 4), int)
    for seed in range(3):
        prediction, target = maps(seed)
        score.update(prediction, target)
        within = 0.0075 * math.hypot(23, 31) if tolerance is None else tolerance
        expected += [counts_by_loops(prediction, target, k, within) for k in range(4)]
    assert np.array_equal(np.stack([score.near_predicted, score.predicted, score.near_true, score.true], 1), expected)
    precision, recall = expected[:3, 0] / expected[:3, 1], expected[:3, 2] / expected[:3, 3]
    np.testing.assert_allclose(score.f()[:3], 2 * precision * recall / (precision + recall))
    assert np.isnan(score.f()[3])
    assert score.mean_f() == pytest.approx(score.f()[:3].mean())


def test_an_edge_that_is_two_pixels_off_is_found_from_a_tolerance_of_one_on() -> None:
    target, prediction = np.zeros((10, 20), np.uint8), np.zeros((10, 20), np.uint8)
    target[:, 10:], prediction[:, 12:] = 1, 1
    # Boundary pixels of class 0: column 9 in the truth, 11 predicted; of class 1: 10 and 12.
    for tolerance, expected in ((0, 0.0), (1, 0.0), (1.9, 0.0), (2, 1.0), (7, 1.0)):
        score = BoundaryScore(["left", "right"], tolerance)
        score.update(prediction, target)
        assert score.f().tolist() == [expected, expected]


def test_a_perfect_prediction_scores_1_and_one_without_edges_0() -> None:
    prediction, target = maps(0)
    score = BoundaryScore(["a", "b", "c"])
    score.update(np.where(target == VOID, prediction, target), target)
    assert score.f().tolist() == [1, 1, 1]
    flat = BoundaryScore(["a", "b", "c"])
    flat.update(np.zeros_like(target), target)
    assert flat.f().tolist() == [0, 0, 0]
    assert np.isnan(flat.precision()).all()


def test_what_is_predicted_on_void_does_not_count() -> None:
    prediction, target = maps(1)
    one, other = BoundaryScore(["a", "b", "c"]), BoundaryScore(["a", "b", "c"])
    one.update(prediction, target)
    other.update(np.where(target == VOID, np.random.default_rng(0).integers(0, 3, target.shape), prediction), target)
    assert one.summary() == other.summary()
    nothing = BoundaryScore(["a"])
    nothing.update(np.zeros((3, 4), np.uint8), np.full((3, 4), VOID, np.uint8))
    assert nothing.summary()["mean_f"] is None


def test_pictures_add_up_and_the_summary_is_json_with_a_definition() -> None:
    names = ["a", "b", "c"]
    both, first, second = BoundaryScore(names), BoundaryScore(names), BoundaryScore(names)
    for seed, part in ((0, first), (1, second)):
        both.update(*maps(seed))
        part.update(*maps(seed))
    first.merge(second)
    assert first.summary("val") == both.summary("val")
    definition = json.loads(json.dumps(both.summary("val"), allow_nan=False))["definition"]
    assert "0.75 % of the picture's diagonal" in definition
    assert "3 of 3 classes" in definition
    assert "val split" in definition
    assert "tolerance 2 pixels" in BoundaryScore(names, 2).summary()["definition"]


def test_one_pixel_and_mistakes() -> None:
    score = BoundaryScore(["a", "b"])
    score.update(np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8))
    assert math.isnan(score.mean_f())
    with pytest.raises(ValueError, match="prediction is"):
        score.update(np.zeros((1, 2), np.uint8), np.zeros((2, 1), np.uint8))
    with pytest.raises(ValueError, match="at least 0"):
        BoundaryScore(["a"], -1)
    with pytest.raises(ValueError, match="classes"):
        BoundaryScore([])
    with pytest.raises(ValueError, match="cannot be added"):
        score.merge(BoundaryScore(["a", "b"], 3))
