"""What limits a classifier: labels that confident answers contradict."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pixelwise.data.dataset import Dataset
from pixelwise.data.record import Record
from pixelwise.tasks.classify.limits import classify_limits, disputed_limit
from pixelwise.tasks.classify.scores import ClassScores, PictureAnswer
from pixelwise.tasks.evaluation import Evaluation, Outcome
from planned import FACTS, planned_recipe

SURE, UNSURE = (0.98, 0.01, 0.01), (0.6, 0.3, 0.1)
ROOT = Path("/data")


def outcome(truths: list[int], answers: list[tuple[float, ...]]) -> Outcome:
    """A run whose validation pictures have such labels and probabilities."""
    names = [f"val/{number}" for number in range(len(truths))]
    records = tuple(Record(name, ROOT / f"{name}.png", class_id=k) for name, k in zip(names, truths, strict=True))
    dataset = Dataset(ROOT, "classes", FACTS.class_names, records, {"val": tuple(names)})
    scores = ClassScores(FACTS.class_names)
    for name, truth, answer in zip(names, truths, answers, strict=True):
        scores.pictures.append(PictureAnswer(name, truth, np.array(answer, np.float32)))
        scores.confusion.update(np.array([int(np.argmax(answer))]), np.array([truth]))
    evaluation = Evaluation(None, dataset, "val", {}, scores, 1.0)  # type: ignore[arg-type]
    return Outcome(planned_recipe("resnet18", "classify"), FACTS, evaluation)


def test_confident_answers_contradict_a_label() -> None:
    found = disputed_limit(outcome([0] * 39 + [1], [SURE] * 40))
    assert found is not None
    assert found.files == ("val/39.png",)
    assert "1 label contradicted by predictions with a probability of 0.95 or more, of which 98 %" in found.sentence
    assert "val/39.png (b -> a)" in found.sentence


def test_a_network_that_is_often_wrong_or_never_sure_casts_no_doubt() -> None:
    assert disputed_limit(outcome([0] * 9 + [1], [SURE] * 10)) is None, "one of ten is wrong"
    assert disputed_limit(outcome([0] * 39 + [1], [SURE] * 39 + [UNSURE])) is None
    assert disputed_limit(outcome([0] * 40, [SURE] * 40)) is None


def test_classes_that_are_never_found_and_that_cannot_be_judged() -> None:
    found = {limit.code: limit for limit in classify_limits(outcome([0, 0, 1], [SURE, SURE, UNSURE]))}
    assert found.keys() == {"classes-not-found", "classes-not-in-validation"}
    assert "b (none of 1 found, 90 pictures to learn from)" in found["classes-not-found"].sentence
    assert "c" in found["classes-not-in-validation"].sentence
