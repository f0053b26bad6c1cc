"""Classifiers against torchvision's outputs for the same weights."""

from __future__ import annotations

import json
import zlib
from math import prod
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pixelwise.catalog import create_model, list_models


def fill(name: str, shape: torch.Size) -> Tensor:
    r = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if name.endswith("running_var"):
        return 0.5 + r.abs()
    if name.endswith("running_mean"):
        return 0.1 * r
    if len(shape) > 1:
        return r * (2 / prod(shape[1:])) ** 0.5
    if name.endswith("weight"):
        return 1 + 0.1 * r
    return 0.1 * r


@pytest.mark.parametrize("name", list_models("classify"))
def test_same_names_and_same_logits(name: str, shared_folder: Path) -> None:
    vectors = json.loads((shared_folder / "reference" / "classifiers.json").read_text())
    if name not in vectors:
        pytest.skip(f"no reference vector for {name}")
    vector = vectors[name]
    network = create_model(name).eval()
    state = {key: value for key, value in network.state_dict().items() if value.is_floating_point()}
    assert {key: list(value.shape) for key, value in state.items()} == vector["keys"]
    network.load_state_dict({key: fill(key, value.shape) for key, value in state.items()}, strict=False)
    with torch.inference_mode():
        logits = network(torch.randn(*vector["input"], generator=torch.Generator().manual_seed(7))).flatten()
    assert logits[:8].tolist() == pytest.approx(vector["logits_first8"], abs=1e-4 * vector["logits_std"])
    assert float(logits.mean()) == pytest.approx(vector["logits_mean"], abs=1e-4 * vector["logits_std"])
    assert int(logits.argmax()) == vector["argmax"]


def test_every_vector_has_a_network(shared_folder: Path) -> None:
    vectors = json.loads((shared_folder / "reference" / "classifiers.json").read_text())
    assert set(vectors) <= set(list_models("classify"))
