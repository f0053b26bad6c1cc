"""Frozen layers: which they are, and that not a bit of them moves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.nn.freezing import freeze, hold, weight_layers


def small() -> nn.Module:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(16, 2),
    )
    network.heads = ("6",)
    return network


def trained(network: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The state before and after three steps in training mode."""
    frozen = [module for module in network.modules() if getattr(module, "_held", False)]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1, weight_decay=0.1)
    torch.manual_seed(0)
    for _ in range(3):
        network.train()
        hold(frozen)
        optimizer.zero_grad()
        network(torch.randn(8, 1, 6, 6)).square().sum().backward()
        optimizer.step()
    return before, network.state_dict()


@pytest.mark.parametrize(
    ("what", "names"),
    [
        (0, set()),
        (1, {"0", "1"}),
        (2, {"0", "1", "3", "4"}),
        ("trunk", {"0", "1", "3", "4"}),
        (["3"], {"3"}),
        (["1", "4"], {"1", "4"}),
    ],
)
def test_what_is_frozen_stays_bitwise_and_all_else_moves(what: int | str | list[str], names: set[str]) -> None:
    network = small()
    for module in freeze(network, what):
        module._held = True
    before, after = trained(network)
    for name, value in before.items():
        same = torch.equal(value, after[name])
        assert same == (name.split(".")[0] in names), name


def test_a_layer_takes_its_norm_along() -> None:
    layers = weight_layers(create_model("resnet18", num_classes=2))
    assert len(layers) == 21  # 17 convolutions on the way, 3 in shortcuts, the classifier
    assert all(len(modules) == 2 for _, modules in layers[:-1])
    assert [name for name, _ in layers[:2]] == ["conv1", "layer1.0.conv1"]
    assert layers[-1][0] == "fc"


def test_the_trunk_is_all_but_the_head() -> None:
    network = create_model("resnet18", num_classes=2)
    freeze(network, "trunk")
    assert {name for name, p in network.named_parameters() if p.requires_grad} == {"fc.weight", "fc.bias"}


def test_what_cannot_be_frozen_is_said() -> None:
    with pytest.raises(UserError, match="did you mean 'layer1'"):
        freeze(create_model("resnet18", num_classes=2), ["layer_1"])
    with pytest.raises(UserError, match="found 99, but the Sequential has only 3 layers"):
        freeze(small(), 99)
    with pytest.raises(UserError, match="nothing would be left"):
        freeze(small(), 3)
