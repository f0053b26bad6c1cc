"""Losses against formulas written out in float64, at extremes, with void, absent classes and empty batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pixelwise.errors import UserError
from pixelwise.losses import (
    LOSSES,
    LossSum,
    bce_log_dice,
    cross_entropy,
    dice,
    focal,
    jaccard,
    lovasz_hinge,
    lovasz_softmax,
)

N, K, H, W = 2, 4, 5, 6


def data(seed: int = 0, classes: int = K, void: float = 0.2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(N, classes, H, W, generator=generator, dtype=torch.float64) * 2
    target = torch.randint(0, max(classes, 2), (N, H, W), generator=generator)
    target[torch.rand(N, H, W, generator=generator) < void] = 255
    return logits, target


def probabilities(logits: Tensor) -> np.ndarray:
    values = logits.numpy()
    if values.shape[1] == 1:
        values = np.concatenate([np.zeros_like(values), values], 1)
    exp = np.exp(values - values.max(1, keepdims=True))
    return exp / exp.sum(1, keepdims=True)


def pixels(logits: Tensor, target: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (P, K) and ids (P,) of the pixels that count."""
    p = probabilities(logits).transpose(0, 2, 3, 1)
    keep = target.numpy() != 255
    return p[keep], target.numpy()[keep]


def cross_entropy_by_hand(logits: Tensor, target: Tensor, weights: np.ndarray, smoothing: float) -> float:
    p, ids = pixels(logits, target)
    classes = p.shape[1]
    truth = np.eye(classes)[ids] * (1 - smoothing) + smoothing / classes
    return float((-(truth * np.log(p) * weights).sum(1)).sum() / weights[ids].sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0, 3.0]])
def test_cross_entropy_is_the_weighted_mean(smoothing: float, weights: list[float] | None) -> None:
    logits, target = data()
    expected = cross_entropy_by_hand(logits, target, np.array(weights or [1.0] * K), smoothing)
    found = cross_entropy(logits, target, class_weights=weights, label_smoothing=smoothing)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_equals_torch_with_weights_and_smoothing() -> None:
    logits, target = data(3)
    weights = torch.tensor([0.5, 2.0, 1.0, 3.0])
    expected = torch.nn.functional.cross_entropy(logits.float(), target, weights, ignore_index=255, label_smoothing=0.2)
    found = cross_entropy(logits, target, class_weights=weights, label_smoothing=0.2)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_focal_is_the_formula_and_with_gamma_0_cross_entropy() -> None:
    logits, target = data(1)
    p, ids = pixels(logits, target)
    true = p[np.arange(len(ids)), ids]
    expected = ((1 - true) ** 2 * -np.log(true)).mean()
    assert float(focal(logits, target)) == pytest.approx(expected, rel=1e-5)
    assert float(focal(logits, target, gamma=0.0)) == pytest.approx(float(cross_entropy(logits, target)), rel=1e-5)


@pytest.mark.parametrize("loss", [dice, jaccard])
def test_overlap_losses_are_their_formulas(loss: object) -> None:
    logits, target = data(2)
    p, ids = pixels(logits, target)
    scores = []
    for k in range(K):
        truth = ids == k
        both, either = (p[:, k] * truth).sum(), p[:, k].sum() + truth.sum()
        scores.append(2 * both / either if loss is dice else both / (either - both))
    assert float(loss(logits, target)) == pytest.approx(1 - np.mean(scores), rel=1e-5)  # type: ignore[operator]


