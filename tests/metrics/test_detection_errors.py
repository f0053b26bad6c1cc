"""Each kind of detection once, by hand."""

from __future__ import annotations

import numpy as np

from pixelwise.metrics.detection_errors import kinds_of_detections


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
