"""VOC's average precision: the published literals, and detections of one picture and of several."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pixelwise.errors import UserError
from pixelwise.metrics import voc_average_precision
from pixelwise.metrics.average_precision import VocScore
from pixelwise.metrics.ignored import Ignored


@pytest.mark.parametrize(
    ("pattern", "positives", "area", "eleven"),
    [
        ("TTT", 10, 0.3, 0.272727),
        ("TFTFT", 5, 0.453333, 0.448485),
        ("TFTT", 4, 0.625, 0.613636),
        ("TTFT", 4, 0.6875, 0.681818),
        ("", 4, 0.0, 0.0),
        ("FF", 4, 0.0, 0.0),
    ],
)
def test_literals(pattern: str, positives: int, area: float, eleven: float) -> None:
    correct = [letter == "T" for letter in pattern]
    assert voc_average_precision(correct, positives) == pytest.approx(area, abs=1e-6)
    assert voc_average_precision(correct, positives, kind="11-point") == pytest.approx(eleven, abs=1e-6)


def test_no_objects_and_unknown_kinds() -> None:
    assert math.isnan(voc_average_precision([False], 0))
    with pytest.raises(UserError, match="did you mean 'area'"):
        voc_average_precision([True], 1, kind="aera")  # type: ignore[arg-type]


def picture(rows: list[list[float]]) -> np.ndarray:
    return np.array(rows, np.float64)


def test_a_second_detection_of_an_object_is_wrong_even_where_another_is_free() -> None:
    """The challenge takes the object of the largest overlap, not the best that is left."""
    score = VocScore([1])
    overlaps = picture([[0.9, 0.6], [0.8, 0.7], [0.0, 0.5]])
    score.update(overlaps, np.ones(3, int), np.array([0.9, 0.8, 0.7]), np.ones(2, int))
    assert score.by_class() == {1: pytest.approx(0.5)}, "an IoU of 0.5 is not above the threshold"
    recall, precision = score.curve(1)
    assert recall.tolist() == [0.5, 0.5, 0.5]
    assert precision.tolist() == pytest.approx([1, 1 / 2, 1 / 3])


def test_the_recommended_confidence_has_the_highest_f1() -> None:
    """Right, right, wrong, right, wrong of four objects: F1 4/6, 4/7, 6/8, 6/9 after the second to the last."""
    score = VocScore([1, 2])
    overlaps = np.zeros((5, 4))
    overlaps[[0, 1, 3], [0, 1, 2]] = 0.9
    confidences = np.array([0.9, 0.8004, 0.7, 0.6006, 0.5])
    score.update(overlaps, np.array([1, 1, 2, 1, 2]), confidences, np.ones(4, int))
    found = score.recommended()
    assert found is not None
    assert found["confidence"] == 0.6, "rounded down, so that the detection itself counts"
    assert (found["f1"], found["precision"], found["recall"]) == (0.75, 0.75, 0.75)
    assert VocScore([1]).recommended() is None


def test_detections_of_one_confidence_come_together() -> None:
    score = VocScore([1])
    score.update(np.array([[0.9], [0.0]]), np.ones(2, int), np.array([0.5, 0.5]), np.ones(1, int))
    found = score.recommended()
    assert found is not None
    assert found["precision"] == 0.5


def test_all_pictures_count_together_and_parts_merge() -> None:
    whole, first, second = VocScore([1, 2]), VocScore([1, 2]), VocScore([1, 2])
    pictures = [
        (picture([[0.9]]), np.array([1]), np.array([0.7]), np.array([1])),
        (np.zeros((1, 0)), np.array([1]), np.array([0.9]), np.zeros(0, int)),
        (np.zeros((0, 1)), np.zeros(0, int), np.zeros(0), np.array([2])),
    ]
    for number, each in enumerate(pictures):
        whole.update(*each)
        (first if number < 2 else second).update(*each)
    first.merge(second)
    assert first.by_class() == whole.by_class() == {1: 0.5, 2: 0.0}
    assert whole.mean() == 0.25
    assert math.isnan(VocScore([1]).mean())


def test_difficult_objects_and_crowds_are_neither_right_nor_wrong() -> None:
    """By confidence: right, on the difficult object, on the difficult object once more, in the crowd, on the difficult
    object of another class (wrong), nearer to the difficult object than to the one that is free, background (wrong)."""
    overlaps = np.array([[0.8], [0.0], [0.0], [0.3], [0.0], [0.6], [0.0]])
    hidden = np.array(
        [
            # difficult, crowd, difficult of class 2
            [0.6, 1.0, 0.0],
            [0.9, 0.0, 0.0],
            [0.7, 0.0, 0.0],
            [0.0, 0.6, 0.0],
            [0.0, 0.0, 0.9],
            [0.7, 0.0, 0.0],
            [0.4, 0.5, 0.0],
        ]
    )
    ignored = Ignored(hidden, np.array([1, 1, 2]), np.array([False, True, False]))
    score = VocScore([1, 2])
    score.update(overlaps, np.ones(7, int), np.linspace(0.9, 0.3, 7), np.ones(1, int), ignored)
    assert score.positives == {1: 1, 2: 0}
    recall, precision = score.curve(1)
    assert recall.tolist() == [1, 1, 1]
    assert precision.tolist() == pytest.approx([1, 1 / 2, 1 / 3])
