"""R-CNN and Fast R-CNN: what is learned from which proposals, what is fitted, and pictures with few or no objects."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pixelwise.catalog import SYSTEMS, create_model
from pixelwise.data.targets import ObjectTargets
from pixelwise.models.detect.fast_rcnn import MaxPooledRoIHeads
from pixelwise.models.detect.proposals import BlobScorer, Proposer
from pixelwise.models.detect.rcnn import RCNN, BoxRegression, HardNegatives
from pixelwise.nn.boxes import pairwise_iou


def picture(boxes: list[list[int]], classes: list[int], size: int = 64) -> Tensor:
    """(1, 3, size, size): squares, red for class 1 and blue for class 2, on a dark ground."""
    image = torch.full((1, 3, size, size), -1.0)
    for (left, top, right, bottom), class_id in zip(boxes, classes, strict=True):
        image[0, 0 if class_id == 1 else 2, top:bottom, left:right] = 1.0
    return image


def objects(boxes: list[list[float]], classes: list[int], proposals: Tensor | None = None) -> ObjectTargets:
    own = torch.tensor(boxes or [[torch.nan] * 4])[None]
    ids = torch.tensor(classes or [-1])[None]
    return ObjectTargets(own, ids, proposals=None if proposals is None else proposals[None])


def made(name: str, **options: object) -> torch.nn.Module:
    return create_model(name, num_classes=3, **{**SYSTEMS[name].tiny, **options})


@pytest.mark.parametrize("name", ["rcnn", "fast_rcnn"])
@pytest.mark.parametrize(
    ("boxes", "classes"),
    [([], []), ([[10.0, 10.0, 11.0, 11.0]], [1]), ([[5.0, 5.0, 5.0, 20.0]], [2]), ([[8.0, 8.0, 40.0, 30.0]], [1])],
    ids=["none", "one pixel", "no area", "one"],
)
def test_losses_are_finite_whatever_the_objects(name: str, boxes: list[list[float]], classes: list[int]) -> None:
    torch.manual_seed(0)
    network = made(name)
    values = network.losses(picture([[8, 8, 40, 30]], [1]), objects(boxes, classes))
    assert {"class", "blob", "loss"} <= set(values)
    assert all(torch.isfinite(value) for value in values.values())
    values["loss"].backward()
    with torch.inference_mode():
        found = network.eval()(torch.zeros(2, 3, 40, 56))
    assert len(found) == 2  # a flat picture has one proposal, and no more


@pytest.mark.parametrize("name", ["rcnn", "fast_rcnn"])
def test_proposals_that_are_given_are_those_that_are_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = made(name)

    def never(*_: object) -> list[Tensor]:
        raise AssertionError("searched although proposals were given")

    monkeypatch.setattr(Proposer, "candidates", never)
    proposals = torch.tensor([[0.0, 0.0, 30.0, 30.0], [5.0, 5.0, 60.0, 50.0], [torch.nan] * 4])
    values = network.losses(torch.zeros(1, 3, 64, 64), objects([[4.0, 4.0, 31.0, 31.0]], [1], proposals))
    assert torch.isfinite(values["loss"])


def test_fast_rcnn_takes_background_that_touches_an_object_first() -> None:
    heads = MaxPooledRoIHeads(4, 8, 2, 16, sampled=4)
    truth = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    near = torch.tensor([[0.0, 0.0, 10.0, 30.0]]).repeat(3, 1)  # IoU 1/3
    far = torch.tensor([[50.0, 50.0, 60.0, 60.0]]).repeat(5, 1)
    every = torch.cat([truth, near, far])
    overlaps = pairwise_iou(truth, every)
    matches = heads.matcher(overlaps)
    assert set(heads.drawn(matches, overlaps).tolist()) == {0, 1, 2, 3}
    fewer = [0, 1, 4, 5, 6]
    chosen = heads.drawn(matches[fewer], overlaps[:, fewer])
    assert set(chosen[:2].tolist()) == {0, 1}
    assert len(chosen) == 4  # filled up with what touches nothing


def test_the_whole_picture_goes_through_fast_rcnn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network = made("fast_rcnn").eval()
    calls = []
    network.encoder.register_forward_hook(lambda *_: calls.append(1))
    plain = network.encoder.pyramid
    monkeypatch.setattr(network.encoder, "pyramid", lambda images: calls.append(len(images)) or plain(images))
    with torch.inference_mode():
        network(picture([[8, 8, 40, 30]], [1]))
    assert calls == [1]


def test_fitted_machines_find_what_is_learned() -> None:
    torch.manual_seed(0)
    network = made("rcnn", ranked=False, sampled=32, proposals=300)
    scenes = [([[8, 8, 28, 28], [36, 30, 60, 54]], [1, 2]), ([[30, 6, 54, 30]], [1]), ([[6, 34, 30, 58]], [2])]
    batches = [
        (picture(boxes, classes), objects([[float(v) for v in box] for box in boxes], classes))
        for boxes, classes in scenes
    ]
    optimizer = torch.optim.Adam(network.parameters(), 3e-4)
    for _ in range(80):
        for images, targets in batches:
            optimizer.zero_grad()
            network.losses(images, targets)["loss"].backward()
            optimizer.step()
    network.eval()
    with torch.inference_mode():
        assert not len(network(batches[0][0])[0].boxes)  # nothing is fitted yet, so nothing is found
    network.fit(batches)
    network.fit(batches)  # once more gives the same
    with torch.inference_mode():
        for (boxes, classes), (images, _) in zip(scenes, batches, strict=True):
            found = network(images)[0]
            for box, class_id in zip(boxes, classes, strict=True):
                of_class = found.classes == class_id
                overlaps = pairwise_iou(torch.tensor([box]).float(), found.boxes[of_class])[0]
                here = found.scores[of_class][overlaps > 0.7].max()
                others = found.classes != class_id
                wrong = found.scores[others][pairwise_iou(torch.tensor([box]).float(), found.boxes[others])[0] > 0.7]
                assert (here > wrong).all()
                assert here > 0.4


def test_hard_negatives_leave_out_easy_ones_and_change_nothing_by_it() -> None:
    rng = np.random.default_rng(0)
    positives = rng.normal(2, 1, (30, 5)).astype(np.float32)
    negatives = [rng.normal(-1, 1.5, (100, 5)).astype(np.float32) for _ in range(20)]
    mined = HardNegatives(20.0)
    mined.add(positives, negatives[0])
    for part in negatives[1:]:
        mined.add(positives[:0], part)
    weight, bias = mined.fitted(5)
    assert len(mined.negatives) < 1000
    decisions = np.concatenate(negatives) @ weight + bias
    assert (positives @ weight + bias > 0).mean() > 0.8
    assert (decisions < 0).mean() > 0.95


def test_a_class_without_examples_finds_nothing() -> None:
    machine = HardNegatives(20.0)
    weight, bias = machine.fitted(4)
    assert not weight.any()
    assert torch.sigmoid(torch.tensor(bias)) < 0.001
    machine.add(np.zeros((0, 4), np.float32), np.ones((5, 4), np.float32))
    assert not machine.fitted(4)[0].any()


def test_box_regression_recovers_a_linear_map() -> None:
    rng = np.random.default_rng(0)
    features, truth = rng.normal(size=(400, 6)).astype(np.float32), rng.normal(size=(4, 6)).astype(np.float32)
    regression = BoxRegression()
    regression.add(features, features @ truth.T + 0.5)
    weights, biases = regression.fitted(6)
    assert weights == pytest.approx(truth, abs=0.02)
    assert biases == pytest.approx(0.5, abs=0.02)
    assert not BoxRegression().fitted(6)[0].any()


def test_a_blob_scorer_learns_to_put_objects_first() -> None:
    torch.manual_seed(0)
    scorer = BlobScorer(3, width=8)
    boxes = [[8, 8, 28, 28], [36, 30, 60, 54]]
    image, true = picture(boxes, [1, 2]), torch.tensor(boxes).float()
    corners = torch.rand(200, 2) * 44
    proposals = torch.cat([torch.cat([corners, corners + 8 + torch.rand(200, 2) * 12], 1), true])
    targets = objects(true.tolist(), [1, 2])
    optimizer = torch.optim.Adam(scorer.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        scorer.losses(image, [proposals], targets)["blob"].backward()
        optimizer.step()
    ordered = scorer.ordered(image, [proposals])[0]
    first = pairwise_iou(true, ordered[:20]).amax(1)
    assert (first > 0.7).all()
    assert {*map(tuple, ordered.tolist())} == {*map(tuple, proposals.tolist())}


def test_rcnn_needs_its_own_method() -> None:
    network = made("rcnn")
    assert isinstance(network, RCNN)
    assert SYSTEMS["rcnn"].method == "rcnn"
    assert not any(name.startswith(("svms", "regression")) for name, _ in network.named_parameters())
    assert {"svms.weight", "regression.bias"} <= set(network.state_dict())
