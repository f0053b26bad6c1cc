"""Non-maximum suppression against the loop of its definition, and where boxes have no area."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.nn.boxes import pairwise_iou
from pixelwise.nn.nms import nms


def by_definition(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    remaining = sorted(range(len(boxes)), key=lambda number: -float(scores[number]))
    overlaps = pairwise_iou(boxes, boxes)
    kept: list[int] = []
    while remaining:
        best = remaining.pop(0)
        kept.append(best)
        remaining = [number for number in remaining if overlaps[best, number] <= threshold]
    return kept


def test_equals_the_definition() -> None:
    draw = torch.Generator().manual_seed(0)
    for count in (1, 2, 50, 300):
        corners = torch.rand(count, 2, generator=draw) * 60
        boxes = torch.cat([corners, corners + torch.rand(count, 2, generator=draw) * 40], 1)
        scores = torch.rand(count, generator=draw)
        for threshold in (0.1, 0.5, 0.9):
            assert nms(boxes, scores, threshold).tolist() == by_definition(boxes, scores, threshold)


def test_groups_do_not_suppress_each_other() -> None:
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [0.0, 0.0, 10.0, 8.0]])
    scores = torch.tensor([0.5, 0.9, 0.7])
    assert nms(boxes, scores, 0.5).tolist() == [1]
    assert nms(boxes, scores, 0.5, torch.tensor([1, 2, 1])).tolist() == [1, 2]


def test_boxes_without_an_area_stay() -> None:
    boxes = torch.tensor([[3.0, 3.0, 3.0, 3.0], [3.0, 3.0, 3.0, 3.0], [0.0, 0.0, 9.0, 9.0]])
    assert nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist() == [0, 1, 2]


def test_equal_scores_keep_their_order_and_no_boxes_give_none() -> None:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [20.0, 0.0, 24.0, 4.0], [40.0, 0.0, 44.0, 4.0]])
    assert nms(boxes, torch.ones(3), 0.5).tolist() == [0, 1, 2]
    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []
