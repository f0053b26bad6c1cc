"""Localisation scores: counted by hand, void, and the order of batches."""

from __future__ import annotations

import math

import pytest
import torch

from pixelwise.metrics.localisation import LocalisationScore

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
