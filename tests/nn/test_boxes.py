"""Boxes: numbers that one can check by hand, and laws."""

from __future__ import annotations

import torch

from pixelwise.nn.boxes import (
    area,
    clip,
    from_centre_size,
    intersection,
    iou,
    pairwise_iou,
    rescale,
    to_centre_size,
)


def random_boxes(count: int, seed: int = 0) -> torch.Tensor:
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 20
    return torch.cat([corners.amin(1), corners.amax(1)], 1)


def test_areas_and_overlaps_by_hand() -> None:
    first = torch.tensor([[0.0, 0.0, 4.0, 2.0], [1.0, 1.0, 2.0, 2.0], [3.0, 0.0, 1.0, 2.0], [5.0, 5.0, 5.0, 9.0]])
    second = torch.tensor([[2.0, 1.0, 6.0, 3.0], [4.0, 0.0, 8.0, 2.0]])
    assert area(first).tolist() == [8, 1, 0, 0]  # the last two: edges the wrong way round, no width
    assert intersection(first[:1], second).tolist() == [2, 0]  # the second one touches, and shares no pixel
    expected = [[2 / 14, 0], [0, 0], [0, 0], [0, 0]]
    assert torch.allclose(pairwise_iou(first, second), torch.tensor(expected))
    assert iou(first[3], first[3]) == 0  # no area, no overlap, and no division by zero


def test_overlap_equals_counted_pixels() -> None:
    first, second = random_boxes(12).round(), random_boxes(9, seed=1).round()

    def covered(box: torch.Tensor) -> torch.Tensor:
        mask = torch.zeros(20, 20, dtype=torch.bool)
        left, top, right, bottom = box.int().tolist()
        mask[top:bottom, left:right] = True
        return mask

    for box, row in zip(first, pairwise_iou(first, second), strict=True):
        for other, found in zip(second, row, strict=True):
            both, either = covered(box) & covered(other), covered(box) | covered(other)
            assert float(found) == (float(both.sum() / either.sum().double()) if either.any() else 0)


def test_broadcasting_over_leading_axes() -> None:
    first, second = random_boxes(6).view(2, 3, 4), random_boxes(8, seed=1).view(2, 4, 4)
    found = pairwise_iou(first, second)
    assert found.shape == (2, 3, 4)
    for batch in range(2):
        assert torch.equal(found[batch], pairwise_iou(first[batch], second[batch]))


def test_laws() -> None:
    boxes = random_boxes(50)
    assert torch.allclose(iou(boxes, boxes), torch.ones(50, dtype=torch.float64))
    assert torch.allclose(from_centre_size(to_centre_size(boxes)), boxes)
    assert torch.allclose(iou(rescale(boxes, 3, 0.5), rescale(boxes.flip(0), 3, 0.5)), iou(boxes, boxes.flip(0)))
    assert torch.allclose(area(rescale(boxes, 3, 0.5)), 1.5 * area(boxes))


def test_rescale_and_clip_know_their_axes() -> None:
    assert rescale(torch.tensor([1.0, 2.0, 3.0, 4.0]), 10, 100).tolist() == [100, 20, 300, 40]
    boxes = torch.tensor([[-3.0, -1.0, 30.0, 12.0], [25.0, 2.0, 40.0, 3.0]])
    assert clip(boxes, height=10, width=20).tolist() == [[0, 0, 20, 10], [20, 2, 20, 3]]
    assert area(clip(boxes, 10, 20)).tolist() == [200, 0]
