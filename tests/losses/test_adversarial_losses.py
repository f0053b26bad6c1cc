"""Adversarial losses: binary cross entropy as the oracle, values where the discriminator cannot tell, and extremes."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from pixelwise.losses.adversarial import discriminator_loss, generator_loss


@pytest.mark.parametrize("shape", [(7,), (3, 1, 4, 5)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equal_to_binary_cross_entropy(shape: tuple[int, ...], smoothing: float) -> None:
    torch.manual_seed(0)
    real, fake = 3 * torch.randn(shape), 3 * torch.randn(shape)
    ones, zeros = torch.ones(shape), torch.zeros(shape)
    bce = F.binary_cross_entropy_with_logits
    torch.testing.assert_close(generator_loss(fake), bce(fake, ones))
    expected = bce(real, (1 - smoothing) * ones) + bce(fake, zeros)
    torch.testing.assert_close(discriminator_loss(real, fake, label_smoothing=smoothing), expected)


def test_where_the_discriminator_cannot_tell() -> None:
    assert generator_loss(torch.zeros(5)) == pytest.approx(math.log(2))
    assert discriminator_loss(torch.zeros(5), torch.zeros(3)) == pytest.approx(2 * math.log(2))


def test_the_generator_learns_from_a_certain_discriminator() -> None:
    """The non-saturating loss keeps a gradient of -1 where D calls a fake fake; log(1 - D) would have none."""
    logits = torch.full((1,), -50.0, requires_grad=True)
    generator_loss(logits).backward()
    assert logits.grad is not None
    assert float(logits.grad) == pytest.approx(-1)


def test_smoothing_has_its_optimum_at_the_smoothed_target() -> None:
    logits = torch.tensor([math.log(0.9 / 0.1)], requires_grad=True)  # D = 0.9
    discriminator_loss(logits, torch.zeros(1), label_smoothing=0.1).backward()
    assert logits.grad is not None
    assert float(logits.grad) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("size", [1e4, -1e4, 1e30])
def test_finite_for_logits_of_any_size_and_float32(size: float) -> None:
    logits = torch.full((4,), size, dtype=torch.bfloat16)
    for loss in (generator_loss(logits), discriminator_loss(logits, logits, label_smoothing=0.1)):
        assert loss.isfinite()
        assert loss.dtype == torch.float32


def test_smoothing_out_of_range() -> None:
    for smoothing in (-0.1, 1.0):
        with pytest.raises(ValueError, match="label_smoothing"):
            discriminator_loss(torch.zeros(1), torch.zeros(1), label_smoothing=smoothing)
