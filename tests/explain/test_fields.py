"""Where maps look, and the patches that are cut out there."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.explain import Fields, top_patches
from pixelwise.explain.activations import outputs
from pixelwise.explain.top_patches import cut
from pixelwise.models.classify.mobilenet import MobileNetV2
from pixelwise.nn.receptive_field import ReceptiveField


def gradient_box(network: nn.Module, layer: str, images: Tensor, row: int, column: int) -> ReceptiveField:
    """The smallest box of the pixels that a place's channels have a gradient for."""
    network = network.double().eval()
    images = images.double().requires_grad_()
    kept: list[Tensor] = []
    with dict(network.named_modules())[layer].register_forward_hook(lambda module, inputs, output: kept.append(output)):
        network(images)
    (gradient,) = torch.autograd.grad(kept[-1][0, :, row, column].sum(), images)
    rows, columns = (gradient[0].abs().sum(0).sum(axis).nonzero().flatten() for axis in (1, 0))
    return ReceptiveField(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def clipped(box: ReceptiveField, height: int, width: int) -> ReceptiveField:
    return ReceptiveField(max(box.top, 0), max(box.left, 0), min(box.bottom, height), min(box.right, width))


NETWORKS = {
    "plain": (nn.Sequential(nn.Conv2d(3, 4, 5, 2, 1), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 3)), "3"),
    "tensorflow's padding": (MobileNetV2(num_classes=3, tf_padding=True), "features.3.conv.0"),
    "valid convolutions": (create_model("unet_original", num_classes=2, in_channels=3, width=2), "down.0"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_boxes_equal_those_of_the_gradient(name: str) -> None:
    network, layer = NETWORKS[name]
    for module in network.modules():
        if isinstance(module, nn.ReLU | nn.ReLU6):
            module.inplace = False
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 0.02)  # no path is cut by a ReLU
    images = torch.rand(1, 3, 40, 52)
    fields = Fields(network, [layer], height=40, width=52, channels=3)
    maps = outputs(network, images, [layer])[layer]
    margin = int(getattr(network, "margin", 0))
    for row, column in ((maps.shape[2] // 2, maps.shape[3] // 2), (maps.shape[2] // 2 + 1, maps.shape[3] // 2 - 2)):
        box = fields.box(layer, row, column)
        if margin:  # a mirrored border: of a place far from it
            assert box == ReceptiveField(row - margin, column - margin, row - margin + 5, column - margin + 5)
        assert clipped(box, 40, 52) == gradient_box(network, layer, images, row, column)
    network.float()


def test_maps_lie_where_they_look() -> None:
    """A dot in the picture is the hottest place of the spread map, though every layer looks to one side."""
    network = nn.Sequential(*(nn.Conv2d(1, 1, 3, 2) for _ in range(3)))
    for layer in network:
        nn.init.constant_(layer.weight, 1)
        nn.init.zeros_(layer.bias)
    images = torch.zeros(1, 1, 79, 95)
    fields = Fields(network, ["2"], height=79, width=95, channels=1)
    for row, column in ((4, 5), (5, 9), (7, 2)):
        box = fields.box("2", row, column)
        middle = int(box.top + box.bottom) // 2, int(box.left + box.right) // 2
        dotted = images.clone()
        dotted[0, 0, middle[0], middle[1]] = 1
        spread = fields.spread("2", network(dotted).detach()[:, 0])
        assert spread.shape == (1, 79, 95)
        assert divmod(int(spread.argmax()), 95) == middle


def test_values_between_places_and_maps_without_a_middle() -> None:
    pool = nn.AvgPool2d(4)
    fields = Fields(pool, [""], height=8, width=16, channels=1)
    maps = torch.tensor([[[0.0, 1.0, 2.0, 4.0], [0.0, 1.0, 2.0, 4.0]]])
    spread = fields.spread("", maps)[0]
    places = (np.arange(16) + 0.5 - 2) / 4
    assert np.allclose(spread[3].numpy(), np.interp(places, range(4), [0, 1, 2, 4]))
    whole = nn.Sequential(nn.AdaptiveAvgPool2d((2, 2)), nn.GroupNorm(1, 1))
    fields = Fields(whole, ["1"], height=8, width=16, channels=1)
    assert math.isinf(fields.box("1", 0, 0).top)
    stretched = fields.spread("1", torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]))[0]
    assert torch.allclose(
        stretched, nn.functional.interpolate(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]), (8, 16), mode="bilinear")[0, 0]
    )


def test_a_planted_template_is_found_with_its_box() -> None:
    rng = np.random.default_rng(0)
    template = rng.normal(size=(3, 5, 5)).astype(np.float32)
    network = nn.Sequential(nn.Conv2d(3, 2, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2))
    nn.init.zeros_(network[0].bias)
    nn.init.zeros_(network[0].weight)
    network[0].weight.data[1] = torch.from_numpy(template)
    planted = {"b": (9, 12, 3.0), "d": (20, 5, 2.0), "e": (0, 30, 1.5)}
    pictures = []
    for number, name in enumerate("abcdef"):
        picture = 0.05 * torch.from_numpy(rng.normal(size=(3, 28 + 2 * number, 40)).astype(np.float32))
        if name in planted:
            top, left, strength = planted[name]
            picture[:, top : top + 5, left : left + 5] = strength * torch.from_numpy(template)
        pictures.append((name, picture))
    seen: list[int] = []
    found = top_patches(network, iter(pictures), "2", [1], count=3, progress=seen.append)[1]
    assert seen == [1, 2, 3, 4, 5, 6]
    assert [patch.name for patch in found] == ["b", "d", "e"]
    values = [patch.value for patch in found]
    assert np.allclose(values, [strength * (template**2).sum() for *_, strength in planted.values()], rtol=1e-4)
    for patch in found:
        top, left, strength = planted[patch.name]
        # A place of the pooled map looks at 6x6 pixels, the template is 5x5 of them.
        assert patch.box.height == patch.box.width == 6
        assert patch.box.top in (top - 1, top)
        assert patch.box.left in (left - 1, left)
        assert patch.patch.shape == (3, 6, 6)
        within = patch.patch[:, int(top - patch.box.top) :, int(left - patch.box.left) :][:, :5, :5]
        assert np.allclose(within.numpy(), strength * template)


def test_only_the_best_are_kept_and_equal_ones_in_order() -> None:
    network = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(network.weight)
    pictures = [(str(number), torch.full((1, 4, 4), float(number % 3))) for number in range(9)]
    found = top_patches(network, pictures, "", [0], count=4)[0]
    assert [patch.name for patch in found] == ["2", "5", "8", "1"]


def test_patches_beyond_the_border_are_padded() -> None:
    image = torch.arange(1.0, 13.0).view(1, 3, 4)
    assert cut(image, ReceptiveField(1, -1, 4, 2))[0].tolist() == [[0, 5, 6], [0, 9, 10], [0, 0, 0]]
    assert torch.equal(cut(image, ReceptiveField(-math.inf, -math.inf, math.inf, math.inf)), image)


def test_layers_without_maps_are_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(UserError, match="not a feature map"):
        top_patches(network, [("a", torch.zeros(1, 4, 4))], "1", [0])
    with pytest.raises(UserError, match="no channel 2; it has channels 0 to 1"):
        top_patches(nn.Conv2d(1, 2, 1), [("a", torch.zeros(1, 4, 4))], "", [2])
