"""RoIAlign against a loop over points, on arrays that can be checked by hand, and its gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pixelwise.nn.roi_align import pyramid_levels, roi_align


def interpolated(values: Tensor, y: float, x: float) -> float:
    """One point of a map (H, W); 0 more than one place outside."""
    height, width = values.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    upper = values[top, left] * (1 - across) + values[top, right] * across
    lower = values[bottom, left] * (1 - across) + values[bottom, right] * across
    return float(upper * (1 - down) + lower * down)


def by_points(values: Tensor, box: list[float], stride: float, size: int, samples: int) -> Tensor:
    """(H, W) -> (size, size)."""
    left, top, right, bottom = (edge / stride for edge in box)
    width, height = max(right - left, 1.0), max(bottom - top, 1.0)
    found = torch.zeros(size, size)
    for row in range(size):
        for column in range(size):
            points = [
                interpolated(
                    values,
                    top + (row + (i + 0.5) / samples) * height / size,
                    left + (column + (j + 0.5) / samples) * width / size,
                )
                for i in range(samples)
                for j in range(samples)
            ]
            found[row, column] = sum(points) / len(points)
    return found


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_equals_a_loop_over_points(samples: int) -> None:
    draw = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 3, 16, 12, generator=draw), torch.randn(2, 3, 8, 6, generator=draw)]
    corners = torch.rand(20, 2, generator=draw) * torch.tensor([40.0, 60.0])
    boxes = torch.cat([corners, corners + 0.1 + torch.rand(20, 2, generator=draw) * 30], 1)
    boxes[0] = torch.tensor([-30.0, -30.0, 90.0, 90.0])  # far beyond the picture
    pictures = torch.arange(20) % 2
    levels = torch.arange(20) // 2 % 2
    found = roi_align(maps, boxes, pictures, (4, 8), 3, samples=samples, levels=levels)
    assert found.shape == (20, 3, 3, 3)
    for number in range(20):
        level = int(levels[number])
        for channel in range(3):
            own = maps[level][pictures[number], channel]
            expected = by_points(own, boxes[number].tolist(), (4, 8)[level], 3, samples)
            assert torch.allclose(found[number, channel], expected, atol=1e-5)


def test_a_linear_map_is_read_exactly() -> None:
    """Of values that grow by 1 per place, each bin's mean is the value at its middle."""
    ramp = torch.arange(20.0).expand(1, 1, 20, 20)
    found = roi_align([ramp], torch.tensor([[8.0, 8.0, 40.0, 40.0]]), torch.tensor([0]), (4,), 4)
    assert found[0, 0].tolist() == [[3.0, 5.0, 7.0, 9.0]] * 4


def test_gradients_are_those_of_the_weights() -> None:
    maps = torch.randn(1, 2, 6, 6, dtype=torch.float32, requires_grad=True)
    boxes = torch.tensor([[1.0, 2.0, 21.0, 15.0], [3.0, 3.0, 9.0, 20.0]])
    weights = torch.randn(2, 2, 2, 2)
    (roi_align([maps], boxes, torch.tensor([0, 0]), (4,), 2) * weights).sum().backward()
    assert maps.grad is not None
    for place in ((0, 0, 1, 2), (0, 1, 3, 4), (0, 0, 5, 5)):
        moved = maps.detach().clone()
        moved[place] += 1  # a linear function: the difference quotient is exact
        difference = roi_align([moved], boxes, torch.tensor([0, 0]), (4,), 2) - roi_align(
            [maps.detach()], boxes, torch.tensor([0, 0]), (4,), 2
        )
        assert float((difference * weights).sum()) == pytest.approx(float(maps.grad[place]), abs=1e-4)


def test_no_boxes() -> None:
    assert roi_align([torch.randn(1, 5, 4, 4)], torch.zeros(0, 4), torch.zeros(0).long(), (4,), 7).shape == (0, 5, 7, 7)


def test_boxes_belong_to_the_level_of_their_size() -> None:
    """224 pixels belong to the map of stride 16, half of that to stride 8; a box of no area to the finest."""
    sides = [0, 20, 111, 112, 223, 224, 447, 448, 5000]
    boxes = torch.tensor([[0.0, 0.0, side, side] for side in sides])
    assert pyramid_levels(boxes, 4).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert pyramid_levels(torch.tensor([[0.0, 0.0, 448.0, 112.0]]), 4).tolist() == [2]
