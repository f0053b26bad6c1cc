"""OverFeat: the paper's sizes, and the dense evaluation against one window after the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.models.detect.overfeat import (
    ConvLayer,
    DenseScores,
    OverFeat,
    dense_scores,
    overfeat_accurate,
    overfeat_fast,
    overfeat_small,
    windows_with_object,
)

SMALL = {
    "three offsets": (
        (ConvLayer(4, 3, stride=2, pool=2), ConvLayer(6, 3, padding=1), ConvLayer(6, 3, padding=1, pool=3)),
        2,
    ),
    "two offsets": ((ConvLayer(4, 5, stride=3), ConvLayer(6, 3, padding=1, pool=2)), 3),
    "one offset": ((ConvLayer(4, 4, stride=2, pool=2), ConvLayer(6, 3, padding=1)), 2),
}


def small(name: str, **options: object) -> OverFeat:
    torch.manual_seed(0)
    layers, side = SMALL[name]
    options = {"num_classes": 3, "regression": True, "valid": True, **options}
    return OverFeat(layers=layers, side=side, hidden=(10, 8), box_hidden=(9, 7), **options).eval()  # type: ignore[arg-type]


def window_by_window(network: OverFeat, images: Tensor, dense: DenseScores) -> tuple[Tensor, Tensor]:
    """The network on each window cut out of the picture, at the places that the dense evaluation names."""
    logits, boxes = torch.empty_like(dense.logits), torch.empty_like(dense.boxes)
    for row, line in enumerate(dense.windows.long().tolist()):
        for column, (left, top, right, bottom) in enumerate(line):
            found = network(images[..., top:bottom, left:right])
            logits[..., row, column] = found.logits
            boxes[:, row, column] = found.boxes + torch.tensor([left, top, left, top])
    return logits, boxes


@pytest.mark.parametrize("options", [{}, {"per_class": True}, {"regression": False}], ids=["one", "per class", "none"])
@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_dense_equals_window_by_window_at_every_offset(name: str, options: dict[str, object]) -> None:
    network = small(name, **options).double()
    side, stride = network.window[0], network.stride
    for height, width in ((side, side), (side + stride - 1, side + stride), (side + 7 * stride + 1, side + 5 * stride)):
        images = torch.randn(2, 3, height, width, dtype=torch.float64)
        dense = dense_scores(network, images)
        rows, columns = (1 + (size - side) // stride for size in (height, width))
        assert dense.logits.shape == (2, 3, rows, columns)
        assert dense.boxes.shape == (2, rows, columns, network.num_boxes, 4)
        assert dense.windows[0, 0].tolist() == [0, 0, side, side]
        assert dense.windows[-1, -1].tolist() == [
            *((columns - 1) * stride, (rows - 1) * stride), *((columns - 1) * stride + side, (rows - 1) * stride + side)
        ]  # fmt: skip
        logits, boxes = window_by_window(network, images, dense)
        assert (dense.logits - logits).abs().max() < 1e-9
        if network.num_boxes:
            assert (dense.boxes - boxes).abs().max() < 1e-9


@pytest.mark.parametrize("build", [overfeat_fast, overfeat_accurate, overfeat_small])
@torch.no_grad()
def test_the_networks_without_padding(build: Callable[..., OverFeat]) -> None:
    torch.manual_seed(0)
    network = build(num_classes=3, width=3, valid=True, regression=True).eval().double()
    stride = network.stride
    images = torch.randn(1, 3, network.window[0] + stride, network.window[0] + 3 * stride, dtype=torch.float64)
    dense = dense_scores(network, images)
    assert dense.logits.shape == (1, 3, 2, 4)
    logits, boxes = window_by_window(network, images, dense)
    assert (dense.logits - logits).abs().max() < 1e-9
    assert (dense.boxes - boxes).abs().max() < 1e-9


@torch.no_grad()
def test_padding_shows_a_window_its_surroundings() -> None:
    """A lone window is surrounded by zeros, so the padded network answers alike only where the picture is zero."""
    network = small("three offsets", valid=False).double()
    side, stride = network.window[0], network.stride
    images = torch.randn(1, 3, side + 4 * stride, side + 4 * stride, dtype=torch.float64)
    dense = dense_scores(network, images)
    assert (dense.logits - window_by_window(network, images, dense)[0]).abs().amax(1).min() > 1e-4
    alone = images[..., :side, :side]
    assert torch.allclose(dense_scores(network, alone).logits[..., 0, 0], network(alone).logits)


@torch.no_grad()
def test_without_offsets_every_third_window() -> None:
    network = small("three offsets").double()
    images = torch.randn(1, 3, 70, 83, dtype=torch.float64)
    fine, coarse = dense_scores(network, images), dense_scores(network, images, offsets=False)
    assert torch.equal(coarse.windows, fine.windows[::3, ::3])
    assert torch.allclose(coarse.logits, fine.logits[..., ::3, ::3])
    assert torch.allclose(coarse.boxes, fine.boxes[:, ::3, ::3])


def test_windows_and_strides_of_the_paper() -> None:
    with torch.device("meta"):
        fast, accurate = overfeat_fast(), overfeat_accurate()
        wide = overfeat_fast(valid=True), overfeat_accurate(valid=True)
        assert (overfeat_small().window, overfeat_small(valid=True).window, overfeat_small().stride) == (
            (44, 44),
            (60, 60),
            4,
        )
    assert (fast.window, fast.stride, fast.pool) == ((231, 231), 16, 2)
    assert (accurate.window, accurate.stride, accurate.pool) == ((221, 221), 12, 3)  # 36 without offsets
    assert [network.window[0] for network in wide] == [327, 317]


@pytest.mark.parametrize(
    ("size", "scores"),
    [((245, 245), (3, 3)), ((281, 317), (6, 9)), ((317, 389), (9, 15)), ((389, 461), (15, 21)), ((425, 497), (18, 24)),
     ((461, 569), (21, 30))],
)  # fmt: skip
def test_score_maps_of_the_papers_six_scales(size: tuple[int, int], scores: tuple[int, int]) -> None:
    """Table 5, last column; its step in between: (scores + 14) places before the pooling."""
    with torch.device("meta"), torch.no_grad():
        network = overfeat_accurate(num_classes=10)
        images = torch.empty(1, 3, *size)
        assert dense_scores(network, images).logits.shape == (1, 10, *scores)
        assert network.features(images).shape == (1, 1024, *(side + 14 for side in scores))


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("overfeat_fast", [(96, 28, 28), (256, 12, 12), (512, 12, 12), (1024, 12, 12), (1024, 12, 12)]),
        (
            "overfeat_accurate",
            [(96, 36, 36), (256, 15, 15), (512, 15, 15), (512, 15, 15), (1024, 15, 15), (1024, 15, 15)],
        ),
    ],
)
def test_maps_of_tables_1_and_3(name: str, shapes: list[tuple[int, int, int]]) -> None:
    """Behind each layer's pooling, but for the last one, whose pooling comes at every offset."""
    found: list[tuple[int, ...]] = []
    with torch.device("meta"), torch.no_grad():
        network = create_model(name, num_classes=1000)
        assert isinstance(network, OverFeat)
        maps = torch.empty(1, 3, *network.window)
        for module in network.features:
            if isinstance(module, nn.Conv2d) and maps.shape[1] != 3:
                found.append(tuple(maps.shape[1:]))
            maps = module(maps)
    assert [*found, tuple(maps.shape[1:])] == shapes


