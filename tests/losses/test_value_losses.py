"""Losses of per-pixel regression: torch's own as oracles, void pixels, and values of any size."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from pixelwise.losses.values import VALUE_LOSSES, huber, l1, l2

NAN = float("nan")


def test_by_hand() -> None:
    prediction = torch.tensor([[[[1.0, 2.0], [5.0, 0.0]]]])
    target = torch.tensor([[[1.5, NAN], [2.0, NAN]]])  # errors -0.5 and 3
    assert l1(prediction, target) == pytest.approx(1.75)
    assert l2(prediction, target) == pytest.approx((0.25 + 9) / 2)
    assert huber(prediction, target) == pytest.approx((0.125 + 2.5) / 2)
    assert huber(prediction, target, delta=2.0) == pytest.approx((0.125 + 2 * (3 - 1)) / 2)


@pytest.mark.parametrize(
    ("name", "oracle"), [("l1", F.l1_loss), ("l2", F.mse_loss), ("huber", lambda p, t: F.huber_loss(p, t, delta=1.0))]
)
def test_equal_to_torch_over_the_counted_pixels(name: str, oracle: object) -> None:
    torch.manual_seed(0)
    prediction = (3 * torch.randn(3, 2, 5, 4, dtype=torch.float64)).requires_grad_()
    target = torch.randn(3, 2, 5, 4, dtype=torch.float64)
    void = torch.rand(3, 2, 5, 4) < 0.4
    target[void] = NAN
    loss = VALUE_LOSSES[name](prediction, target)
    loss.backward()
    assert prediction.grad is not None
    gradient = prediction.grad.clone()
    prediction.grad = None
    expected = oracle(prediction[~void], target[~void])  # type: ignore[operator]
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, prediction.grad)
    assert not gradient[void].any()


@pytest.mark.parametrize("name", VALUE_LOSSES)
def test_nothing_known_gives_zero_and_a_zero_gradient(name: str) -> None:
    prediction = torch.full((2, 1, 3, 3), NAN).requires_grad_()
    loss = VALUE_LOSSES[name](prediction, torch.full((2, 3, 3), NAN))
    loss.backward()
    assert loss == 0
    assert prediction.grad is not None
    assert torch.equal(prediction.grad, torch.zeros(2, 1, 3, 3))


@pytest.mark.parametrize("name", VALUE_LOSSES)
def test_huge_values_stay_finite_and_a_nan_is_not_hidden(name: str) -> None:
    prediction = torch.full((2, 1, 64, 64), 3e38).requires_grad_()
    loss = VALUE_LOSSES[name](prediction, torch.full((2, 64, 64), -3e38))
    loss.backward()
    assert loss.isfinite()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()
    assert VALUE_LOSSES[name](torch.full((1, 1, 1, 1), NAN), torch.zeros(1, 1, 1)).isnan()


@pytest.mark.parametrize("name", VALUE_LOSSES)
def test_bfloat16_is_computed_in_float32(name: str) -> None:
    prediction = torch.ones(1, 1, 40, 40, dtype=torch.bfloat16)
    target = torch.full((1, 40, 40), 1 + 2**-12)
    loss = VALUE_LOSSES[name](prediction, target)
    assert loss.dtype == torch.float32
    assert loss > 0


def test_shapes_and_options_that_do_not_fit() -> None:
    for target in (torch.zeros(2, 4, 3), torch.zeros(2, 1, 3), torch.zeros(2, 2, 3, 4)):
        with pytest.raises(ValueError, match="expected"):
            l1(torch.zeros(2, 1, 3, 4), target)
    with pytest.raises(ValueError, match="expected"):  # would broadcast
        l1(torch.zeros(2, 3, 3, 4), torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match="delta"):
        huber(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1), delta=0.0)
