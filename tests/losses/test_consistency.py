"""Losses between predictions, against their definitions written out."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from pixelwise.losses.adversarial import discriminator_loss
from pixelwise.losses.consistency import log_probabilities, probability_distance, pseudo_labels


def test_pseudo_labels_are_the_most_probable_classes() -> None:
    logits = torch.randn(3, 4, 2, 2)
    labels, confidence = pseudo_labels(logits)
    probabilities = logits.softmax(1)
    assert torch.equal(labels, probabilities.argmax(1))
    assert torch.allclose(confidence, probabilities.amax(1))


def test_a_single_logit_is_that_of_the_foreground() -> None:
    logit = torch.tensor([[2.0], [-3.0]])
    assert torch.allclose(log_probabilities(logit).exp()[:, 1:], logit.sigmoid())
    labels, confidence = pseudo_labels(logit)
    assert labels.tolist() == [1, 0]
    assert torch.allclose(confidence, torch.tensor([2.0, 3.0]).sigmoid())


def test_the_distance_is_that_of_probabilities() -> None:
    torch.manual_seed(1)
    one, other = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    expected = 3 * F.mse_loss(one.softmax(1), other.softmax(1))  # the mean over classes, times their number
    assert probability_distance(one, other).item() == pytest.approx(expected.item(), rel=1e-5)
    assert probability_distance(one, one).item() == 0
    opposite = torch.tensor([[50.0, 0.0]])
    assert probability_distance(opposite, -opposite).item() == pytest.approx(2.0)


def test_the_discriminator_of_k_classes_is_a_softmax_with_one_class_more_of_logit_0() -> None:
    """log sum exp of the K logits is the logit of `real` against a class K + 1 whose logit is 0."""
    torch.manual_seed(2)
    real, fake = torch.randn(7, 5, dtype=torch.float64), torch.randn(7, 5, dtype=torch.float64)
    zero = torch.zeros(7, 1, dtype=torch.float64)
    real_p, fake_p = (torch.cat([logits, zero], 1).softmax(1) for logits in (real, fake))
    expected = -(1 - real_p[:, -1]).log().mean() - fake_p[:, -1].log().mean()
    found = discriminator_loss(real.logsumexp(1), fake.logsumexp(1))
    assert found.item() == pytest.approx(expected.item())
