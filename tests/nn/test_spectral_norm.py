"""Spectral normalisation against the singular values themselves."""

from __future__ import annotations

import torch
from torch import nn

from pixelwise.nn.spectral_norm import SpectralNorm


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 5))


def test_normalised_weights_have_a_largest_singular_value_of_1() -> None:
    layers = network()
    norm = SpectralNorm(layers)
    weights = dict(layers.named_parameters())
    for _ in range(200):
        found = norm.normalised(weights)
    assert set(found) == {"0.weight", "4.weight"}
    for name, weight in found.items():
        torch.testing.assert_close(torch.linalg.matrix_norm(weight.flatten(1), 2), torch.tensor(1.0), rtol=1e-4, atol=0)
        largest = torch.linalg.matrix_norm(weights[name].flatten(1), 2)
        torch.testing.assert_close(weight, weights[name] / largest, rtol=1e-4, atol=1e-6)


def test_the_estimate_is_kept_and_improved_in_training_mode_only() -> None:
    layers = network()
    norm = SpectralNorm(layers).eval()
    weights, before = dict(layers.named_parameters()), norm.state_dict()["u0"].clone()
    first = norm.normalised(weights)["0.weight"]
    assert torch.equal(norm.state_dict()["u0"], before)
    assert torch.equal(norm.normalised(weights)["0.weight"], first)
    norm.train().normalised(weights)
    assert not torch.equal(norm.state_dict()["u0"], before)


def test_the_gradient_is_that_of_the_normalised_weight_with_the_estimate_held() -> None:
    layer = nn.Linear(4, 3)
    norm = SpectralNorm(layer)
    for _ in range(100):
        norm.normalised(dict(layer.named_parameters()))
    norm.eval()
    weight = layer.weight.detach().double().requires_grad_()
    oracle = (weight / torch.linalg.matrix_norm(weight, 2)).square().sum()
    (expected,) = torch.autograd.grad(oracle, weight)
    (found,) = torch.autograd.grad(norm.normalised({"weight": layer.weight})["weight"].square().sum(), layer.weight)
    torch.testing.assert_close(found, expected.float(), rtol=1e-3, atol=1e-4)
