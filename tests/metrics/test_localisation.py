"""Localisation scores: counted by hand, void, and the order of batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pixelwise.metrics.localisation import DetectionScore, LocalisationScore

NAN = float("nan")


def test_by_hand() -> None:
    score = LocalisationScore()
    #                                right+found  right, poor  wrong, found  right, no box  no class, box
    score.update(
        torch.tensor([3, 1, 2, 0, 4]), torch.tensor([3, 1, 1, 0, 255]), torch.tensor([0.5, 0.25, 1.0, NAN, NAN])
    )
    assert score.accuracy() == 3 / 4
    assert score.mean_iou() == pytest.approx((0.5 + 0.25 + 1.0) / 3)
    assert score.localised() == 1 / 3
    summary = score.summary("val")
    assert (summary["pictures"], summary["boxes"]) == (4, 3)
    assert summary["accuracy"] == 3 / 4
    assert "3 pictures of the val split" in summary["definition"]


def test_the_best_of_several_answers_counts() -> None:
    guesses, truth, overlap = torch.tensor([[3, 1], [0, 2]]), torch.tensor([1, 1]), torch.tensor([0.9, 0.9])
    score = LocalisationScore()
    score.update(guesses, truth, overlap)
    assert (score.accuracy(), score.localised()) == (0.5, 0.5)
    first = LocalisationScore()
    first.update(guesses[:, 0], truth, overlap)
    assert first.localised() == 0


def test_the_threshold() -> None:
    for threshold, expected in ((0.5, 2 / 3), (0.75, 1 / 3), (0.25, 1.0)):
        score = LocalisationScore(threshold)
        score.update(torch.zeros(3), torch.zeros(3), torch.tensor([0.25, 0.5, 0.75]))
        assert score.localised() == pytest.approx(expected)


def test_order_and_batches_do_not_matter_to_the_last_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, target = (torch.randint(5, (999,), generator=generator) for _ in range(2))
    target[::7] = 255
    overlap = torch.rand(999, generator=generator)
    overlap[::5] = NAN
    whole, parts = LocalisationScore(), LocalisationScore()
    whole.update(predicted, target, overlap)
    for some in torch.randperm(999, generator=generator).split(37):
        part = LocalisationScore()
        part.update(predicted[some], target[some], overlap[some])
        parts.merge(part)
    assert parts.summary() == whole.summary()
    counted = target != 255
    assert whole.accuracy() == pytest.approx(float((predicted == target)[counted].double().mean()))
    assert whole.mean_iou() == pytest.approx(float(overlap.double().nanmean()), abs=1e-7)


def test_nothing_counted_is_undefined() -> None:
    score = LocalisationScore()
    score.update(torch.tensor([1]), torch.tensor([255]), torch.tensor([NAN]))
    assert all(math.isnan(value) for value in (score.accuracy(), score.mean_iou(), score.localised()))
    assert score.summary()["localised"] is None


@pytest.mark.parametrize(
    ("predicted", "target", "overlap", "words"),
    [
        (torch.zeros(3), torch.zeros(2), torch.zeros(3), "expected"),
        (torch.zeros(3), torch.zeros(3), torch.zeros(3, 1), "expected"),
        (torch.zeros(1), torch.zeros(1), torch.tensor([1.5]), "lie in 0..1, found 1.5 to 1.5"),
    ],
)
def test_wrong_inputs(predicted: torch.Tensor, target: torch.Tensor, overlap: torch.Tensor, words: str) -> None:
    score = LocalisationScore()
    with pytest.raises(ValueError, match=words):
        score.update(predicted, target, overlap)
    assert math.isnan(score.accuracy())


def test_other_thresholds_cannot_be_added() -> None:
    with pytest.raises(ValueError, match=r"0\.5 and 0\.7"):
        LocalisationScore().merge(LocalisationScore(0.7))


def test_counts_can_be_summed_over_processes() -> None:
    score, again = LocalisationScore(), LocalisationScore()
    score.update(torch.tensor([3, 1]), torch.tensor([3, 0]), torch.tensor([0.7, NAN]))
    again.counts = 2 * score.counts
    assert again.summary() == {
        **score.summary(),
        "pictures": 4,
        "boxes": 2,
        "definition": again.summary()["definition"],
    }
    assert "over 2 pictures" in again.summary()["definition"]


def detections(confidence: float, order: list[int]) -> DetectionScore:
    """Two objects of class 1 and one of class 2; four boxes, given in any order."""
    overlaps = np.array([[0.9, 0.6, 0.0], [0.8, 0.55, 0.0], [0.7, 0.4, 0.0], [0.0, 0.6, 0.9]])
    classes, confidences = np.array([1, 1, 1, 1]), np.array([0.9, 0.8, 0.7, 0.3])
    score = DetectionScore(confidence)
    score.update(overlaps[order], classes[order], confidences[order], np.array([1, 1, 2]))
    return score


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_each_object_is_found_once_by_the_surest_box(order: list[int]) -> None:
    score = detections(0.5, order)
    # The second box takes the second object, for the first one is found; the third one finds nothing.
    assert (score.boxes, score.objects, score.right) == (3, 3, 2)
    assert (score.precision(), score.recall()) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert detections(0.85, order).recall() == pytest.approx(1 / 3)
    assert detections(0.2, order).boxes == 4
    assert detections(0.2, order).right == 2  # the last box is of another class than the object that it fits


def test_pictures_without_boxes_or_objects() -> None:
    score = DetectionScore(0.5)
    assert score.summary()["precision"] is None
    score.update(np.zeros((0, 2)), np.zeros(0, int), np.zeros(0), np.array([1, 1]))
    score.update(np.zeros((1, 0)), np.array([1]), np.array([0.9]), np.zeros(0, int))
    assert (score.precision(), score.recall()) == (0, 0)
    with pytest.raises(ValueError, match="overlaps are"):
        score.update(np.zeros((2, 1)), np.array([1]), np.array([0.9]), np.array([1]))
