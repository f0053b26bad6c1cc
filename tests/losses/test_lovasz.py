"""Lovász losses against their definition by loops over sets, the laws they keep, and several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pixelwise.losses import lovasz_hinge, lovasz_softmax
from pixelwise.losses.lovasz import jaccard_weights

N, H, W = 2, 4, 5


def data(classes: int, seed: int = 0, void: float = 0.2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(N, classes, H, W, generator=generator, dtype=torch.float64) * 2
    target = torch.randint(0, max(classes, 2), (N, H, W), generator=generator)
    target[torch.rand(N, H, W, generator=generator) < void] = 255
    return logits, target


def jaccard_loss(mispredicted: set[int], foreground: set[int]) -> float:
    """1 - IoU of a class whose mispredicted pixels are those (equation 6); 0 for no pixel in truth and prediction."""
    union = len(foreground | mispredicted)
    return len(mispredicted) / union if union else 0.0


def extension(errors: list[float], foreground: set[int]) -> float:
    """The Lovász extension by its definition (equation 8): pixels join the set from the largest error on."""
    value, chosen = 0.0, set[int]()
    for pixel in sorted(range(len(errors)), key=lambda i: -errors[i]):
        before = jaccard_loss(chosen, foreground)
        chosen = chosen | {pixel}
        value += errors[pixel] * (jaccard_loss(chosen, foreground) - before)
    return value


def softmax_by_loops(logits: Tensor, target: Tensor, per_image: bool, only_present: bool) -> float:
    values = logits.numpy()
    if values.shape[1] == 1:
        values = np.concatenate([np.zeros_like(values), values], 1)
    p = np.exp(values) / np.exp(values).sum(1, keepdims=True)
    return by_loops(
        lambda k, n, y, x, true: (1 - p[n, k, y, x]) if true else p[n, k, y, x],
        range(int(logits.shape[1] == 1), p.shape[1]), target, per_image, only_present,
    )  # fmt: skip


def hinge_by_loops(logits: Tensor, target: Tensor, per_image: bool, only_present: bool) -> float:
    z = logits.numpy()

    def error(k: int, n: int, y: int, x: int, true: bool) -> float:
        others = [z[n, j, y, x] for j in range(z.shape[1]) if j != k]
        margin = z[n, 0, y, x] if one else z[n, k, y, x] - max(others)
        return max(0.0, 1 - (margin if true else -margin))

    one = z.shape[1] == 1
    return by_loops(error, range(1, 2) if one else range(z.shape[1]), target, per_image, only_present and not one)


def by_loops(
    error: Callable[[int, int, int, int, bool], float], classes: range, target: Tensor, per_image: bool, present: bool
) -> float:
    every = [(n, y, x) for n in range(N) for y in range(H) for x in range(W) if target[n, y, x] != 255]
    groups = [[place for place in every if place[0] == n] for n in range(N)] if per_image else [every]
    scores = []
    for group in groups:
        of_class = []
        for k in classes:
            foreground = {i for i, place in enumerate(group) if target[place] == k}
            if foreground or not present:
                of_class.append(
                    extension([float(error(k, *place, bool(target[place] == k))) for place in group], foreground)
                )
        scores.append(np.mean(of_class) if of_class else 0.0)
    return float(np.mean(scores))


@pytest.mark.parametrize("only_present", [True, False])
@pytest.mark.parametrize("per_image", [True, False])
@pytest.mark.parametrize("classes", [1, 2, 4])
@pytest.mark.parametrize(
    ("loss", "loops"), [(lovasz_softmax, softmax_by_loops), (lovasz_hinge, hinge_by_loops)], ids=["softmax", "hinge"]
)
def test_equals_the_definition_by_loops(
    loss: Callable[..., Tensor], loops: Callable[..., float], classes: int, per_image: bool, only_present: bool
) -> None:
    for seed in range(3):
        logits, target = data(classes, seed)
        target[0][target[0] == 1] = 0  # class 1 is absent from one picture
        if seed == 2:
            target[target == 1] = 0  # and here from both
        found = loss(logits, target, per_image=per_image, only_present=only_present)
        assert float(found) == pytest.approx(loops(logits, target, per_image, only_present), rel=1e-9, abs=1e-12)


def one_minus_mean_iou(predicted: Tensor, target: Tensor, classes: range) -> float:
    scores = []
    for k in classes:
        true, found = (target == k) & (target != 255), (predicted == k) & (target != 255)
        if true.any():
            scores.append(int((true & found).sum()) / int((true | found).sum()))
    return 1 - float(np.mean(scores))


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_softmax_of_certain_predictions_is_1_minus_mean_iou(classes: int) -> None:
    for seed in range(5):
        logits, target = data(classes, seed)
        if classes == 1:
            predicted = (logits[:, 0] > 0).long()
            certain = logits.sign() * 1000
        else:
            predicted = logits.argmax(1)
            certain = torch.nn.functional.one_hot(predicted, classes).movedim(3, 1).double() * 1000
        scored = range(1, 2) if classes == 1 else range(classes)
        expected = one_minus_mean_iou(predicted, target, scored)
        assert float(lovasz_softmax(certain, target)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("classes", [1, 4])
def test_hinge_is_1_minus_iou_at_errors_of_0_and_1_scales_with_them_and_never_lies_below(classes: int) -> None:
    for seed in range(5):
        logits, target = data(classes, seed)
        truth = target.where(target != 255, 0)
        wrong = torch.rand(truth.shape, generator=torch.Generator().manual_seed(seed)) < 0.3
        if classes == 1:
            predicted = torch.where(wrong, 1 - truth, truth)
            sign = (truth * 2 - 1).double()
            logits = (torch.where(wrong, 0.0, 1.0) * sign).unsqueeze(1)
        else:
            predicted = torch.where(wrong, (truth + 1) % classes, truth)
            of_truth = torch.nn.functional.one_hot(truth, classes).movedim(3, 1).double()
            of_wrong = torch.nn.functional.one_hot(predicted, classes).movedim(3, 1).double()
            # Of a mispredicted pixel, true class and chosen one share the largest logit; the rest lie far below.
            logits = 2 * (of_truth + of_wrong).clamp_max(1)
        scored = range(1, 2) if classes == 1 else range(classes)
        expected = one_minus_mean_iou(predicted, target, scored)
        assert float(lovasz_hinge(logits, target)) == pytest.approx(expected, abs=1e-9)
        if classes == 1:  # positively homogeneous: errors of 2 cost twice as much
            doubled = torch.where(wrong.unsqueeze(1), -sign.unsqueeze(1), logits)
            assert float(lovasz_hinge(doubled, target)) == pytest.approx(2 * expected, abs=1e-9)
        soft, target = data(classes, seed + 50)
        predicted = (soft[:, 0] > 0).long() if classes == 1 else soft.argmax(1)
        assert float(lovasz_hinge(soft, target)) >= one_minus_mean_iou(predicted, target, scored)


def test_weights_of_a_large_picture_add_up_to_1_in_float32() -> None:
    """From no pixel mispredicted to all of them the Jaccard loss goes from 0 to 1."""
    generator = torch.Generator().manual_seed(0)
    errors = torch.rand(1_000_000, generator=generator)
    foreground = torch.rand(1_000_000, generator=generator) < 0.3
    weights = jaccard_weights(errors, foreground)
    assert float(weights.double().sum()) == pytest.approx(1, abs=1e-6)
    exact = jaccard_weights(errors.double(), foreground)
    assert float(errors.double() @ weights.double()) == pytest.approx(float(errors.double() @ exact), rel=1e-6)
    assert (weights.double() - exact).abs().max() < 1e-4 * exact.max()


@pytest.mark.parametrize("shift", [0.0, 0.6])
def test_pixels_that_do_not_count_or_cannot_change_the_loss_have_no_weight(shift: float) -> None:
    """Both where most pixels are ranked (shift 0) and where few are: foreground errs by at least the shift."""
    generator = torch.Generator().manual_seed(0)
    errors = torch.rand(10_000, generator=generator)
    foreground = torch.rand(10_000, generator=generator) < 0.3
    errors = torch.where(foreground, shift + errors * (1 - shift), errors)
    void = torch.rand(10_000, generator=generator) < 0.2
    weights = jaccard_weights(errors.masked_fill(void, -1), foreground & ~void)
    assert (weights[void] == 0).all()
    assert torch.equal(weights[~void], jaccard_weights(errors[~void], foreground[~void]))
    least = errors[foreground & ~void].min()
    assert (weights[~foreground & (errors < least)] == 0).all()
    assert float(weights.double().sum()) == pytest.approx(1, abs=1e-5)


def test_the_extension_is_convex_in_the_errors() -> None:
    generator = torch.Generator().manual_seed(0)
    for size in (3, 30, 300):
        foreground = torch.rand(size, generator=generator) < 0.4
        one, other = torch.rand(2, size, generator=generator, dtype=torch.float64)
        middle = (one + other) / 2
        values = [float(errors @ jaccard_weights(errors, foreground)) for errors in (one, other, middle)]
        assert values[2] <= (values[0] + values[1]) / 2 + 1e-12


def test_it_can_be_minimised() -> None:
    """Gradient descent on the logits alone reaches the truth."""
    _, target = data(3, 1)
    for loss in (lovasz_softmax, lovasz_hinge):
        logits = torch.zeros(N, 3, H, W, requires_grad=True)
        optimizer = torch.optim.Adam([logits], 0.3)
        for _ in range(60):
            optimizer.zero_grad()
            loss(logits, target).backward()
            optimizer.step()
        counted = target != 255
        assert (logits.argmax(1) == target)[counted].all()
        assert float(loss(logits, target).detach()) < 0.05


WORKER = """
import sys
import torch
import torch.distributed as dist
from pixelwise.losses import LOSSES

