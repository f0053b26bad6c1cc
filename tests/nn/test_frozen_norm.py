"""Frozen batch norms compute what batch norms in evaluation do, train nothing, and load published tensors."""

from __future__ import annotations

import torch
from torch import nn

from pixelwise.nn.frozen_norm import FrozenBatchNorm2d, freeze_batch_norms


def network() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Sequential(nn.BatchNorm2d(4)))
    for norm in (made[1], made[3][0]):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return made


def test_the_function_stays_and_nothing_is_left_to_train() -> None:
    plain, frozen = network().eval(), network()
    freeze_batch_norms(frozen)
    images = torch.randn(2, 3, 8, 8)
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    assert torch.equal(frozen.train()(images), plain(images))
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())
    assert [name for name, _ in frozen.named_parameters()] == ["0.weight", "0.bias"]


def test_tensors_have_the_published_names() -> None:
    norm = FrozenBatchNorm2d(4)
    names = {"weight", "bias", "running_mean", "running_var"}
    assert set(norm.state_dict()) == names
    norm.load_state_dict({name: torch.full((4,), 2.0) for name in names})
    assert norm.running_var.tolist() == [2.0] * 4
