"""A prepared network says what the network says."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from pixelwise.errors import UserError
from pixelwise.inference.engine import TorchEngine
from tiny_dense import make_spec, near


def random_images(channels: int, dtype: str, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    high = {"uint8": 256, "uint16": 65536, "float32": 1}[dtype]
    return (generator.random((2, 33, 47, channels)) * high).astype(dtype)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_the_engine_equals_the_model(channels: int, dtype: str, precision: str, tolerance: float) -> None:
    model, spec = near(channels), make_spec(channels, dtype)
    images = random_images(channels, dtype)
    engine = TorchEngine(model, spec, device="cpu", precision=precision)
    normalised = (torch.from_numpy(images.astype(np.float32)) - torch.tensor(spec.mean)) / torch.tensor(spec.std)
    expected = model(normalised.permute(0, 3, 1, 2))
    found = engine(images)
    assert found.shape == (2, 3, 33, 47)
    assert found.dtype == engine.dtype == getattr(torch, precision)
    torch.testing.assert_close(found.float(), expected.detach(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_normalisation_rounds_once(dtype: str) -> None:
    spec = make_spec(3, dtype)
    images = random_images(3, dtype)
    prepared = TorchEngine(near(), spec, device="cpu", precision="bfloat16").prepare(images)
    exact = (images - np.array(spec.mean)) / np.array(spec.std)
    expected = torch.from_numpy(exact).to(torch.float32).to(torch.bfloat16).permute(0, 3, 1, 2)
    # One unit in the last place of difference where the exact value lies between two.
    assert (
        prepared.view(torch.int16).int()
        - expected.contiguous(memory_format=torch.channels_last).view(torch.int16).int()
    ).abs().max() <= 1
    assert (prepared == expected).float().mean() > 0.999
    assert prepared.is_contiguous(memory_format=torch.channels_last)


def test_views_with_steps_are_taken() -> None:
    model = near()
    engine = TorchEngine(model, make_spec(), device="cpu", precision="float32")
    images = random_images(3, "uint8")
    assert torch.equal(engine(images[:, ::2, ::-1]), engine(images[:, ::2, ::-1].copy()))


def test_the_model_is_not_changed() -> None:
    model = near()
    before = copy.deepcopy(model.state_dict())
    TorchEngine(model.train(), make_spec(), device="cpu", precision="bfloat16")(random_images(3, "uint8"))
    assert model.training
    assert isinstance(model.first[1], nn.BatchNorm2d)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in before)


def test_memory_is_measured() -> None:
    """Input 3 + first 8 alive, ReLU's output 8, pooled maps, upsampled 8, joined 16, logits 3 channels in float32."""
    engine = TorchEngine(near(), make_spec(), device="cpu", precision="float32")
    joined = (8 + 8 + 16) * 4  # the two parts and their concatenation are alive together
    assert joined <= engine.bytes_per_pixel <= 1.3 * joined
    half = TorchEngine(near(), make_spec(), device="cpu", precision="bfloat16")
    assert half.bytes_per_pixel == pytest.approx(engine.bytes_per_pixel / 2, rel=0.05)


def test_making_an_engine_does_not_import_torchs_compiler() -> None:
    """It would take 70 MB beside the tiles, and a second."""
    script = (
        "import sys; from pixelwise.catalog import create_model; from pixelwise.data.pictures import PictureFormat\n"
        "from pixelwise.inference.engine import TorchEngine; from pixelwise.models.spec import ModelSpec\n"
        "options = {'in_channels': 3, 'num_classes': 2, 'width': 4}\n"
        "spec = ModelSpec('unet', options, ('a', 'b'), PictureFormat(3, 'uint8'), (0.0,) * 3, (1.0,) * 3)\n"
        "assert TorchEngine(create_model('unet', **options), spec, device='cpu').bytes_per_pixel > 0\n"
        "print(sorted({'torch._dynamo', 'sympy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_options_are_checked() -> None:
    model = near()
    with pytest.raises(UserError, match="did you mean 'bfloat16'"):
        TorchEngine(model, make_spec(), precision="bfloat")
    for device in ("gpu", "cuda:77"):
        with pytest.raises(UserError, match=f"device '{device}' cannot be used here"):
            TorchEngine(model, make_spec(), device=device)
