"""From a score back to pixels and maps: gradient, deconvnet, guided, Grad-CAM, occlusion, against what they mean."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.explain import Fields, grad_cam, occlusion, project
from pixelwise.explain.deconvnet import RULES
from pixelwise.explain.target import class_score, edge_score, peak_score, predicted, unit_score


class Chain(nn.Module):
    """Convolution, a rectifier of the kind wanted, 2x2 max pooling, convolution."""

    def __init__(self, rectify: str | None) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Conv2d(2, 6, 3, padding=1)
        self.relu = {"module": nn.ReLU(), "in place": nn.ReLU(inplace=True), "six": nn.ReLU6()}.get(rectify or "")
        self.rectify = rectify
        self.second = nn.Conv2d(6, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        if self.relu is not None:
            maps = self.relu(maps)
        elif self.rectify == "function":
            maps = torch.relu(maps)
        elif self.rectify == "method in place":
            maps.relu_()  # what it gives is not used: the maps themselves must change
        return self.second(F.max_pool2d(maps, 2))


IMAGES = 3 * torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(1))
KINDS = ["module", "in place", "function", "method in place", "six"]


def by_hand(network: Chain, rule: str, channel: int, row: int, column: int) -> Tensor:
    """The way back written out: transposed convolutions, the rule, unpooling to the switches (section 2.1)."""
    with torch.no_grad():
        before = network.first(IMAGES)
        ceiling = 6.0 if network.rectify == "six" else torch.inf
        maps = before.clamp(0, ceiling) if network.rectify else before
        pooled, switches = F.max_pool2d(maps, 2, return_indices=True)
        kept = torch.zeros_like(network.second(pooled))
        kept[:, channel, row, column] = 1
        back = F.max_unpool2d(F.conv_transpose2d(kept, network.second.weight), switches, 2)
        if network.rectify:
            passed = (before > 0) & (before < ceiling)
            back = {"gradient": back * passed, "deconvnet": back.relu(), "guided": back.relu() * passed}[rule]
        return F.conv_transpose2d(back, network.first.weight, padding=1)


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("rectify", [None, *KINDS])
def test_equal_to_the_transposed_chain(rectify: str | None, rule: str) -> None:
    network = Chain(rectify)
    found = project(network, IMAGES, unit_score(2, 1, 0), rule=rule)
    assert torch.allclose(found, by_hand(network, rule, 2, 1, 0), atol=1e-6)


def test_without_relu_all_rules_are_the_gradient() -> None:
    network, images = Chain(None), IMAGES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(images)[:, 1, 0, 1].sum(), images)
    for rule in RULES:
        assert torch.allclose(project(network, IMAGES, unit_score(1, 0, 1), rule=rule), gradient, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_rules_differ_and_leave_the_answer_as_it_is(kind: str) -> None:
    network = Chain(kind)
    answers: list[Tensor] = []

    def noted(output: Tensor) -> Tensor:
        answers.append(output.detach())
        return unit_score(2, 1, 0)(output)

    gradient, deconvnet, guided = (
        project(network, IMAGES, noted, rule=rule) for rule in ("gradient", "deconvnet", "guided")
    )
    assert not torch.allclose(gradient, guided)
    assert not torch.allclose(deconvnet, guided)
    assert all(torch.equal(found, network(IMAGES)) for found in answers)


@pytest.mark.parametrize("name", ["resnet18", "unet", "hourglass"])
def test_networks_of_the_catalog(name: str) -> None:
    options = {"unet": {"width": 8}, "hourglass": {"width": 8, "depth": 3}}.get(name, {})
    torch.manual_seed(0)
    network = create_model(name, num_classes=3, in_channels=1, **options)
    images = torch.randn(1, 1, 40, 40, requires_grad=True)

    def score(output: Tensor) -> Tensor:  # with weights of both signs, so that something comes through every ReLU
        return (output[:, 1] - output[:, 0]).reshape(len(output), -1).mean(1)

    (gradient,) = torch.autograd.grad(score(network.eval()(images)).sum(), images)
    plain, guided, deconvnet = (project(network, images, score, rule=r) for r in ("gradient", "guided", "deconvnet"))
    assert torch.allclose(plain, gradient, atol=1e-6 * float(gradient.abs().max()))
    for other in (guided, deconvnet):
        assert other.abs().max() > 0
        assert not torch.allclose(other, plain, atol=1e-3 * float(plain.abs().max()))


def test_the_strongest_place_is_projected_from_its_receptive_field() -> None:
    network = Chain("module")
    row, column = divmod(int(network(IMAGES)[0, 2].argmax()), 2)
    touched = project(network, IMAGES[:1], peak_score(2)).abs().sum((0, 1))
    box = Fields(network, ["second"], height=8, width=8, channels=2).box("second", row, column)
    rows, columns = touched.nonzero().unbind(1)
    assert rows.min() >= box.top and rows.max() < box.bottom  # noqa: PT018
    assert columns.min() >= box.left and columns.max() < box.right  # noqa: PT018


def test_unknown_rule() -> None:
    with pytest.raises(UserError, match="did you mean 'guided'"):
        project(Chain(None), IMAGES, peak_score(0), rule="guide")


def test_grad_cam_of_average_pooling_and_one_layer_is_cam() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    )
    images = torch.randn(2, 3, 16, 24)
    with torch.no_grad():
        maps = network.eval()[:3](images)
        cam = torch.einsum("c,nchw->nhw", network[5].weight[2], maps).relu()
    for layer in ("2", "1"):  # before the ReLU other maps and other gradients count
        found = grad_cam(network, images, class_score(2), layer=layer)
        assert found.shape == (2, 8, 12)
        assert torch.allclose(found, cam / (8 * 12), atol=1e-7) == (layer == "2")


def test_grad_cam_of_an_edge() -> None:
    """With one linear layer on averages, the edge's CAM is the layer's row over the maps, in pixels of the picture."""
    torch.manual_seed(2)
    network = create_model("localizer", num_classes=3, encoder="resnet18", hidden=(), pool=1).eval()
    nn.init.normal_(network.box_head.weight)
    images = torch.randn(1, 3, 64, 96)
    maps = network.features(images).detach()  # (1, 512, 2, 3)
    sides = {"left": 96, "top": 64, "right": 96, "bottom": 64}
    for number, (edge, side) in enumerate(sides.items()):
        row = network.box_head.weight[number].detach().view(1, -1, 1, 1)
        found = grad_cam(network, images, edge_score(edge), layer="encoder.layer4")
        assert torch.allclose(found, (side * row * maps).sum(1).relu() / 6, atol=1e-3)
    with pytest.raises(UserError, match="did you mean 'left'"):
        edge_score("lefft")
    with pytest.raises(UserError, match="predicts boxes 0 to 0"):
        grad_cam(network, images, edge_score("top", box=1), layer="encoder.layer4")


def test_grad_cam_of_a_dense_class_and_of_a_function_of_the_answer() -> None:
    torch.manual_seed(0)
    network = create_model("unet", num_classes=3, width=4, in_channels=5)
    images = torch.randn(1, 5, 33, 47)
    region = torch.zeros(33, 47, dtype=torch.bool)
    region[4:9, 3:8] = True
    found = grad_cam(network, images, class_score(1, region=region), layer="down.2")
    assert found.shape == (1, 12, 12)
    boxes = grad_cam(network, images, lambda output: output[:, 1, 4:9, 3:8].mean((1, 2)), layer="down.2")
    assert torch.allclose(found, boxes, atol=1e-6)


@pytest.mark.parametrize(("layer", "words"), [("5", "not a feature map"), ("6", "does not depend")])
def test_layers_that_have_no_cam(layer: str, words: str) -> None:
    class Beside(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            self[6](images)
            return self[5](self[0](images).mean((2, 3)))

    layers = [nn.Conv2d(3, 6, 3), *(nn.Identity() for _ in range(4)), nn.Linear(6, 4), nn.Conv2d(3, 2, 1)]
    with pytest.raises(UserError, match=words):
        grad_cam(Beside(*layers), torch.zeros(1, 3, 8, 8), class_score(0), layer=layer)


@pytest.mark.parametrize(("side", "stride"), [(4, 2), (5, 3), (30, 7)])
def test_occlusion_of_a_linear_network(side: int, stride: int) -> None:
    """A square costs exactly what the hidden pixels added; a pixel's drop is the mean over the squares that hide it."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(2 * 9 * 11, 3))
    images = torch.randn(1, 2, 9, 11)
    worth = (network[1].weight[1].view(2, 9, 11) * (images[0] - 0.5)).sum(0).detach()
    done: list[float] = []
    found = occlusion(
        network, images, class_score(1), side=side, stride=stride, fill=0.5, batch=7, progress=done.append
    )
    for row, column in ((0, 0), (4, 5), (8, 10)):
        drops = [
            worth[max(top, 0) : top + side, max(left, 0) : left + side].sum()
            for top in range(stride - side, 9, stride)
            for left in range(stride - side, 11, stride)
            if top <= row < top + side and left <= column < left + side
        ]
        assert torch.allclose(found[row, column], torch.stack(drops).mean(), atol=1e-5)
    assert done == sorted(done)
    assert done[-1] == 1.0


def test_occlusion_finds_the_object_of_a_dense_class() -> None:
    network = nn.Conv2d(1, 2, 3, padding=1)
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)
    network.weight.data[1] = 1
    images = torch.full((1, 1, 24, 24), -1.0)
    images[..., 4:10, 12:20] = 1
    region = predicted(network(images), 1)
    drops = occlusion(network, images, class_score(1, region=region), side=4, stride=2)
    row, column = divmod(int(drops.argmax()), 24)
    assert 4 <= row < 10
    assert 12 <= column < 20