dist.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=int(sys.argv[2]), world_size=2)
logits, target = torch.load(sys.argv[3])
half = slice(0, 2) if dist.get_rank() == 0 else slice(2, 3)
for name, loss in sorted(LOSSES.items()):
    for options in ({}, {"per_image": True}) if name.startswith("lovasz") else ({},):
        mine = logits[half].clone().requires_grad_()
        value = loss(mine, target[half], **options)
        value.backward()
        print(name, int(bool(options)), float(value.detach()), float(mine.grad.abs().sum()) / 2, flush=True)
dist.destroy_process_group()
"""


def test_two_processes_give_the_value_of_the_whole_batch(tmp_path: Path) -> None:
    from pixelwise.losses import LOSSES

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, H, W, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 4, (3, H, W), generator=generator)
    torch.save((logits, target), tmp_path / "data.pt")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path / "meet"), str(rank), str(tmp_path / "data.pt")],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]  # fmt: skip
    printed = [worker.communicate(timeout=120)[0].splitlines() for worker in workers]
    assert len(printed[0]) == len(LOSSES) + 2
    for line, line_of_other in zip(*printed, strict=True):
        name, per_image, value, gradient = line.split()
        other_value, other_gradient = line_of_other.split()[2:]
        options = {"per_image": True} if per_image == "1" else {}
        whole = logits.clone().requires_grad_()
        expected = LOSSES[name](whole, target, **options)
        expected.backward()
        assert whole.grad is not None
        assert value == other_value
        if name.startswith("lovasz") and not options:
            halves = [float(LOSSES[name](logits[part], target[part])) for part in (slice(0, 2), slice(2, 3))]
            assert float(value) == pytest.approx(np.mean(halves), rel=1e-9)
        else:
            assert float(value) == pytest.approx(float(expected.detach()), rel=1e-9)
            # Data-parallel training takes the mean of the processes' gradients: see `distributed.total`.
            assert float(gradient) + float(other_gradient) == pytest.approx(float(whole.grad.abs().sum()), rel=1e-9)
