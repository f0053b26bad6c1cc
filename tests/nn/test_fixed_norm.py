"""Fixed batch norms inside convolutions: the same function, names and gradients as batch norm in evaluation."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from pixelwise.models.encoders import create_encoder
from pixelwise.nn.fixed_norm import FixedNorm2d, fix_batch_norms
from pixelwise.nn.frozen_norm import freeze_batch_norms
from pixelwise.nn.fuse import fold_batch_norm

ENCODERS = ("resnet18", "mobilenet_v2", "mobilenet_v2_tf", "vgg11_bn")


def encoder(name: str) -> Any:
    torch.manual_seed(0)
    made = create_encoder(name)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return made


def fixed(network: Any) -> Any:
    fix_batch_norms(network, lambda: network.pyramid(torch.zeros(1, 3, 32, 32)))
    return network


@pytest.mark.parametrize("name", ENCODERS)
def test_maps_and_gradients_are_those_of_evaluation(name: str) -> None:
    plain, changed = encoder(name).eval(), fixed(encoder(name)).train()
    names = set(plain.state_dict())
    assert any(isinstance(module, FixedNorm2d) for module in changed.modules())
    assert set(changed.state_dict()) == names
    before = {key: value.clone() for key, value in changed.state_dict().items()}
    images = torch.randn(2, 3, 64, 64)
    for one, other in zip(plain.pyramid(images), changed.pyramid(images), strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(one.detach().abs().max()))
    sum(each.square().mean() for each in plain.pyramid(images)).backward()
    sum(each.square().mean() for each in changed.pyramid(images)).backward()
    for (key, one), (_, other) in zip(plain.named_parameters(), changed.named_parameters(), strict=True):
        if one.grad is None:
            assert other.grad is None
            continue
        assert torch.allclose(one.grad, other.grad, rtol=1e-2, atol=1e-3 * float(one.grad.abs().max())), key
    assert all(torch.equal(value, before[key]) for key, value in changed.state_dict().items()), "no statistic moves"


def test_copies_are_independent_and_weights_load() -> None:
    """An averaged copy follows its own batch norms, and a plain network takes what a fixed one has learned."""
    changed = fixed(encoder("resnet18"))
    copied = copy.deepcopy(changed)
    with torch.no_grad():
        for module in changed.modules():
            if isinstance(module, FixedNorm2d):
                module.bias += 1
    images = torch.randn(1, 3, 32, 32)
    plain = encoder("resnet18").eval()
    assert torch.allclose(copied.pyramid(images)[-1], plain.pyramid(images)[-1], atol=1e-3)
    plain.load_state_dict(changed.state_dict())
    assert torch.allclose(changed.pyramid(images)[-1], plain.pyramid(images)[-1], atol=1e-3)


def test_frozen_norms_become_part_of_convolutions_too() -> None:
    """Their scale and shift are no parameters, and stay so."""
    plain, changed = encoder("resnet18").eval(), encoder("resnet18")
    freeze_batch_norms(changed)
    names = set(changed.state_dict())
    fixed(changed)
    images = torch.randn(1, 3, 32, 32)
    assert torch.allclose(changed.pyramid(images)[-1], plain.pyramid(images)[-1], atol=1e-3)
    assert set(changed.state_dict()) == names
    assert not any("bn" in name for name, _ in changed.named_parameters())
    changed.load_state_dict({name: value.clone() for name, value in changed.state_dict().items()})
    changed.load_state_dict(dict(changed.state_dict()))
    fixed(changed)  # once more changes nothing
    assert torch.allclose(changed.pyramid(images)[-1], plain.pyramid(images)[-1], atol=1e-3)


def test_what_is_fixed_is_not_folded_again() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()).eval()
    nn.init.normal_(network[1].bias)
    images = torch.randn(1, 3, 8, 8)
    expected = network(images)
    fix_batch_norms(network, lambda: network(images))
    assert torch.allclose(fold_batch_norm(network, images)(images), expected, atol=1e-5)
