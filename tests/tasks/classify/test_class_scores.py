"""The pictures that a classifier's report shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pixelwise.data.dataset import Record
from pixelwise.inference.evaluate_classes import ClassEvaluation, PictureAnswer, telling_answers
from pixelwise.metrics import Calibration, ConfusionMatrix


def evaluation(count: int, classes: int = 3) -> ClassEvaluation:
    rng = np.random.default_rng(count)
    answers = [
        PictureAnswer(Record(str(n), Path(str(n))), int(rng.integers(classes)), rng.dirichlet(np.ones(classes)))
        for n in range(count)
    ]
    ordered = sorted(answers, key=lambda answer: -answer.probabilities[answer.truth])
    return ClassEvaluation({}, ConfusionMatrix(classes, void=None), Calibration(), tuple(ordered), 0.0)


def test_none_is_shown_twice_and_groups_are_what_they_say() -> None:
    for count in (1, 5, 200):
        groups = telling_answers(evaluation(count), each=6)
        names = [answer.record.name for answers in groups.values() for answer in answers]
        assert len(names) == len(set(names))
        assert names
        assert not any(answer.right for answer in groups.get("Wrong, and sure of it", []))
        assert all(answer.right for answer in groups.get("Right, and sure of it", []))


def test_every_class_has_its_surest_picture() -> None:
    whole = evaluation(200)
    shown = telling_answers(whole, each=6)["Right, and sure of it"]
    assert len(shown) == 6
    for class_id in range(3):
        best = next(answer for answer in whole.pictures if answer.right and answer.truth == class_id)
        assert best in shown
        assert sum(answer.truth == class_id for answer in shown) == 2
