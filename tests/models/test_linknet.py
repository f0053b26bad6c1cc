"""LinkNet: sums of maps, over every encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pixelwise.catalog import create_model
from pixelwise.models.classify.table import ENCODERS
from pixelwise.models.segment.linknet import LinkNet


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_every_encoder(name: str) -> None:
    torch.manual_seed(0)
    network = LinkNet(num_classes=3, encoder=name).train()
    assert network(torch.randn(2, 3, 33, 47)).shape == (2, 3, 33, 47)
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@torch.no_grad()
def test_each_decoder_block_is_joined_by_the_sum_with_the_map_of_its_size() -> None:
    network = LinkNet(num_classes=3).eval()
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    for block in network.decoder:
        block.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0].clone()))
        block.register_forward_hook(lambda _, __, output: outputs.append(output.clone()))
    images = torch.randn(1, 3, 64, 96)
    network(images)
    maps = network.encoder.pyramid(images)
    assert [tuple(m.shape[1:]) for m in outputs] == [(256, 4, 6), (128, 8, 12), (64, 16, 24), (64, 16, 24)]
    assert torch.equal(inputs[0], maps[4])
    for block_input, block_output, link in zip(inputs[1:], outputs[:3], maps[3:0:-1], strict=True):
        assert torch.equal(block_input, block_output + link)


def test_a_classifiers_weights_fill_the_encoder(tmp_path: Path) -> None:
    classifier = create_model("resnet18", num_classes=7)
    save_file(classifier.state_dict(), tmp_path / "w.safetensors")
    network = create_model("linknet", num_classes=3, weights=tmp_path / "w.safetensors")
    for name, value in network.encoder.state_dict().items():
        assert torch.equal(value, classifier.state_dict()[name])
