"""YOLO: the loss by hand, the paper's sizes, and a scene that is learned."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pixelwise.catalog import create_model
from pixelwise.data.targets import ObjectTargets
from pixelwise.models.detect.yolo import Cells, YOLOv1, yolo_loss

CELLS = Cells(2, 2, 2)


def grids() -> tuple[Tensor, Tensor]:
    """One picture of 2 x 2 cells, everything 0."""
    return torch.zeros(1, 2, 2, 2, 5), torch.zeros(1, 2, 2, 2)


def test_the_loss_of_a_cell_by_hand() -> None:
    """A box with IoU 1 and confidence 0.8, the other 0.6, class scores 0.7 and 0.1: 0.04 + 0.18 + 0.10."""
    boxes, classes = grids()
    true = torch.tensor([[0.125, 0.125, 0.375, 0.375]])  # centre in the middle of the first cell, a quarter wide
    boxes[0, 0, 0, 0] = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.8])
    boxes[0, 0, 0, 1] = torch.tensor([0.9, 0.9, 0.1, 0.1, 0.6])
    classes[0, 0, 0] = torch.tensor([0.7, 0.1])
    values = yolo_loss(CELLS, boxes, classes, [true], [torch.tensor([0])])
    assert float(values["box"]) == pytest.approx(0, abs=1e-12)
    assert float(values["confidence"]) == pytest.approx(0.04 + 0.18)
    assert float(values["class"]) == pytest.approx(0.10)
    assert float(values["loss"]) == pytest.approx(0.32)


def test_an_empty_cell_pays_for_every_confidence() -> None:
    boxes, classes = grids()
    boxes[0, 1, 1, :, 4] = torch.tensor([0.8, 0.6])
    classes[0, 1, 1] = 0.9  # without an object, classes are free
    values = yolo_loss(CELLS, boxes, classes, [torch.zeros(0, 4)], [torch.zeros(0).long()])
    assert float(values["loss"]) == pytest.approx(0.5)


def test_the_box_of_the_largest_iou_is_responsible_and_is_to_have_it_as_confidence() -> None:
    boxes, classes = grids()
    true = torch.tensor([[0.0, 0.0, 0.5, 0.5]])
    boxes[0, 0, 0, 0] = torch.tensor([0.5, 0.5, 0.25**0.5, 0.5**0.5, 0.0])  # half of the object: IoU 0.5
    boxes[0, 0, 0, 1] = torch.tensor([0.5, 0.5, 0.1, 0.1, 0.0])
    values = yolo_loss(CELLS, boxes, classes, [true], [torch.tensor([1])])
    assert float(values["confidence"]) == pytest.approx(0.25), "(0 - 0.5) ** 2"
    assert float(values["box"]) == pytest.approx((0.5**0.5 - 0.25**0.5) ** 2)


def test_without_any_overlap_the_nearest_box_is_responsible() -> None:
    boxes, classes = grids()
    true = torch.tensor([[0.9, 0.9, 0.92, 0.92]])
    boxes[0, 1, 1, 0] = torch.tensor([0.1, 0.1, 0.1, 0.1, 0.0])
    boxes[0, 1, 1, 1] = torch.tensor([0.7, 0.7, 0.1, 0.1, 0.0])
    boxes.requires_grad_(True)
    yolo_loss(CELLS, boxes, classes, [true], [torch.tensor([0])])["box"].backward()
    assert boxes.grad is not None
    assert boxes.grad[0, 1, 1, 0].abs().sum() == 0
    assert boxes.grad[0, 1, 1, 1].abs().sum() > 0


def test_decoding_gives_the_box_that_the_targets_came_from() -> None:
    boxes, _ = grids()
    boxes[0, 1, 0, 0] = torch.tensor([0.25, 0.75, 0.3**0.5, 0.2**0.5, 1.0])
    left, top, right, bottom = CELLS.corners(boxes)[0, 1, 0, 0].tolist()
    assert ((left + right) / 2, (top + bottom) / 2) == (pytest.approx(0.125), pytest.approx(0.875))
    assert (right - left, bottom - top) == (pytest.approx(0.3), pytest.approx(0.2))


def test_a_scene_is_learned_and_an_empty_picture_stays_empty() -> None:
    torch.manual_seed(0)
    images = 0.1 * torch.rand(2, 3, 64, 64)
    images[0, 0, 8:28, 8:40] += 0.9
    images[0, 1, 40:60, 40:60] += 0.9
    boxes = torch.full((2, 2, 4), torch.nan)
    boxes[0] = torch.tensor([[8.0, 8.0, 40.0, 28.0], [40.0, 40.0, 60.0, 60.0]])
    classes = torch.tensor([[1, 2], [-1, -1]])
    network = YOLOv1(num_classes=2, encoder="mobilenet_v2", size=64, cells=2, hidden=64)
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    for _ in range(120):
        loss = network.losses(images, ObjectTargets(boxes, classes))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():  # batch norm by the batch: running statistics take longer than this
        found, nothing = network(images)
    sure = found.scores > 0.4
    assert sorted(found.classes[sure].tolist()) == [1, 2]
    for box, class_id in zip(found.boxes[sure], found.classes[sure], strict=True):
        assert torch.allclose(box, boxes[0, class_id - 1], atol=5)
    assert not (nothing.scores > 0.4).any()


def test_the_papers_network() -> None:
    with torch.device("meta"):
        network = create_model("yolo_v1", num_classes=20)
        assert sum(parameter.numel() for parameter in network.parameters()) == 271_703_550
        boxes, classes = network.grids(torch.empty(1, 3, 448, 448))
    assert boxes.shape == (1, 7, 7, 2, 5)
    assert classes.shape == (1, 7, 7, 20)


def test_idle_boxes_on_an_ignored_object_pay_nothing_and_the_responsible_one_pays_as_ever() -> None:
    boxes, classes = grids()
    boxes[..., 2:4] = 0.5**0.5
    boxes[..., :2] = 0.5
    boxes[0, ..., 4] = torch.tensor([[[0.8, 0.6], [0.4, 0.2]], [[0.1, 0.3], [0.5, 0.7]]])
    none, labels = [torch.zeros(0, 4)], [torch.zeros(0).long()]
    crowd = torch.tensor([[[0.0, 0.0, 0.5, 1.0], [torch.nan] * 4]])  # the left column of cells
    left = yolo_loss(CELLS, boxes, classes, none, labels, crowd)
    assert float(left["confidence"]) == pytest.approx(0.5 * (0.4**2 + 0.2**2 + 0.5**2 + 0.7**2))
    true = [torch.tensor([[0.0, 0.0, 0.5, 0.5]])]  # both boxes of the first cell fit it
    found = yolo_loss(CELLS, boxes, classes, true, [torch.tensor([0])], crowd)
    assert float(found["confidence"] - left["confidence"]) == pytest.approx((0.8 - 1) ** 2, abs=1e-6)


def test_a_shared_head_predicts_each_cell_from_its_neighbours_alone() -> None:
    torch.manual_seed(0)
    network = create_model(
        "yolo_v1", num_classes=3, encoder="mobilenet_v2", size=64, cells=5, hidden=8, shared=True
    ).eval()
    maps = torch.randn(1, network.head[0].in_channels, 5, 5, requires_grad=True)
    boxes, classes = network.grid(network.head(maps))
    for row, column in ((0, 0), (2, 3), (4, 1)):
        for values in (boxes[0, row, column], classes[0, row, column]):
            (gradient,) = torch.autograd.grad(values.sum(), maps, retain_graph=True)
            rows, columns = (gradient[0].abs().sum(0) != 0).nonzero(as_tuple=True)
            assert (rows - row).abs().max() <= 1
            assert (columns - column).abs().max() <= 1
    shifted_boxes, _ = network.grid(network.head(maps.roll(1, -1)))
    torch.testing.assert_close(shifted_boxes[:, 1:-1, 2:-1], boxes[:, 1:-1, 1:-2])  # the same weights in every cell
