"""TernausNet: VGG-11's weights, the maps that meet, one class as one logit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pixelwise.catalog import create_model
from pixelwise.losses import cross_entropy
from pixelwise.models.segment.ternausnet import TernausNet


def test_the_encoder_is_vgg11_and_takes_its_weights(tmp_path: Path) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in TernausNet(num_classes=1).encoder.parameters()) == 9_220_480
    classifier = create_model("vgg11", num_classes=7, width=4)
    save_file(classifier.state_dict(), tmp_path / "w.safetensors")
    network = create_model("ternausnet", num_classes=3, width=4, weights=tmp_path / "w.safetensors")
    for name, value in network.encoder.state_dict().items():
        assert torch.equal(value, classifier.state_dict()[name])


@pytest.mark.parametrize("level", range(5))
@torch.no_grad()
def test_every_map_of_the_encoder_reaches_the_logits(level: int) -> None:
    """The decoder's blocks read the map before each pooling, coarsest first, behind what the block before gave."""
    network = TernausNet(num_classes=2, width=4).eval()
    images = torch.randn(1, 3, 64, 64)
    before = network(images)
    skip = network.encoder.feature_channels[level]
    first = network.decoder[4 - level][0]  # type: ignore[index]
    assert isinstance(first, nn.Conv2d)
    seen: list[torch.Tensor] = []
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(images)
    assert torch.equal(seen[0][:, -skip:], network.encoder.pyramid(images)[level])
    assert (seen[0] >= 0).all()  # behind a ReLU, all of it
    first.weight[:, -skip:] = 0
    assert not torch.allclose(network(images), before)


def test_one_class_is_one_logit_that_learns() -> None:
    torch.manual_seed(0)
    network = TernausNet(num_classes=1, width=8)
    images = torch.randn(2, 3, 2, 2).repeat_interleave(16, 2).repeat_interleave(16, 3)
    target = (images[:, 0] > 0).long()
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        cross_entropy(network(images), target).backward()
        optimizer.step()
    with torch.no_grad():
        right = (network(images)[:, 0] > 0) == target
    assert right.float().mean() > 0.98
