"""Scores of a classifier, and the pictures that its report shows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, recall_score, top_k_accuracy_score

from pixelwise.data.sample import Sample
from pixelwise.errors import UserError
from pixelwise.tasks.classify.inference import ClassPrediction
from pixelwise.tasks.classify.scores import ClassScores, PictureAnswer


def pairs(count: int, classes: int, seed: int = 0) -> list[tuple[ClassPrediction, Sample]]:
    """Random answers for pictures of random classes."""
    rng = np.random.default_rng((count, seed))
    names = tuple(map(str, range(classes)))
    image = np.zeros((1, 1, 3), np.uint8)
    return [
        (
            ClassPrediction(rng.dirichlet(np.ones(classes)).astype(np.float32), names),
            Sample(str(number), image, class_id=int(rng.integers(classes))),
        )
        for number in range(count)
    ]


def counted(answers: list[tuple[ClassPrediction, Sample]], classes: int, *, thorough: bool = True) -> ClassScores:
    scores = ClassScores([str(k) for k in range(classes)], thorough=thorough)
    for prediction, sample in answers:
        scores.update(prediction, sample)
    return scores


@pytest.mark.parametrize("classes", [7, 300])  # 255 is a class of its own, not void
def test_scores_are_those_of_scikit_learn(classes: int) -> None:
    answers = pairs(400, classes)
    answers[0] = (answers[0][0], Sample("last", answers[0][1].image, class_id=min(255, classes - 1)))
    probabilities = np.stack([prediction.probabilities for prediction, _ in answers])
    truth = [sample.class_id for _, sample in answers]
    scores = counted(answers, classes)
    assert scores.values()["accuracy"] == pytest.approx(accuracy_score(truth, probabilities.argmax(1)))
    top5 = top_k_accuracy_score(truth, probabilities, k=5, labels=range(classes))
    assert scores.values()["top5_accuracy"] == pytest.approx(top5)
    summary = scores.summary("val")
    assert summary["pictures"] == 400
    recalls = recall_score(truth, probabilities.argmax(1), labels=sorted(set(truth)), average="macro", zero_division=0)
    assert summary["mean_class_accuracy"] == pytest.approx(recalls)


def test_five_classes_have_no_top_five() -> None:
    scores = counted(pairs(9, 5), 5)
    assert set(scores.values()) == {"accuracy"}
    assert "top5_accuracy" not in {headline.key for headline in scores.headlines}


@pytest.mark.parametrize("thorough", [True, False])
def test_parts_merge_to_one_pass(thorough: bool) -> None:
    answers = pairs(20, 7)
    whole = counted(answers, 7, thorough=thorough)
    first, second = counted(answers[:6], 7, thorough=thorough), counted(answers[6:], 7, thorough=thorough)
    assert first.values() != whole.values()
    first.merge(second)
    assert first.values() == whole.values()
    assert first.summary("val") == whole.summary("val")
    assert [answer.name for answer in first.pictures] == ([str(n) for n in range(20)] if thorough else [])


def test_nothing_counted_is_a_sentence() -> None:
    with pytest.raises(UserError, match="no picture of the split 'val' has a class"):
        counted([], 3).summary("val")


def evaluation(count: int, classes: int = 3) -> ClassScores:
    return counted(pairs(count, classes), classes)


def test_none_is_shown_twice_and_groups_are_what_they_say() -> None:
    for count in (1, 5, 200):
        groups = evaluation(count).examples(each=6)
        names = [answer.name for answers in groups.values() for answer in answers]
        assert len(names) == len(set(names))
        assert names
        assert not any(answer.right for answer in groups.get("Wrong with high confidence", []))
        assert all(answer.right for answer in groups.get("Right with high confidence", []))


def test_every_class_has_its_surest_picture() -> None:
    whole = evaluation(200)
    shown = whole.examples(each=6)["Right with high confidence"]
    assert len(shown) == 6

    def certainty(answer: PictureAnswer) -> float:
        return float(answer.probabilities[answer.truth])

    for class_id in range(3):
        right = [answer for answer in whole.pictures if answer.right and answer.truth == class_id]
        assert max(right, key=certainty) in shown
        assert sum(answer.truth == class_id for answer in shown) == 2