@pytest.mark.parametrize("loss", [dice, jaccard])
@pytest.mark.parametrize("classes", [2, 5, 50])
def test_all_wrong_is_1_and_all_right_is_0_whatever_the_number_of_classes(loss: object, classes: int) -> None:
    target = torch.zeros(1, 4, 4, dtype=torch.long)
    target[0, 2:] = 1
    right = torch.nn.functional.one_hot(target, classes).permute(0, 3, 1, 2).float() * 100
    wrong = torch.nn.functional.one_hot(1 - target, classes).permute(0, 3, 1, 2).float() * 100
    assert float(loss(right, target)) == pytest.approx(0, abs=1e-6)  # type: ignore[operator]
    assert float(loss(wrong, target)) == pytest.approx(1, abs=1e-6)  # type: ignore[operator]


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("classes", [1, K])
class TestEveryLoss:
    def test_void_pixels_do_not_count(self, name: str, classes: int) -> None:
        logits, target = data(4, classes)
        changed = logits.clone()
        changed.permute(0, 2, 3, 1)[target == 255] = 77.0
        assert float(LOSSES[name](logits, target)) == pytest.approx(float(LOSSES[name](changed, target)), rel=1e-6)

    def test_another_ignore_index(self, name: str, classes: int) -> None:
        logits, target = data(5, classes)
        assert float(LOSSES[name](logits, target.where(target != 255, 7), 7)) == pytest.approx(
            float(LOSSES[name](logits, target)), rel=1e-6
        )

    @pytest.mark.parametrize("size", [1e4, -1e4])
    def test_finite_at_extreme_logits_with_finite_gradients(self, name: str, classes: int, size: float) -> None:
        logits, target = data(6, classes)
        logits = (logits.sign() * size).float().requires_grad_()
        value = LOSSES[name](logits, target)
        value.backward()
        assert logits.grad is not None
        assert torch.isfinite(value)
        assert torch.isfinite(logits.grad).all()

    def test_nothing_counted_is_0_with_zero_gradient(self, name: str, classes: int) -> None:
        logits = torch.randn(N, classes, H, W, requires_grad=True)
        value = LOSSES[name](logits, torch.full((N, H, W), 255))
        value.backward()
        assert logits.grad is not None
        assert float(value.detach()) == 0
        assert (logits.grad == 0).all()

    def test_gradient_equals_finite_differences(self, name: str, classes: int) -> None:
        logits, target = data(7, classes)
        # `gradcheck` moves every logit by 1e-6 and differentiates in float64.
        assert torch.autograd.gradcheck(lambda given: LOSSES[name](given, target), logits.requires_grad_())

    def test_float64_stays_and_float32_agrees(self, name: str, classes: int) -> None:
        logits, target = data(8, classes)
        double = LOSSES[name](logits, target)
        single = LOSSES[name](logits.float(), target)
        assert (double.dtype, single.dtype) == (torch.float64, torch.float32)
        assert float(single) == pytest.approx(float(double), rel=1e-5)

    def test_an_absent_class_changes_nothing(self, name: str, classes: int) -> None:
        """Another logit that is nowhere in truth and nowhere likely."""
        logits, target = data(9, 2 if classes == 1 else classes)
        with_absent = torch.cat([logits, torch.full_like(logits[:, :1], -200.0)], 1)
        assert float(LOSSES[name](with_absent, target)) == pytest.approx(float(LOSSES[name](logits, target)), rel=1e-9)

    def test_takes_channels_last_and_bytes(self, name: str, classes: int) -> None:
        logits, target = data(10, classes)
        turned = logits.contiguous(memory_format=torch.channels_last)
        expected = float(LOSSES[name](logits, target))
        assert float(LOSSES[name](turned, target)) == pytest.approx(expected, rel=1e-9)

    def test_no_pictures_at_all(self, name: str, classes: int) -> None:
        logits = torch.zeros(0, classes, H, W, requires_grad=True)
        value = LOSSES[name](logits, torch.zeros(0, H, W, dtype=torch.long))
        value.backward()
        assert float(value.detach()) == 0

    def test_takes_bfloat16(self, name: str, classes: int) -> None:
        logits, target = data(8, classes)
        half = logits.bfloat16()
        assert LOSSES[name](half, target).dtype == torch.float32
        assert float(LOSSES[name](half, target)) == pytest.approx(float(LOSSES[name](half.float(), target)))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_one_logit_is_two_classes_with_a_background_of_0(name: str) -> None:
    logits, target = data(9, 1)
    if name in ("cross_entropy", "focal"):
        both = torch.cat([torch.zeros_like(logits), logits], 1)
        assert float(LOSSES[name](logits, target)) == pytest.approx(float(LOSSES[name](both, target)), rel=1e-6)
    elif name in ("dice", "jaccard", "bce_log_dice"):
        p, ids = pixels(logits, target)
        both_, either = (p[:, 1] * ids).sum(), p[:, 1].sum() + ids.sum()
        score = both_ / (either - both_) if name == "jaccard" else 2 * both_ / either
        expected = 1 - score
        if name == "bce_log_dice":
            entropy = -(ids * np.log(p[:, 1]) + (1 - ids) * np.log(1 - p[:, 1])).mean()
            expected = entropy - np.log(score)
        assert float(LOSSES[name](logits, target)) == pytest.approx(expected, rel=1e-9)
    else:
        assert name in ("lovasz_hinge", "lovasz_softmax")  # of one logit: test_losses_lovasz.py


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0, 3.0]])
def test_bce_log_dice_is_its_formula(weights: list[float] | None) -> None:
    logits, target = data(11)
    target[target == 2] = 0  # class 2 is absent, and so not in the mean
    p, ids = pixels(logits, target)
    scores = [2 * p[ids == k, k].sum() / (p[:, k].sum() + (ids == k).sum()) for k in (0, 1, 3)]
    expected = cross_entropy_by_hand(logits, target, np.array(weights or [1.0] * K), 0.1) - np.log(np.mean(scores))
    found = bce_log_dice(logits, target, class_weights=weights, label_smoothing=0.1)
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_bce_log_dice_of_what_is_certain_and_wrong_is_large_and_can_be_left() -> None:
    target = torch.ones(1, 4, 4, dtype=torch.long)
    logits = torch.full((1, 1, 4, 4), -50.0, requires_grad=True)
    value = bce_log_dice(logits, target)
    value.backward()
    assert logits.grad is not None
    # ln(Dice) is about -50 too, and adds as much to the gradient as the cross entropy does.
    assert float(value.detach()) == pytest.approx(100 - np.log(2), rel=1e-3)
    assert (logits.grad < -0.1).all()


def test_sum_is_the_weighted_sum_of_its_terms() -> None:
    logits, target = data(10)
    weights = (1.0, 2.0, 0.5, 1.5)
    terms = {
        "cross_entropy": 1.0,
        "dice": 0.5,
        "jaccard": 0.2,
        "focal": 3.0,
        "bce_log_dice": 0.7,
        "lovasz_softmax": 2.0,
        "lovasz_hinge": 0.3,
    }
    assert set(terms) == set(LOSSES)
    values = LossSum(terms, class_weights=weights, lovasz_per_image=True, lovasz_only_present=False)(logits, target)
    alone = {
        "cross_entropy": cross_entropy(logits, target, class_weights=weights),
        "dice": dice(logits, target),
        "jaccard": jaccard(logits, target),
        "focal": focal(logits, target, class_weights=weights),
        "bce_log_dice": bce_log_dice(logits, target, class_weights=weights),
        "lovasz_softmax": lovasz_softmax(logits, target, per_image=True, only_present=False),
        "lovasz_hinge": lovasz_hinge(logits, target, per_image=True, only_present=False),
    }
    for name, value in alone.items():
        assert float(values[name]) == pytest.approx(float(value), rel=1e-6)
    expected = sum(terms[name] * float(value) for name, value in alone.items())
    assert float(values["loss"]) == pytest.approx(expected, rel=1e-6)


def test_unknown_term_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'dice'"):
        LossSum({"dyce": 1.0})
