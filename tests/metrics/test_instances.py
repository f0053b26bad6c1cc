"""Matching of objects against sets of pixels, compared one by one."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.metrics import InstanceScore, overlaps
from pixelwise.metrics import instances as module
from pixelwise.metrics.instances import THRESHOLDS


def objects(ids: np.ndarray) -> list[set[int]]:
    flat = ids.ravel().tolist()
    return [{place for place, value in enumerate(flat) if value == number} for number in sorted(set(flat) - {0})]


def iou(a: set[int], b: set[int]) -> Fraction:
    return Fraction(len(a & b), len(a | b))


def brute_force(predicted: np.ndarray, true: np.ndarray) -> tuple[list[int], float]:
    """Hits at every threshold and AJI, by comparing every object with every other."""
    guesses, truths = objects(predicted), objects(true)
    hits = [sum(iou(a, b) > Fraction(t).limit_denominator(100) for a in truths for b in guesses) for t in THRESHOLDS]
    intersection = union = 0
    used: set[int] = set()
    for a in truths:
        scores = [iou(a, b) for b in guesses]
        best = max(range(len(guesses)), key=scores.__getitem__, default=None)
        if best is None or not scores[best]:
            union += len(a)
            continue
        intersection += len(a & guesses[best])
        union += len(a | guesses[best])
        used.add(best)
    union += sum(len(guess) for number, guess in enumerate(guesses) if number not in used)
    return hits, intersection / union if union else 1.0


@st.composite
def label_maps(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A label map and a damaged copy: some pixels changed, ids shuffled and with gaps."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, height, width = draw(st.integers(0, 6)), draw(st.integers(1, 12)), draw(st.integers(1, 12))
    true = np.kron(rng.integers(0, count + 1, (-(-height // 3), -(-width // 3))), np.ones((3, 3), int))[:height, :width]
    damaged = np.where(
        rng.random(true.shape) < draw(st.sampled_from([0.0, 0.1, 0.4])), rng.integers(0, 9, true.shape), true
    )
    names = np.concatenate([[0], rng.permutation(np.arange(1, 60))[:9]])
    return names[damaged], true


@settings(max_examples=150, deadline=None)
@given(label_maps(), st.booleans())
def test_equals_brute_force(pair: tuple[np.ndarray, np.ndarray], sparse: bool) -> None:
    predicted, true = pair
    with pytest.MonkeyPatch.context() as patch:
        if sparse:
            patch.setattr(module, "DENSE", -1)
        score = InstanceScore()
        score.update(predicted, true)
    hits, jaccard = brute_force(predicted, true)
    truths, guesses = len(objects(true)), len(objects(predicted))
    assert score.true_positives.tolist() == hits
    assert score.false_negatives.tolist() == [truths - hit for hit in hits]
    assert score.false_positives.tolist() == [guesses - hit for hit in hits]
    assert score.aggregated_jaccard() == pytest.approx(jaccard)
    if truths + guesses:
        expected = np.mean([hit / (truths + guesses - hit) for hit in hits])
        assert score.dsb_score() == pytest.approx(expected)
        assert score.f1() == pytest.approx(2 * hits[0] / (truths + guesses))


@settings(max_examples=60, deadline=None)
@given(label_maps(), st.integers(0, 2**32 - 1))
def test_of_several_classes_each_is_matched_by_itself(pair: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = [np.unique(ids[ids > 0]) for ids in pair]
    classes = [rng.integers(1, 4, len(ids)) for ids in numbers]
    together = InstanceScore()
    together.update(*pair, (classes[0], classes[1]))
    apart = InstanceScore()
    for class_id in (1, 2, 3):
        kept = [of[which == class_id] for of, which in zip(numbers, classes, strict=True)]
        apart.update(*(np.where(np.isin(ids, some), ids, 0) for ids, some in zip(pair, kept, strict=True)))
    assert together.true_positives.tolist() == apart.true_positives.tolist()
    assert (together.true_objects, together.predicted_objects) == (apart.true_objects, apart.predicted_objects)
    with pytest.raises(ValueError, match="one class per object expected"):
        together.update(*pair, (classes[0], np.append(classes[1], 1)))


def test_pictures_in_any_order_and_grouping() -> None:
    rng = np.random.default_rng(0)
    pictures = [(rng.integers(0, 4, (6, 6)), rng.integers(0, 4, (6, 6))) for _ in range(20)]
    forward, backward = InstanceScore(), InstanceScore()
    for predicted, true in pictures:
        forward.update(predicted, true)
    for predicted, true in reversed(pictures):
        single = InstanceScore()
        single.update(predicted, true)
        backward.merge(single)
    assert forward.summary() == backward.summary()


def test_hand_example() -> None:
    true = np.array([[1, 1, 1, 1, 0, 2, 2, 2]])
    predicted = np.array([[7, 7, 7, 0, 0, 0, 9, 9]])
    found = overlaps(predicted, true)
    assert found.iou.tolist() == [3 / 4, 2 / 3]
    score = InstanceScore(thresholds=(0.5, 0.7))
    score.update(predicted, true)
    assert score.true_positives.tolist() == [2, 1]
    assert score.f1() == 1.0
    assert score.dsb_score() == pytest.approx((2 / 2 + 1 / 3) / 2)
    assert score.aggregated_jaccard() == pytest.approx(5 / 7)


def test_half_an_object_is_no_hit() -> None:
    """At an IoU of exactly one half two predictions could claim one object; the limit is exclusive."""
    score = InstanceScore()
    score.update(np.array([[1, 1, 2, 2]]), np.array([[1, 1, 1, 1]]))
    assert score.true_positives[0] == 0


def test_of_equal_partners_the_first_is_taken() -> None:
    """Six true pixels share two with an object of two, and three with one of six: IoU 1/3 both, but other sums."""
    true = np.array([[1] * 6 + [0] * 3])
    predicted = np.array([[7] * 2 + [0] + [9] * 6])
    assert overlaps(predicted, true).iou.tolist() == [1 / 3, 1 / 3]
    score = InstanceScore()
    score.update(predicted, true)
    assert score.aggregated_jaccard() == pytest.approx(2 / (6 + 6))
    score = InstanceScore()
    score.update(np.where(predicted == 7, 11, predicted), true)
    assert score.aggregated_jaccard() == pytest.approx(3 / (9 + 2))


def test_empty_pictures() -> None:
    nothing, something = np.zeros((3, 3), int), np.eye(3, dtype=int)
    score = InstanceScore()
    assert math.isnan(score.dsb_score())
    assert score.summary()["f1_50"] is None
    score.update(nothing, nothing)
    assert (score.dsb_score(), score.aggregated_jaccard(), score.pictures) == (1.0, 1.0, 1)
    score.update(nothing, something)
    score.update(something, nothing)
    assert score.dsb_score() == score.aggregated_jaccard() == pytest.approx(1 / 3)
    assert score.f1() == 0.0


def test_huge_ids() -> None:
    ids = np.array([[0, 2**40], [2**40, 5]])
    score = InstanceScore()
    score.update(ids, (ids > 0) * np.array([[1, 1], [1, 2]]))
    assert score.f1(0.5) == 1.0


def test_misuse() -> None:
    score = InstanceScore()
    with pytest.raises(ValueError, match=r"\(2, 2\) but the true one is \(2, 3\)"):
        score.update(np.zeros((2, 2), int), np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="start at 0, found -1"):
        score.update(np.full((2, 2), -1), np.zeros((2, 2), int))
    with pytest.raises(ValueError, match="thresholds lie in"):
        InstanceScore((0.3,))
    with pytest.raises(ValueError, match=r"threshold 0\.51 was not counted"):
        score.f1(0.51)
    with pytest.raises(ValueError, match="cannot be added"):
        score.merge(InstanceScore((0.5,)))
