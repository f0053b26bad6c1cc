"""Faster and Mask R-CNN: torchvision's names and numbers, losses by hand, and pictures with few or odd objects."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_parity import fill
from torch import Tensor

from pixelwise.catalog import SYSTEMS, create_model
from pixelwise.data.targets import ObjectTargets
from pixelwise.models.detect.faster_rcnn import FasterRCNN, RegionProposed
from pixelwise.nn.mask_paste import paste_masks

TINY = dict(SYSTEMS["mask_rcnn"].tiny)


def agrees(found: Tensor, vector: dict[str, Any]) -> None:
    tolerance = 1e-4 * vector["std"]
    assert list(found.shape) == vector["shape"]
    assert found.flatten()[:8].tolist() == pytest.approx(vector["first8"], abs=tolerance)
    assert float(found.mean()) == pytest.approx(vector["mean"], abs=tolerance)
    assert float(found.std()) == pytest.approx(vector["std"], abs=tolerance)


@pytest.mark.parametrize("name", ["faster_rcnn", "mask_rcnn"])
def test_torchvisions_names_and_numbers(name: str, shared_folder: Path) -> None:
    vectors = json.loads((shared_folder / "reference" / "dense_and_detection.json").read_text())
    vector = vectors[{"faster_rcnn": "fasterrcnn", "mask_rcnn": "maskrcnn"}[name] + "_resnet50_fpn"]
    network = create_model(name, num_classes=91).eval()
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    assert {key: list(shape) for key, shape in shapes.items()} == vector["keys"]
    network.load_state_dict({key: fill(key, shape) for key, shape in shapes.items()})

    def noise(*size: int, seed: int) -> Tensor:
        return torch.randn(*size, generator=torch.Generator().manual_seed(seed))

    with torch.inference_mode():
        maps, _ = network.maps(noise(*vector["input"], seed=7))
        for level, found in zip(("0", "1", "2", "3", "pool"), maps, strict=True):
            agrees(found, vector["fpn"][level])
        logits, offsets = network.rpn.head(maps)
        agrees(logits[0], vector["rpn_objectness0"])
        agrees(offsets[0], vector["rpn_deltas0"])
        anchors = torch.cat(network.rpn.anchors(maps, tuple(vector["input"][2:])))
        assert len(anchors) == vector["anchors"]["count"]
        assert anchors[:4].tolist() == vector["anchors"]["first4"]
        assert anchors[-2:].tolist() == vector["anchors"]["last2"]
        heads = network.roi_heads
        classes, boxes = heads.box_predictor(heads.box_head(noise(2, 256, 7, 7, seed=9)))
        agrees(classes, vector["class_logits"])
        agrees(boxes, vector["box_regression"])
        if name == "mask_rcnn":
            agrees(heads.mask_predictor(heads.mask_head(noise(1, 256, 14, 14, seed=11))), vector["mask_logits"])


def scene() -> tuple[Tensor, ObjectTargets]:
    """Two pictures, one with two objects and one with none."""
    ids = torch.zeros(2, 64, 96, dtype=torch.int32)
    ids[0, 10:30, 20:50] = 1
    ids[0, 36:60, 60:90] = 2
    boxes = torch.full((2, 2, 4), torch.nan)
    boxes[0] = torch.tensor([[20.0, 10.0, 50.0, 30.0], [60.0, 36.0, 90.0, 60.0]])
    classes = torch.full((2, 2), -1)
    classes[0] = torch.tensor([1, 2])
    images = 0.2 * torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    images += (ids == 1)[:, None] * torch.tensor([0.8, 0.0, 0.0]).view(3, 1, 1)
    images += (ids == 2)[:, None] * torch.tensor([0.0, 0.8, 0.0]).view(3, 1, 1)
    return images, ObjectTargets(boxes, classes, ids)


@pytest.mark.parametrize("name", ["mask_rcnn", "mask_rcnn_padded"])
def test_a_scene_is_learned(name: str) -> None:
    """The objects are found, with their classes, boxes and outlines, and nothing in the empty picture."""
    torch.manual_seed(0)
    images, targets = scene()
    network = create_model(name, num_classes=3, **{**TINY, "width": 32, "hidden": 64})
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    for _ in range(120):
        loss = network.losses(images, targets)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():  # batch norm by the batch: running statistics take longer than a hundred steps
        found, nothing = network(images)
    sure = found.scores > 0.5
    assert sorted(found.classes[sure].tolist()) == [1, 2]
    pieces = paste_masks(found.masks, found.boxes, (64, 96), windows=found.windows)
    for number in sure.nonzero().flatten().tolist():
        class_id = int(found.classes[number])
        assert torch.allclose(found.boxes[number], targets.boxes[0, class_id - 1], atol=4)
        own = (targets.masks[0] == class_id).numpy()
        drawn = np.zeros((64, 96), bool)
        drawn[pieces[number].window] = pieces[number].mask
        assert (own & drawn).sum() / (own | drawn).sum() > 0.75
    assert not (nothing.scores > 0.5).any()


@pytest.mark.parametrize("name", ["faster_rcnn", "mask_rcnn", "mask_rcnn_padded"])
def test_pictures_without_objects_and_objects_without_area_teach_background(name: str) -> None:
    torch.manual_seed(0)
    images, targets = scene()
    network = create_model(name, num_classes=3, **TINY).train()
    flat = targets.boxes.clone()
    flat[0, 0, 2] = flat[0, 0, 0]  # no width
    flat[0, 1] = torch.nan
    for boxes in (flat, torch.full_like(flat, torch.nan)):
        values = network.losses(images, ObjectTargets(boxes, targets.classes, torch.zeros_like(targets.masks)))
        assert all(value.isfinite() for value in values.values())
        assert float(values["box"].detach()) == 0
        values["loss"].backward()
        for key, parameter in network.named_parameters():  # processes of one run average the same gradients
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key


def test_one_pixel_is_an_object() -> None:
    images, targets = scene()
    boxes = targets.boxes.clone()
    boxes[0, 0] = torch.tensor([5.0, 5.0, 6.0, 6.0])
    ids = targets.masks.clone()
    ids[0] = 0
    ids[0, 5, 5] = 1
    ids[0, 36:60, 60:90] = 2
    values = create_model("mask_rcnn", num_classes=3, **TINY).losses(images, ObjectTargets(boxes, targets.classes, ids))
    assert all(value.isfinite() for value in values.values())


def test_objectness_is_learned_by_the_anchors_that_overlap_an_object_most() -> None:
    """Two anchors, one on the object and one far away; logits 2 and 0: the mean of log(1 + e^-2) and log 2."""
    network = create_model("faster_rcnn", num_classes=3, **TINY)
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]])
    found = RegionProposed(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2, 4), anchors, [anchors])
    values = network.rpn.losses(found, [torch.tensor([[1.0, 0.0, 11.0, 10.0]])], [torch.zeros(0, 4)])
    assert float(values["objectness"]) == pytest.approx((0.126928 + 0.693147) / 2, abs=1e-5)
    # dx = 0.1 lies below beta, 1/9: 0.5 * 0.1 ** 2 * 9, per sampled anchor.
    assert float(values["proposal_box"]) == pytest.approx(0.5 * 0.01 * 9 / 2, abs=1e-6)


def test_padding_moves_nothing() -> None:
    """A picture whose sides are no multiples of the stride has its boxes within it."""
    torch.manual_seed(0)
    network = create_model("faster_rcnn", num_classes=3, **TINY).eval()
    network.limits = network.limits._replace(score=0.0)
    with torch.inference_mode():
        (found,) = network(torch.randn(1, 3, 45, 71))
    assert len(found.boxes) > 0
    assert (found.boxes >= 0).all()
    assert (found.boxes[:, 2] <= 71).all()
    assert (found.boxes[:, 3] <= 45).all()
    assert isinstance(network, FasterRCNN)
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert (found.classes > 0).all()


def test_a_larger_picture_has_as_many_more_proposals_and_objects() -> None:
    """Per area as many as in a crop of training, so that what is found does not depend on how a picture is cut."""
    torch.manual_seed(0)
    network = create_model("faster_rcnn", **{**TINY, "num_classes": 3, "proposals": 20, "detections": 5}).eval()
    network.limits = network.limits._replace(area=64 * 64, overlap=1.0)
    counts = {}
    with torch.inference_mode():
        for side in (32, 64, 128):
            images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(side))
            maps, picture = network.maps(images)
            proposals = network.rpn(maps, picture, network.limits.growth(picture)).boxes[0]
            counts[side] = len(proposals), len(network(images)[0].boxes)
    assert counts[64] == (20, 5)
    assert counts[128] == (80, 20)
    assert counts[32] == (20, 5), "a small picture has as many as a crop, as it may be full of objects too"
    network.limits = network.limits._replace(area=None)
    with torch.inference_mode():
        assert len(network(torch.zeros(1, 3, 128, 128))[0].boxes) == 5


@pytest.mark.parametrize("name", ["faster_rcnn", "mask_rcnn"])
def test_nothing_is_learned_where_everything_is_ignored(name: str) -> None:
    """A picture full of a crowd has no background; beside an object, that object alone is learned."""
    torch.manual_seed(0)
    images, targets = scene()
    network = create_model(name, num_classes=3, **dict(SYSTEMS[name].tiny)).train()
    nowhere = replace(targets, boxes=torch.full((2, 1, 4), torch.nan), classes=torch.full((2, 1), -1))
    everywhere = torch.tensor([-999.0, -999.0, 999.0, 999.0]).expand(2, 1, 4)
    losses = network.losses(images, replace(nowhere, ignored=everywhere))
    assert all(value.item() == 0 for value in losses.values())
    assert network.losses(images, nowhere)["objectness"].item() > 0.1
    losses = network.losses(images, replace(targets, ignored=everywhere))
    losses["loss"].backward()
    assert losses["class"].item() > 0
    _, matches = network.roi_heads.sample([everywhere[0]] * 2, replace(targets, ignored=everywhere))
    assert sorted(matches.tolist()) == [0, 1]