def test_gradients_and_branches() -> None:
    network = small("two offsets").train()
    images = torch.randn(2, 3, *network.window)
    names = [name for name, _ in network.named_parameters()]
    boxes = {name for name in names if name.split(".")[0] in network.box_branch}
    assert boxes | {name for name in names if name.split(".")[0] in network.class_branch} == set(names)
    assert {"regressor.0.weight", "box_head.bias"} <= boxes
    torch.manual_seed(0)  # the same units dropped
    logits = network.logits(images)
    logits.square().sum().backward()
    reached = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert reached == set(names) - boxes
    dense = dense_scores(network, torch.randn(1, 3, 60, 50))
    dense.boxes.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    assert small("two offsets", regression=False).box_branch == ()
    assert small("two offsets", per_class=True).heads == ("head", "box_head")


def test_one_batch_is_learned() -> None:
    torch.manual_seed(0)
    network = create_model("overfeat_accurate", num_classes=4, width=6, regression=True, dropout=0.0).train()
    assert isinstance(network, OverFeat)
    images, classes = torch.randn(4, 3, 221, 221), torch.arange(4)
    target = torch.rand(4, 1, 4) * 221
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    losses = []
    for _ in range(40):
        logits, boxes = network(images)
        parts = nn.functional.cross_entropy(logits, classes), ((boxes - target) / 221).square().sum(-1).mean()
        optimizer.zero_grad()
        sum(parts).backward()  # type: ignore[union-attr]
        optimizer.step()
        losses.append([float(part.detach()) for part in parts])
    assert losses[-1][0] < 0.3 * losses[0][0]
    assert losses[-1][1] < 0.3 * losses[0][1]


def test_windows_that_learn_a_box() -> None:
    """A box from 2 to 6 (of 16 square pixels): windows that hold at least 8 of them."""
    edges = torch.tensor([0.0, 2.0, 4.0, 5.0])
    windows = torch.stack([torch.tensor([x, 0.0, x + 4, 10.0]) for x in edges]).unsqueeze(0)
    boxes = torch.tensor([[2.0, 3.0, 6.0, 7.0], [float("nan")] * 4, [2.0, 3.0, 2.0, 7.0]])
    assert windows_with_object(windows, boxes).tolist() == [[[True, True, True, False]], [[False] * 4], [[False] * 4]]
    assert windows_with_object(windows, boxes, share=0.75)[0].tolist() == [[False, True, False, False]]


def test_pictures_of_other_sizes_are_explained() -> None:
    network = small("one offset")
    with pytest.raises(UserError, match="smaller than the network's window"):
        dense_scores(network, torch.randn(1, 3, 64, network.window[1] - 1))
    with pytest.raises(UserError, match="windows of 64 x 64 pixels found"):
        network(torch.randn(1, 3, 64, 64))
