"""PSPNet: widths of the ablation's rows, and what pyramid pooling computes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.models.classify.table import ENCODERS
from pixelwise.models.segment.pspnet import PyramidPooling

# Table 1 of the paper: the settings, and the channels that the classifier reads on ResNet-50.
ROWS = [
    ({"bins": ()}, 2048),
    ({"bins": (1,), "pooling": "max", "reduction": False}, 4096),
    ({"bins": (1,), "pooling": "average", "reduction": False}, 4096),
    ({"bins": (1, 2, 3, 6), "pooling": "max", "reduction": False}, 10240),
    ({"bins": (1, 2, 3, 6), "pooling": "average", "reduction": False}, 10240),
    ({"bins": (1, 2, 3, 6), "pooling": "max"}, 4096),
    ({"bins": (1, 2, 3, 6), "pooling": "average"}, 4096),
]


@pytest.mark.parametrize(("options", "width"), ROWS)
def test_what_the_head_reads_in_each_row_of_the_ablation(options: dict[str, object], width: int) -> None:
    with torch.device("meta"):
        network = create_model("pspnet", num_classes=150, **options)
        assert network(torch.empty(1, 3, 50, 70)).shape == (1, 150, 50, 70)
    assert network.head[0].in_channels == width
    assert network.global_context == (len(options["bins"]) > 0)


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_every_encoder(name: str) -> None:
    with torch.device("meta"):
        network = create_model("pspnet", num_classes=3, encoder=name, auxiliary=True)
        logits = network(torch.empty(2, 3, 33, 47), auxiliary=True)
    assert [each.shape for each in logits] == [(2, 3, 33, 47)] * 2
    assert network.stride == 8


def test_the_pyramid_holds_the_means_of_the_parts() -> None:
    """A map that is constant in each quarter: the 2x2 level, read at the quarters' middles, is the map."""
    quarters = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    maps = quarters.repeat_interleave(6, 0).repeat_interleave(6, 1)[None, None]
    pooled = PyramidPooling(1, bins=(1, 2), pooling="average", reduction=False)(maps)
    assert pooled.shape == (1, 3, 12, 12)
    assert torch.equal(pooled[:, :1], maps)
    assert torch.allclose(pooled[:, 1], torch.full((1, 12, 12), 2.5))
    # Bilinear: outside the middles of the quarters it is their mean, half way between them the mean of both.
    corners = pooled[0, 2, (2, 2, 9, 9), (2, 9, 2, 9)]
    assert torch.allclose(corners, quarters.flatten())
    assert torch.allclose(pooled[0, 2, 5:7, 5:7].mean(), torch.tensor(2.5))
    largest = PyramidPooling(1, bins=(1,), pooling="max", reduction=False)(maps)[:, 1]
    assert torch.allclose(largest, torch.full((1, 12, 12), 4.0))


def test_levels_do_not_depend_on_where_in_a_part_a_value_is() -> None:
    torch.manual_seed(0)
    pyramid = PyramidPooling(8, bins=(1, 2, 3, 6), pooling="average", reduction=True).eval()
    maps = torch.randn(1, 8, 12, 12)
    shuffled = F.pixel_unshuffle(maps, 2).unflatten(1, (8, 4))[:, :, torch.randperm(4)].flatten(1, 2)
    shuffled = F.pixel_shuffle(shuffled, 2)  # every 2x2 part in another order
    assert not torch.equal(maps, shuffled)
    assert torch.allclose(pyramid(maps)[:, 8:], pyramid(shuffled)[:, 8:], atol=1e-6)


def test_auxiliary_logits_are_there_only_when_asked_for() -> None:
    torch.manual_seed(0)
    images = torch.randn(1, 3, 40, 40)
    plain = create_model("pspnet", num_classes=2, encoder="resnet18").eval()
    network = create_model("pspnet", num_classes=2, encoder="resnet18", auxiliary=True).eval()
    assert plain.auxiliary_weights == ()
    assert network.auxiliary_weights == (0.4,)
    assert {key for key in network.state_dict() if not key.startswith("auxiliary_head.")} == set(plain.state_dict())
    with torch.inference_mode():
        assert len(plain(images, auxiliary=True)) == 1
        logits, auxiliary = network(images, auxiliary=True)
        assert torch.equal(logits, network(images))
    assert not torch.allclose(logits, auxiliary)
    network.all_logits(images)[1].square().mean().backward()
    assert network.encoder.layer3[0].conv1.weight.grad.abs().sum() > 0
    assert network.encoder.layer4[0].conv1.weight.grad is None  # the auxiliary head reads the map before


def test_wrong_options_are_explained() -> None:
    with pytest.raises(UserError, match="did you mean 'average'"):
        create_model("pspnet", num_classes=2, encoder="resnet18", pooling="averag")
    with pytest.raises(UserError, match="output_stride 7"):
        create_model("pspnet", num_classes=2, encoder="resnet18", output_stride=7)


@pytest.mark.parametrize("bins", [(1,), (1, 2), (1, 2, 3), (1, 2, 3, 6)])
def test_levels_together_are_as_wide_as_what_they_pool(bins: tuple[int, ...]) -> None:
    pyramid = PyramidPooling(24, bins=bins, pooling="average", reduction=True).eval()
    assert pyramid.outputs == pyramid(torch.randn(1, 24, 12, 12)).shape[1] == 48
