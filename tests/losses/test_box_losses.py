"""Box regression: literal values, masks, and the gradient."""

from __future__ import annotations

import pytest
import torch

from pixelwise.losses.boxes import box_l2


def test_by_hand() -> None:
    """Off by 10 of 100 pixels in width and by 4 of 20 in height, at one edge each: 0.1^2 + 0.2^2."""
    boxes = torch.tensor([[[20.0, 8.0, 60.0, 12.0]], [[0.0, 0.0, 1.0, 1.0]]])
    target = torch.tensor([[[30.0, 8.0, 60.0, 16.0]], [[float("nan")] * 4]])
    present = torch.tensor([[True], [False]])
    assert box_l2(boxes, target, present, (20, 100)) == pytest.approx(0.05)
    both = torch.tensor([[True], [True]])
    assert box_l2(boxes, boxes + 2, both, (20, 20)) == pytest.approx(4 * 0.1**2)


def test_boxes_without_a_truth_have_no_part_in_it() -> None:
    torch.manual_seed(0)
    boxes = torch.rand(4, 3, 4, dtype=torch.float64, requires_grad=True)
    target, present = torch.rand(4, 3, 4, dtype=torch.float64), torch.rand(4, 3) < 0.5
    target[~present] = float("nan")
    loss = box_l2(boxes, target, present, (1, 1))
    loss.backward()
    expected = sum(
        float((boxes.detach()[at] - target[at]).square().sum())
        for at in zip(*present.nonzero(as_tuple=True), strict=True)
    )
    assert float(loss.detach()) == pytest.approx(expected / int(present.sum()))
    assert boxes.grad is not None
    assert torch.equal(boxes.grad.abs().sum(-1) > 0, present)
    assert torch.autograd.gradcheck(lambda b: box_l2(b, target, present, (1, 2)), boxes)


def test_nothing_present() -> None:
    boxes = torch.rand(2, 1, 4, requires_grad=True)
    loss = box_l2(boxes, torch.full((2, 1, 4), float("nan")), torch.zeros(2, 1, dtype=torch.bool), (10, 10))
    loss.backward()
    assert loss == 0
    assert boxes.grad is not None
    assert not boxes.grad.any()


def test_bfloat16_is_computed_in_float32() -> None:
    boxes = torch.tensor([[[0.0, 0.0, 257.0, 257.0]]])
    present = torch.ones(1, 1, dtype=torch.bool)
    assert box_l2(boxes.bfloat16(), boxes, present, (100, 100)).dtype == torch.float32


@pytest.mark.parametrize(("target", "present"), [((2, 1, 4), (3, 1)), ((3, 2, 4), (3, 1)), ((3, 1, 5), (3, 1))])
def test_shapes_that_differ(target: tuple[int, ...], present: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        box_l2(torch.zeros(3, 1, 4), torch.zeros(target), torch.ones(present, dtype=torch.bool), (1, 1))
