"""What is shown of detectors is what they compute, and what explains a box is what the box was decided from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from pixelwise.catalog import SYSTEMS, create_model, task_of
from pixelwise.data.pictures import PictureFormat
from pixelwise.data.scenes import scene
from pixelwise.explain import explain, grad_cam, occlusion
from pixelwise.explain.activations import hooked
from pixelwise.models.detect.detector import Detections
from pixelwise.models.spec import ModelSpec, save_model
from pixelwise.nn.anchors import anchor_shapes
from pixelwise.report.boxes import draw_boxes
from pixelwise.tasks.insight import Window, laid_over, with_forward
from pixelwise.tasks.objects.grid_insight import GridInsight, boxes_by_confidence
from pixelwise.tasks.objects.insight import LONGEST, ObjectInsight, middle
from pixelwise.tasks.objects.region_insight import (
    MARGIN,
    SUREST,
    Level,
    RegionInsight,
    anchors_at,
    every_anchor,
    to_scale,
)

NAMES = ("background", "a", "b", "c")
DETECTORS = ("faster_rcnn", "mask_rcnn", "mask_rcnn_padded", "yolo_v1", "fast_rcnn", "rcnn")


def spec_of(name: str, options: dict[str, Any], size: tuple[int, int] | None) -> ModelSpec:
    return ModelSpec(name, options, NAMES, PictureFormat(3, "uint8"), (127.5,) * 3, (127.5,) * 3, input_size=size)


def built(name: str) -> tuple[Any, ModelSpec]:
    """A tiny detector with random weights, for three classes of objects."""
    torch.manual_seed(0)
    options = {**SYSTEMS[name].tiny, "num_classes": 3 if name == "yolo_v1" else 4}
    network = create_model(name, **options).eval()
    if name == "yolo_v1":  # so that some boxes are confident, and of unlike classes
        with torch.no_grad():
            network.head[-1].bias.normal_(0.5, 0.5)
    if name == "rcnn":  # nothing is found before its machines are fitted
        network.svms.weight.normal_(0, 0.1)
        network.svms.bias.zero_()
    size = getattr(network, "window", None)
    return network, spec_of(name, options, size)


def insight_of(network: nn.Module, spec: ModelSpec) -> ObjectInsight:
    insight = task_of(spec).insight(network, spec)
    assert isinstance(insight, ObjectInsight)
    return insight


def pictured(spec: ModelSpec) -> tuple[np.ndarray, Tensor]:
    image = scene(3, spec.input_size or (80, 112)).image
    images = torch.from_numpy((image.astype(np.float32) - 127.5) / 127.5).permute(2, 0, 1)[None]
    return image, images


def levels_of(network: Any, images: Tensor) -> list[Level]:
    return RegionInsight(network, spec_of("faster_rcnn", {}, None)).levels(network.maps(images)[0])


@pytest.mark.parametrize("name", DETECTORS)
@torch.no_grad()
def test_the_score_of_a_box_comes_from_the_source_that_is_named(name: str) -> None:
    network, spec = built(name)
    _, images = pictured(spec)
    found = network(images)[0].select(torch.arange(5))
    assert len(found.boxes) == 5
    sources = network.sources(images, found)
    for number, source in enumerate(sources):
        class_id, scores = int(found.classes[number]), source.scores(images)
        assert scores.shape == (1, 4)
        if name == "yolo_v1":
            left, top, right, bottom = (source.region * network.grid.cells / images.shape[-1]).round().int().tolist()
            assert (right - left, bottom - top) == (1, 1), "one cell"
            confidences = network.grids(images)[0][0, top, left, :, 4]
            expected = (confidences * scores[0, class_id]).clamp(0, 1)
            assert float((expected - found.scores[number]).abs().min()) < 1e-5
        else:
            share = scores.sigmoid() if name == "rcnn" else scores.softmax(1)
            assert float(share[0, class_id]) == pytest.approx(float(found.scores[number]), abs=1e-5)
            given = hasattr(network, "proposer")
            proposals = network.proposer(images)[0] if given else network.rpn(*network.maps(images)).boxes[0]
            assert (proposals == source.region).all(1).any()


@torch.no_grad()
def test_the_objectness_of_an_untrained_head_is_flat() -> None:
    network, spec = built("faster_rcnn")
    _, images = pictured(spec)
    for level in levels_of(network, images):
        assert np.abs(level.objectness - 0.5).max() < 0.02
    nn.init.constant_(network.rpn.head.cls_logits.bias, math.log(3))
    nn.init.zeros_(network.rpn.head.cls_logits.weight)
    for level in levels_of(network, images):
        assert level.objectness == pytest.approx(0.75)


@torch.no_grad()
def test_the_anchors_that_are_drawn_are_those_of_the_network() -> None:
    network, spec = built("faster_rcnn")
    image, images = pictured(spec)  # 80 x 112: padded to 96 x 128
    maps, _ = network.maps(images)
    levels = levels_of(network, images)
    assert torch.equal(every_anchor(levels), torch.cat(network.rpn.anchors(maps, (96, 128))))
    sizes = SYSTEMS["faster_rcnn"].tiny.get("anchor_sizes", (32, 64, 128, 256, 512))
    for level, size in zip(levels, sizes, strict=True):
        own = anchors_at(level, 40.0, 60.0)
        centre = (own[:, :2] + own[:, 2:]) / 2
        assert np.ptp(centre, 0) == pytest.approx(0)
        x, y = centre[0]
        assert own == pytest.approx(anchor_shapes(size, (0.5, 1.0, 2.0)).numpy() + np.array([x, y, x, y]))
        assert abs(y - 40) <= level.step[0] / 2 or y == level.step[0] * (level.anchors.shape[0] - 1)
        assert level.side == size
    here = [anchors_at(level, 40.0, 60.0) for level in levels]
    drawn = to_scale(image, here, np.full((256, 3), 255, np.uint8))
    boxes = np.concatenate(here)
    # One pixel of the canvas is one of the picture, so the canvas is as large as what is drawn reaches.
    reach = np.maximum(boxes[:, 2:].max(0), (112, 80)) - np.minimum(boxes[:, :2].min(0), 0)
    assert drawn.shape[:2] == (reach[1], reach[0])
    assert (drawn[0, 0] == MARGIN).all()


@torch.no_grad()
def test_the_proposals_that_are_drawn_are_those_of_the_network() -> None:
    network, spec = built("mask_rcnn")
    image, images = pictured(spec)
    groups = {group.title: group for group in insight_of(network, spec).examine(image, images, []).groups}
    assert list(groups) == ["What it finds", "Objectness", "Region proposals", "Anchors", "Masks"]
    shown = network.rpn(*network.maps(images)).boxes[0].numpy()[:SUREST]
    expected = draw_boxes(image, shown, np.zeros(len(shown), np.int64))
    assert np.array_equal(groups["Region proposals"].panels[0].picture, expected)
    assert len(groups["Objectness"].panels) == len(levels_of(network, images))
    assert all(group.about for title, group in groups.items() if title != "What it finds")


def test_grad_cam_at_a_region_counts_nothing_that_the_logit_does_not_depend_on() -> None:
    network, spec = built("faster_rcnn")
    image, images = pictured(spec)
    with torch.no_grad():
        reason = insight_of(network, spec).examine(image, images, []).reasons[0]
        source = network.sources(images, network(images)[0])[0]
    assert reason.layer is not None
    local = grad_cam(reason.network, images, reason.score, layer=reason.layer, local=True)
    plain = grad_cam(reason.network, images, reason.score, layer=reason.layer)
    stride = network.roi_heads.strides[int(reason.layer.rsplit(".", 1)[1])]
    # RoIAlign reads between the places around the region, which is widened to one place where it is narrower.
    low = (source.region[:2] / stride).floor()
    high = torch.maximum(source.region[2:] / stride, source.region[:2] / stride + 1).ceil()
    y, x = (torch.arange(side) for side in local.shape[1:])
    rows = (y >= low[1]) & (y <= high[1])
    columns = (x >= low[0]) & (x <= high[0])
    read = rows[:, None] & columns
    assert not local[0][~read].any()
    assert torch.equal(local.where(local > 0, 0), plain.where(local > 0, 0)), "elsewhere it is Grad-CAM"

    def logit(changed: Tensor) -> Tensor:
        """The logit when values of the layer change at some places."""
        layer = dict(network.named_modules())[str(reason.layer)]
        with torch.no_grad(), hooked({"layer": layer}, lambda _, maps: maps + 10 * changed):
            return reason.score(reason.network(images))

    assert torch.equal(logit(~read), logit(torch.zeros_like(read)))
    assert not torch.equal(logit(read), logit(torch.zeros_like(read)))


def test_another_forward_pass_shares_layers_and_names() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
    other = with_forward(network, lambda images: network[0](images).sum())
    images = torch.rand(1, 3, 4, 4)
    assert [name for name, _ in other.named_parameters()] == [name for name, _ in network.named_parameters()]
    assert other(images).shape == ()
    assert network(images).shape == (1, 2, 4, 4)


def test_a_map_lies_on_what_it_covers() -> None:
    covered = torch.tensor([4.0, -2.0, 20.0, 6.0])  # 4 columns of 4 pixels, 2 rows of 4
    ramp = torch.arange(4.0).expand(1, 2, 4)
    spread = laid_over(ramp, covered, 8, 24)
    inside = torch.zeros(8, 24, dtype=torch.bool)
    inside[:6, 4:20] = True
    assert not spread[0][~inside].any()
    expected = ((torch.arange(4, 20) + 0.5 - 4) / 4 - 0.5).clamp(0, 3)  # linear between the centres of places
    assert torch.allclose(spread[0, :6, 4:20], expected.expand(6, 16), atol=1e-5)
    assert torch.allclose(laid_over(torch.ones(1, 2, 4), covered, 8, 24)[0], inside.float())


def test_occlusion_within_a_window_is_that_of_the_window() -> None:
    """A linear network: a square costs the sum of what it hides."""
    weights = torch.rand(1, 12, 16, generator=torch.Generator().manual_seed(0))
    network = nn.Flatten()
    images = torch.ones(1, 1, 12, 16)
    window = Window(3, 5, 9, 13)

    def score(answer: Tensor) -> Tensor:
        return (answer * weights.flatten()).sum(1)

    found = occlusion(network, images, score, side=2, stride=2, window=window)
    part = weights[0][window.slices]
    pooled = part.reshape(3, 2, 4, 2).sum((1, 3)).repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.allclose(found[window.slices], pooled, atol=1e-5)
    found[window.slices] = 0
    assert not found.any()


@pytest.mark.parametrize("name", DETECTORS)
@torch.no_grad()
def test_classes_that_are_asked_about_and_pictures_without_objects(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, spec = built(name)
    image, images = pictured(spec)
    insight = insight_of(network, spec)
    found = network(images)[0]
    wanted = int(found.classes[len(found.classes) // 2])
    findings = insight.examine(image, images, [wanted])
    assert findings.reasons
    assert all(f"Why {NAMES[wanted]} at" in reason.title for reason in findings.reasons)
    first = int((found.classes == wanted).nonzero()[0])
    source = network.sources(images, found.select(torch.tensor([first])))[0]
    assert torch.equal(findings.reasons[0].score(findings.reasons[0].network(images)), source.scores(images)[:, wanted])
    network.limits = network.limits._replace(score=1.0)
    empty = insight.examine(image, images, [])
    assert not empty.predictions
    assert not empty.reasons
    assert "finds no object" in empty.groups[0].about


@torch.no_grad()
def test_cells_have_the_colour_of_their_class_and_boxes_the_line_of_their_confidence() -> None:
    network, spec = built("yolo_v1")
    insight = GridInsight(network, spec)
    probabilities = np.zeros((2, 2, 3), np.float32)
    probabilities[0, 1, 2] = 1
    drawn = insight.class_map(np.zeros((20, 20, 3), np.uint8), probabilities)
    assert drawn[3, 15] == pytest.approx(0.7 * insight.colours[3], abs=1)
    assert not drawn[15, 3].any()
    boxes = np.array([[2, 2, 12, 12], [18, 18, 28, 28]], np.float32)
    lines = boxes_by_confidence(np.zeros((32, 32, 3), np.uint8), boxes, np.array([1.0, 0.1]))
    assert lines[2, 7].sum() > 3 * lines[18, 23].sum() > 0


def test_large_pictures_keep_their_scale() -> None:
    image = np.arange(700 * 600 * 3, dtype=np.uint32).reshape(700, 600, 3)
    part = middle(image)
    assert part.shape == (LONGEST, LONGEST, 3)
    assert np.array_equal(part, image[94 : 94 + LONGEST, 44 : 44 + LONGEST])
    assert np.array_equal(middle(part), part)


@pytest.mark.parametrize("name", ["mask_rcnn_padded", "yolo_v1"])
def test_the_page_of_a_detector(name: str, tmp_path: Path) -> None:
    network, spec = built(name)
    save_model(tmp_path / "model.safetensors", network.state_dict(), spec)
    Image.fromarray(scene(5, (72, 96)).image).save(tmp_path / "picture.png")
    pages = []
    for number in range(2):
        done: list[float] = []
        page = explain(
            tmp_path / "model.safetensors", tmp_path / "picture.png", out=tmp_path / f"{number}.html", quick=True,
            progress=done.append,
        )  # fmt: skip
        pages.append(page.read_text())
        assert done == sorted(done)
        assert done[-1] == pytest.approx(1.0)
    assert pages[0] == pages[1]
    shown = ["of each object", "What it finds", "Grad-CAM at", "Occlusion", "Guided backpropagation"]
    shown += ["The grid"] if name == "yolo_v1" else ["Objectness", "Region proposals", "Anchors", "Masks"]
    for words in shown:
        assert words in pages[0]


def test_detections_keep_what_belongs_together() -> None:
    found = Detections(torch.rand(3, 4), torch.tensor([1, 2, 3]), torch.tensor([0.9, 0.8, 0.7]), torch.rand(3, 2, 2))
    one = found.select(torch.tensor([2]))
    assert one.classes.tolist() == [3]
    assert one.windows is None
    assert one.masks is not None
    assert found.masks is not None
    assert torch.equal(one.masks[0], found.masks[2])
    assert torch.equal(one.boxes[0], found.boxes[2])
