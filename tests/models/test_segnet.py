"""SegNet: unpooling by stored indices, and VGG-16's weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.catalog import create_model
from pixelwise.models.segment.segnet import SegNet


def test_unpooling_puts_each_maximum_back_where_it_was() -> None:
    maps = torch.tensor(
        [
            [1.0, 2.0, 5.0, 3.0],
            [4.0, 3.0, 1.0, 2.0],
            [7.0, 1.0, 2.0, 6.0],
            [2.0, 3.0, 9.0, 8.0],
        ]
    )[None, None]
    pooled, where = F.max_pool2d(maps, 2, return_indices=True)
    assert pooled.tolist() == [[[[4.0, 5.0], [7.0, 9.0]]]]
    assert F.max_unpool2d(pooled, where, 2).tolist() == [
        [
            [
                [0.0, 0.0, 5.0, 0.0],
                [4.0, 0.0, 0.0, 0.0],
                [7.0, 0.0, 0.0, 0.0],
                [0.0, 0.0, 9.0, 0.0],
            ]
        ]
    ]


@torch.no_grad()
def test_the_way_up_receives_values_where_the_way_down_had_its_maxima() -> None:
    """Every block of the decoder reads its own pooling's places, and these alone."""
    network = SegNet(num_classes=3, width=4).eval()
    pooled_from: list[Tensor] = []
    unpooled: list[Tensor] = []
    for layer, following in zip(network.encoder.features, network.encoder.features[1:], strict=False):
        if isinstance(following, nn.MaxPool2d):
            layer.register_forward_hook(lambda _, __, output: pooled_from.append(output.clone()))
    for block in network.decoder:
        block.register_forward_pre_hook(lambda _, inputs: unpooled.append(inputs[0].clone()))
    images = torch.randn(1, 3, 64, 96)
    network(images)
    assert len(pooled_from) == len(unpooled) == 5
    for source, spread in zip(pooled_from, reversed(unpooled), strict=True):
        assert source.shape == spread.shape
        largest = F.interpolate(F.max_pool2d(source, 2), scale_factor=2, mode="nearest")
        assert not spread[source < largest].any()
        assert spread[source == largest].any()


@torch.no_grad()
def test_places_within_a_pooling_window_survive() -> None:
    """A decoder that copies returns exactly the maxima at their places: nothing is shifted on the way."""
    network = SegNet(num_classes=1, in_channels=1, width=1).eval()
    for module in network.modules():  # every convolution copies its first channel to all
        if isinstance(module, nn.Conv2d):
            module.weight.zero_()
            module.weight[:, 0, 1, 1] = 1
            module.bias.zero_()  # type: ignore[union-attr]
    images = torch.zeros(1, 1, 32, 32)
    images[0, 0, 21, 10] = 2.0
    logits = network(images)
    assert logits[0, 0, 21, 10] == logits.max() > 1
    logits[0, 0, 21, 10] = 0
    assert not logits.any()


def test_weights_of_vgg16_fill_the_way_down(tmp_path: Path) -> None:
    classifier = create_model("vgg16_bn", num_classes=7, width=2)
    save_file(classifier.state_dict(), tmp_path / "w.safetensors")
    network = create_model("segnet", num_classes=3, width=2, weights=tmp_path / "w.safetensors")
    for name, value in network.encoder.state_dict().items():
        assert torch.equal(value, classifier.state_dict()[name])
