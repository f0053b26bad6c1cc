"""Each kind of detection once, by hand."""

from __future__ import annotations

import numpy as np

from pixelwise.metrics.detection_errors import kinds_of_detections
from pixelwise.metrics.ignored import Ignored
from pixelwise.metrics.localisation import DetectionScore


def test_every_kind() -> None:
    """Two objects of class 1 and one of class 2; the last object is missed."""
    overlaps = np.array(
        [
            [0.8, 0.0, 0.0],  # right
            [0.7, 0.0, 0.0],  # doubled, less confident
            [0.0, 0.0, 0.6],  # class 1 on the object of class 2
            [0.0, 0.3, 0.0],  # near the second object
            [0.0, 0.05, 0.0],  # nowhere
        ]
    )
    confidences = np.array([0.9, 0.8, 0.7, 0.6, 0.95])
    kinds, found = kinds_of_detections(overlaps, np.ones(5, int), confidences, np.array([1, 1, 2]))
    assert kinds == ["right", "doubled", "wrong class", "badly placed", "background"]
    assert found.tolist() == [True, False, False]


def test_the_more_confident_detection_has_the_object() -> None:
    overlaps = np.array([[0.6], [0.9]])
    kinds, _ = kinds_of_detections(overlaps, np.ones(2, int), np.array([0.9, 0.8]), np.ones(1, int))
    assert kinds == ["right", "doubled"]


def test_no_objects_and_no_detections() -> None:
    kinds, found = kinds_of_detections(np.zeros((1, 0)), np.ones(1, int), np.ones(1), np.zeros(0, int))
    assert (kinds, found.tolist()) == (["background"], [])
    kinds, found = kinds_of_detections(np.zeros((0, 2)), np.zeros(0, int), np.zeros(0), np.ones(2, int))
    assert (kinds, found.tolist()) == ([], [False, False])


def test_detections_on_ignored_objects_count_only_where_they_are_right() -> None:
    overlaps = np.array([[0.8], [0.7], [0.0], [0.0]])
    hidden = Ignored(
        np.array([[0.9, 0.0], [0.9, 0.0], [0.0, 0.5], [0.0, 0.4]]), np.array([1, 1]), np.array([True, False])
    )
    confidences, classes, true = np.array([0.9, 0.8, 0.7, 0.6]), np.ones(4, int), np.ones(1, int)
    kinds, found = kinds_of_detections(overlaps, classes, confidences, true, hidden)
    assert kinds == ["right", "ignored", "ignored", "background"]
    assert found.tolist() == [True]
    score = DetectionScore(0.5)
    score.update(overlaps, classes, confidences, true, hidden)
    assert (score.objects, score.boxes, score.right) == (1, 2, 1)
