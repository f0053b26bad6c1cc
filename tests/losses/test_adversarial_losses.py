"""Adversarial losses: binary cross entropy as the oracle, values where the discriminator cannot tell, and extremes."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from pixelwise.losses.adversarial import KINDS, Kind, discriminator_loss, generator_loss
from pixelwise.losses.gradient_penalty import gradient_penalty


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


@pytest.mark.parametrize("kind", KINDS)
def test_each_loss_falls_where_its_player_wins(kind: Kind) -> None:
    logits = torch.linspace(-2, 2, 9)
    generator = torch.stack([generator_loss(value[None], kind) for value in logits])
    discriminator = torch.stack([discriminator_loss(value[None], 1 - value[None], kind) for value in logits])
    inside = slice(0, 7) if kind == "least_squares" else slice(None)  # up to the target, 1
    assert (generator[inside].diff() < 0).all()
    assert (discriminator[inside].diff() < 0).all()


def test_the_minimax_generator_gets_no_gradient_from_a_certain_discriminator() -> None:
    logits = torch.full((1,), -50.0, requires_grad=True)
    generator_loss(logits, "minimax").backward()
    assert logits.grad is not None
    assert float(logits.grad) == pytest.approx(0, abs=1e-6)


def test_least_squares_equals_the_mean_squared_error_to_the_targets() -> None:
    torch.manual_seed(0)
    real, fake = torch.randn(5), torch.randn(7)
    expected = F.mse_loss(real, torch.ones(5)) + F.mse_loss(fake, torch.zeros(7))
    torch.testing.assert_close(discriminator_loss(real, fake, "least_squares"), expected)
    torch.testing.assert_close(generator_loss(fake, "least_squares"), F.mse_loss(fake, torch.ones(7)))


def test_the_wasserstein_losses_are_differences_of_means() -> None:
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.5])
    assert discriminator_loss(real, fake, "wasserstein") == pytest.approx(0.5 - 2.0)
    assert generator_loss(fake, "wasserstein") == pytest.approx(-0.5)


class TestGradientPenalty:
    def test_it_is_0_for_a_linear_critic_of_norm_1(self) -> None:
        generator = torch.Generator().manual_seed(0)
        real, fake = torch.rand(2, 4, 3, 5, 6, generator=generator)
        weights = F.normalize(torch.randn(90, generator=generator), dim=0).view(3, 5, 6)
        for factor, expected in ((1.0, 0.0), (3.0, 4.0), (0.5, 0.25)):
            scaled = factor * weights
            penalty = gradient_penalty(lambda each, w=scaled: (each * w).sum((1, 2, 3)), real, fake, generator)
            assert penalty == pytest.approx(expected, abs=1e-5)

    def test_each_pair_has_one_point_on_its_line(self) -> None:
        seen: list[torch.Tensor] = []

        def critic(images: torch.Tensor) -> torch.Tensor:
            seen.append(images.detach())
            return images.sum((1, 2, 3))

        real, fake = torch.zeros(64, 3, 4, 4), torch.ones(64, 3, 4, 4)
        gradient_penalty(critic, real, fake, torch.Generator().manual_seed(0))
        points = seen[0].flatten(1)
        assert (points == points[:, :1]).all()  # one alpha for all pixels and channels of a picture
        assert points[:, 0].std() == pytest.approx(12**-0.5, rel=0.2)

    def test_its_gradient_reaches_the_critic(self) -> None:
        critic = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(16, 1)
        )
        gradient_penalty(critic, torch.rand(3, 1, 4, 4), torch.rand(3, 1, 4, 4)).backward()
        assert all(value.grad is not None for name, value in critic.named_parameters() if "weight" in name)
