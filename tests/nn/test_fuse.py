"""Folding batch norm changes memory traffic, never the function."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from pixelwise.catalog import create_model
from pixelwise.nn.fuse import fold_batch_norm


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Statistics and affine parameters as training would leave them, none of them the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -1.0, 1.0),
                (module.running_var, 0.3, 2.0),
                (module.weight, 0.5, 1.5),
                (module.bias, -1.0, 1.0),
            ):
                if tensor is not None:
                    tensor.data.uniform_(low, high, generator=generator)
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(6, 4, 3, padding=1),
        nn.Conv2d(6, 4, 3, bias=False, stride=2),
        nn.Conv2d(6, 6, 3, groups=6, padding=1),
        nn.Conv2d(6, 4, 3, groups=2, dilation=2, padding_mode="reflect", padding=2),
        nn.ConvTranspose2d(6, 4, 2, stride=2),
        nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2, bias=False),
    ],
    ids=["plain", "strided", "depthwise", "grouped", "transposed", "transposed-grouped"],
)
@pytest.mark.parametrize("affine", [True, False])
def test_convolution_and_norm_equal_the_folded_convolution(convolution: nn.Module, affine: bool) -> None:
    torch.manual_seed(1)
    model = randomise(
        nn.Sequential(copy.deepcopy(convolution), nn.BatchNorm2d(convolution.out_channels, affine=affine))
    )
    images = torch.randn(2, 6, 9, 11)
    folded = fold_batch_norm(model, images)
    assert norms(folded) == 0
    fresh = torch.randn(2, 6, 9, 11)
    torch.testing.assert_close(folded(fresh), model(fresh), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("encoder", [None, "resnet18", "mobilenet_v2"])
def test_whole_networks_lose_every_batch_norm(encoder: str | None) -> None:
    torch.manual_seed(0)
    options = {"width": 4} if encoder is None else {"encoder": encoder}
    model = randomise(create_model("unet", num_classes=3, **options))
    example, fresh = torch.randn(2, 1, 3, 64, 64)
    with torch.no_grad():
        folded = fold_batch_norm(model, example)
        assert norms(folded) == 0
        expected = model(fresh)
        assert (folded(fresh) - expected).abs().max() < 1e-4 * expected.abs().max()


def test_the_callers_model_stays_as_it_is() -> None:
    model = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))).train()
    before = copy.deepcopy(model.state_dict())
    fold_batch_norm(model, torch.randn(1, 3, 8, 8))
    assert model.training
    assert isinstance(model[1], nn.BatchNorm2d)
    assert not model[0]._forward_hooks
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


class Shared(nn.Module):
    """The convolution's result is used before and after the norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        return maps + self.norm(maps)


class Overwritten(Shared):
    """The tensor object is the convolution's, its content no longer."""

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(torch.relu_(self.conv(images)))


class CalledTwice(Shared):
    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.conv(images)) + self.conv(images + 1)


@pytest.mark.parametrize("kind", [Shared, Overwritten, CalledTwice])
def test_what_cannot_be_folded_is_left(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = randomise(kind())
    images = torch.randn(1, 3, 5, 5)
    folded = fold_batch_norm(model, images)
    assert norms(folded) == 1
    assert torch.equal(folded(images), model(images))


@pytest.mark.parametrize("kind", [Overwritten, CalledTwice])
def test_what_cannot_be_folded_does_not_keep_the_rest_from_it(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = randomise(nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), kind()))
    images = torch.randn(1, 3, 7, 7)
    folded = fold_batch_norm(model, images)
    assert norms(folded) == 1
    torch.testing.assert_close(folded(images), model(images), rtol=1e-5, atol=1e-5)


def test_norms_that_use_the_batch_are_left() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    assert norms(fold_batch_norm(model, torch.randn(2, 3, 8, 8))) == 1
