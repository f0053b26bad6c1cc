"""The localiser: shapes, the frame of its boxes, gradients by branch, two-stage training."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.losses.boxes import box_l2
from pixelwise.models.classify.table import ENCODERS
from pixelwise.models.detect.localizer import Localizer, boxes_of_class
from pixelwise.nn.boxes import iou
from pixelwise.nn.encoder import Encoder
from pixelwise.nn.freezing import freeze, hold


def tiny(**options: object) -> Localizer:
    torch.manual_seed(0)
    network = create_model("localizer", **{"num_classes": 3, "encoder": "mobilenet_v2", "hidden": (32, 16), **options})
    assert isinstance(network, Localizer)
    return network


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_every_encoder(name: str) -> None:
    with torch.device("meta"):
        network = Localizer(num_classes=4, encoder=name, hidden=(8,), boxes=2).eval()
        logits, boxes = network(torch.empty(2, 3, 70, 100))
    assert (logits.shape, boxes.shape) == ((2, 4), (2, 2, 4))


@pytest.mark.parametrize("size", [(33, 47), (1, 1), (3, 70), (32, 32)])
@torch.no_grad()
def test_any_size(size: tuple[int, int]) -> None:
    logits, boxes = tiny().eval()(torch.randn(2, 3, *size))
    assert (logits.shape, boxes.shape) == ((2, 3), (2, 1, 4))
    assert torch.isfinite(boxes).all()


@torch.no_grad()
def test_boxes_are_in_pixels_of_the_picture() -> None:
    """With an output layer that says the same whatever it sees, that share of the padded picture: 64 x 128."""
    network = tiny(boxes=2).eval()
    network.box_head.weight.zero_()
    network.box_head.bias.copy_(torch.tensor([0.0, 0.25, 0.5, 1.0, 0.125, 0.125, 0.5, 0.5]))
    assert network(torch.randn(1, 3, 60, 100)).boxes[0].tolist() == [[0, 16, 64, 64], [16, 8, 64, 32]]


@torch.no_grad()
def test_it_starts_at_the_middle() -> None:
    boxes = tiny().eval()(torch.randn(2, 3, 64, 96)).boxes
    assert torch.allclose(boxes, torch.tensor([24.0, 16.0, 72.0, 48.0]), atol=3)


def test_a_box_of_each_class() -> None:
    network = tiny(per_class=True).eval()
    assert network.heads == ("head", "box_head")
    assert tiny().heads == ("head",)
    with torch.no_grad():
        boxes = network(torch.randn(2, 3, 64, 64)).boxes
    assert boxes.shape == (2, 3, 4)
    chosen = boxes_of_class(boxes, torch.tensor([2, 0]))
    assert torch.equal(chosen, torch.stack([boxes[0, 2:3], boxes[1, 0:1]]))


def test_branches_share_the_encoder_and_nothing_else() -> None:
    network = tiny()
    names = [name for name, _ in network.named_parameters()]
    branches = [
        {n for n in names if n.split(".")[0] in branch} for branch in (network.class_branch, network.box_branch)
    ]
    assert branches[0] | branches[1] == set(names)
    assert not branches[0] & branches[1]
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(network.eval().logits(images), network(images).logits)
    network.train()
    for loss, reached in (
        (network.logits(images).square().mean(), branches[0]),
        (network(images).boxes.square().mean(), {n for n in names if not n.startswith("head.")}),
    ):
        network.zero_grad()
        loss.backward()
        assert {
            name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0
        } == reached


def rectangles(count: int, side: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """One coloured rectangle on grey noise: pictures, class (the colour), box (N, 1, 4)."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, side, side, generator=generator) * 0.2
    classes = torch.randint(3, (count,), generator=generator)
    boxes = torch.zeros(count, 1, 4)
    for number in range(count):
        width, height = torch.randint(side // 4, side // 2, (2,), generator=generator).tolist()
        left = int(torch.randint(side - width, (1,), generator=generator))
        top = int(torch.randint(side - height, (1,), generator=generator))
        images[number, classes[number], top : top + height, left : left + width] += 2
        boxes[number, 0] = torch.tensor([left, top, left + width, top + height])
    return images, classes, boxes


class TinyEncoder(Encoder):
    """Three strided convolutions with batch norm: a map of 64 channels at stride 8."""

    feature_channels = (16, 32, 64)
    feature_strides = (2, 4, 8)

    def __init__(self, *, in_channels: int, num_classes: int) -> None:
        super().__init__()
        assert num_classes == 0
        widths = (in_channels, *self.feature_channels)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
            for inputs, outputs in pairwise(widths)
        )

    def stages(self) -> list[nn.Module]:
        return list(self.blocks)


def test_trained_in_two_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """First the class; then only the box head, which moves nothing else, not even batch norm's statistics."""
    monkeypatch.setitem(ENCODERS, "tiny", TinyEncoder)
    network = tiny(encoder="tiny", pool=4, hidden=(64, 32))
    images, classes, boxes = rectangles(16, 64, 0)
    optimizer = torch.optim.AdamW([*network.encoder.parameters(), *network.head.parameters()], 5e-3)
    for _ in range(40):
        loss = nn.functional.cross_entropy(network.train().logits(images), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2
    before = {name: value.clone() for name, value in network.state_dict().items()}

    frozen = freeze(network, network.class_branch)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], 3e-3)
    present = torch.ones(16, 1, dtype=torch.bool)
    with torch.no_grad():
        start = float(iou(network.eval()(images).boxes, boxes).mean())
    for _ in range(150):
        network.train()
        hold(frozen)
        loss = box_l2(network(images).boxes, boxes, present, (64, 64))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = network.eval()(images).boxes
    assert float(iou(found, boxes).mean()) > max(0.7, start + 0.3)
    after = network.state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert moved == {name for name in before if name.split(".")[0] in network.box_branch}


@pytest.mark.parametrize(
    ("options", "words"),
    [({"boxes": 0}, "0 found; give 1 or more"), ({"boxes": 2, "per_class": True}, "no more than 1 with per_class")],
)
def test_impossible_boxes(options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Localizer(num_classes=2, **options)  # type: ignore[arg-type]


@torch.no_grad()
def test_both_branches_read_means() -> None:
    """What has a mean of zero within each cell of the pooled map changes neither the class nor the box."""
    network = tiny().eval()
    side = int(network.pool(torch.zeros(1, 1, 9, 9)).shape[-1])
    cells = torch.randn(2, network.head.in_features, side, side)
    checks = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(side, side)
    maps = cells.repeat_interleave(2, 2).repeat_interleave(2, 3) + 3 * checks
    torch.testing.assert_close(network.classify(maps), network.classify(cells))
    torch.testing.assert_close(network.regress(maps), network.regress(cells))
    assert not torch.allclose(network.regress(2 * maps), network.regress(maps))
