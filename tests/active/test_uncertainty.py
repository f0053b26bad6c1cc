"""Acquisition functions of probabilities, by their laws and against scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipy_entropy

from pixelwise.active import bald, entropy, margin, power_bald, variation_ratio
from pixelwise.active.uncertainty import Passes, gumbel_power


def probabilities(*shape: int, seed: int = 0) -> torch.Tensor:
    """Softmax over the second to last but two axes: (..., K, H, W)."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).mul(3).softmax(-3)


def test_entropy_is_that_of_scipy_in_nats() -> None:
    found = probabilities(4, 5, 3, 2)
    expected = scipy_entropy(found.double().numpy(), axis=1)
    assert entropy(found).numpy() == pytest.approx(expected, abs=1e-6)
    assert entropy(found.numpy()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 7])
def test_bounds_are_reached_by_certain_and_by_uniform_predictions(classes: int) -> None:
    certain = torch.eye(classes)
    uniform = torch.full((1, classes), 1 / classes)
    assert entropy(certain).tolist() == [0] * classes
    assert variation_ratio(certain).tolist() == [0] * classes
    assert margin(certain).tolist() == [1] * classes
    assert entropy(uniform).item() == pytest.approx(math.log(classes))
    assert variation_ratio(uniform).item() == pytest.approx(1 - 1 / classes)
    assert margin(uniform).item() == 0


def test_the_order_of_the_classes_does_not_matter() -> None:
    found = probabilities(3, 6, 2, 2)
    other = found[:, torch.randperm(6, generator=torch.Generator().manual_seed(1))]
    for function in (entropy, margin, variation_ratio):
        assert function(found).shape == (3, 2, 2)
        assert torch.allclose(function(found), function(other), atol=1e-6)


def test_margin_is_the_difference_of_the_two_largest() -> None:
    found = probabilities(3, 4, 2, 2).numpy()
    ordered = np.sort(found, axis=1)
    assert margin(found) == pytest.approx(ordered[:, -1] - ordered[:, -2])


@pytest.mark.parametrize("function", [entropy, margin, variation_ratio])
def test_logits_are_refused(function: object) -> None:
    with pytest.raises(ValueError, match="apply the softmax"):
        function(torch.tensor([[-1.0, 3.0]]))  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"\(N, K, ...\) expected"):
        function(torch.tensor([0.5, 0.5]))  # type: ignore[operator]


class TestBald:
    @pytest.mark.parametrize("passes", [1, 3, 10])
    def test_identical_passes_disagree_by_nothing(self, passes: int) -> None:
        one = probabilities(2, 5, 3, 3)
        assert bald(one.expand(passes, *one.shape)).abs().max().item() < 1e-12

    def test_two_opposite_certain_passes_disagree_by_log_2(self) -> None:
        opposite = torch.tensor([[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]])
        assert bald(opposite).tolist() == pytest.approx([math.log(2)])
        assert bald(opposite.repeat(4, 1, 1)).tolist() == pytest.approx([math.log(2)])

    def test_it_is_the_mutual_information_of_the_joint_distribution(self) -> None:
        passes = probabilities(6, 4, 5, 1, 1)[..., 0, 0].double()  # (T, N, K)
        joint = passes / len(passes)  # p(pass, class), per picture
        independent = joint.sum(0, keepdim=True) * joint.sum(2, keepdim=True)
        expected = (joint * (joint / independent).log()).sum((0, 2))
        assert torch.allclose(bald(passes), expected)

    def test_neither_the_order_nor_the_chunks_of_passes_and_pictures_matter(self) -> None:
        passes = probabilities(7, 5, 3, 4, 4)
        whole = bald(passes)
        assert torch.equal(whole, torch.cat([bald(passes[:, :2]), bald(passes[:, 2:])]))
        assert torch.allclose(whole, bald(passes.flip(0)), atol=1e-12)
        accumulated = Passes()
        for each in passes:
            accumulated.add(each.double())
        assert torch.equal(accumulated.bald(), whole)
        assert torch.allclose(accumulated.mean(), passes.double().mean(0))

    def test_confident_predictions_are_finite(self) -> None:
        passes = (torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(2)) * 1e4).softmax(2)
        assert torch.isfinite(bald(passes)).all()

    def test_no_pass(self) -> None:
        with pytest.raises(ValueError, match="no pass"):
            bald(torch.zeros(0, 2, 3))


class TestPowerBald:
    def test_pictures_are_drawn_in_proportion_to_the_power_of_their_score(self) -> None:
        scores = torch.tensor([1.0, 2.0, 4.0])
        for beta in (1.0, 2.0):
            first = [int(gumbel_power(scores, seed=seed, beta=beta).argmax()) for seed in range(4000)]
            expected = (scores**beta / (scores**beta).sum()).numpy()
            assert np.bincount(first, minlength=3) / 4000 == pytest.approx(expected, abs=0.03)

    def test_a_large_exponent_gives_the_order_of_bald_and_a_seed_repeats(self) -> None:
        passes = probabilities(5, 6, 3, 1, 1)[..., 0, 0]
        order = bald(passes).argsort(descending=True)
        assert torch.equal(power_bald(passes, seed=0, beta=1e6).argsort(descending=True), order)
        assert torch.equal(power_bald(passes, seed=3), power_bald(passes, seed=3))
        assert not torch.equal(power_bald(passes, seed=3), power_bald(passes, seed=4))

    def test_pictures_without_disagreement_come_last(self) -> None:
        assert gumbel_power(torch.tensor([0.0, 1e-9]), seed=0).tolist()[0] == -math.inf
