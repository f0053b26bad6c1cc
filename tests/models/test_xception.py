"""Aligned Xception: its count of layers and parameters, and its strides."""

from __future__ import annotations

import torch
from torch import nn

from pixelwise.catalog import create_model
from pixelwise.models.classify.xception import Block, SeparableConv, Xception


def test_65_layers_and_their_parameters_counted_by_hand() -> None:
    """Two convolutions and 63 separable ones; a shortcut and a fully connected layer are not counted as layers."""
    with torch.device("meta"):
        network = create_model("xception")
    separable = [m for m in network.modules() if isinstance(m, SeparableConv)]
    assert 2 + len(separable) == 65
    entry = [(64, 128), (128, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 728), (728, 728), (728, 728)]
    leave = [(728, 728), (728, 1024), (1024, 1024), (1024, 1536), (1536, 1536), (1536, 2048)]
    widths = [*entry, *[(728, 728)] * 48, *leave]
    # 3x3 depthwise with its batch norm, 1x1 with its own.
    count = sum(9 * i + 2 * i + i * o + 2 * o for i, o in widths)
    count += 27 * 32 + 2 * 32 + 9 * 32 * 64 + 2 * 64
    count += sum(i * o + 2 * o for i, o in ((64, 128), (128, 256), (256, 728), (728, 1024)))
    assert sum(p.numel() for p in network.parameters()) == count + 2048 * 1000 + 1000
    with torch.device("meta"):
        assert sum(p.numel() for p in Xception(num_classes=0).parameters()) == count


def test_nothing_pools() -> None:
    kinds = {type(m) for m in Xception(num_classes=0, width=4, middle=1).modules()}
    assert not kinds & {nn.MaxPool2d, nn.AvgPool2d}


def test_a_dilated_xception_reads_the_same_weights_at_more_places() -> None:
    torch.manual_seed(0)
    network = Xception(num_classes=0, width=4, middle=2).train()
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        network.pyramid(images)
        before = network.eval().pyramid(images)[-1]
        network.dilate(8)
        after = network.pyramid(images)[-1]
    assert before.std() > 0.1
    assert torch.allclose(after[..., ::4, ::4], before, atol=1e-4)


def test_the_shortcut_takes_what_the_first_relu_has_not_cut() -> None:
    torch.manual_seed(0)
    block = Block((4, 4)).eval()
    nn.init.zeros_(block.convs[1][-1].weight)  # the branch falls silent
    maps = torch.randn(1, 4, 5, 5)
    assert torch.equal(block(maps.clone()), maps)
