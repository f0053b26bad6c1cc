"""Upsampling: literal arrays, and the laws that tie each kind to its way down."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.catalog import create_model
from pixelwise.errors import UserError
from pixelwise.nn.upsampling import UPSAMPLINGS, BedOfNails, MaxUnpool, bilinear_kernel, create_upsampling

SQUARE = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])


def rows(maps: Tensor) -> list[str]:
    return ["".join(str(int(value)) for value in row) for row in maps[0, 0]]


def test_literal_nearest_and_nails() -> None:
    assert rows(create_upsampling("nearest", 1, 1)(SQUARE)) == ["1122", "1122", "3344", "3344"]
    assert rows(create_upsampling("nails", 1, 1)(SQUARE)) == ["1020", "0000", "3040", "0000"]


def test_unpooling_puts_each_value_back_where_its_maximum_was() -> None:
    maps = torch.tensor([[1, 5, 2, 0], [3, 4, 8, 1], [0, 0, 6, 6], [7, 0, 1, 2]]).float()[None, None]
    small, indices = F.max_pool2d(maps, 2, return_indices=True)
    assert rows(MaxUnpool(1, 1)(small, indices)) == ["0500", "0080", "0060", "7000"]
    again = F.max_pool2d(MaxUnpool(1, 1)(small, indices), 2)
    assert torch.equal(again, small)


def test_pixel_shuffle_makes_blocks_of_channels() -> None:
    layer = create_upsampling("pixel_shuffle", 2, 1)
    maps = torch.randn(1, 2, 3, 2)
    four = layer[0](maps)
    large = layer(maps)
    for place in range(4):
        assert torch.equal(large[0, 0, place // 2 :: 2, place % 2 :: 2], four[0, place])


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_a_transposed_convolution_with_the_bilinear_kernel_interpolates(factor: int) -> None:
    maps = torch.randn(1, 1, 5, 6)
    kernel = bilinear_kernel(factor)[None, None]
    large = F.conv_transpose2d(maps, kernel, stride=factor, padding=(kernel.shape[-1] - factor) // 2)
    expected = F.interpolate(maps, scale_factor=factor, mode="bilinear")
    inner = (..., slice(factor, -factor), slice(factor, -factor))
    assert torch.allclose(large[inner], expected[inner], atol=1e-6)


def test_the_overlapping_one_starts_bilinear() -> None:
    maps = torch.randn(1, 3, 5, 6)
    expected = F.interpolate(maps, scale_factor=2, mode="bilinear")
    found = create_upsampling("transposed_overlapping", 3, 3)(maps)
    assert torch.allclose(found[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-6)


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_transposed_convolution_is_the_adjoint_of_convolution(kernel: int, stride: int, padding: int) -> None:
    """<conv x, y> = <x, conv^T y>, for every stride and padding that the sizes allow."""
    generator = torch.Generator().manual_seed(kernel * 9 + stride * 3 + padding)
    weight = torch.randn(3, 2, kernel, kernel, generator=generator, dtype=torch.float64)
    x = torch.randn(1, 2, 11, 13, generator=generator, dtype=torch.float64)
    forward = F.conv2d(x, weight, stride=stride, padding=padding)
    y = torch.randn(forward.shape, generator=generator, dtype=torch.float64)
    rest = tuple((size + 2 * padding - kernel) % stride for size in x.shape[-2:])
    back = F.conv_transpose2d(y, weight, stride=stride, padding=padding, output_padding=rest)
    assert back.shape == x.shape
    assert float((forward * y).sum()) == pytest.approx(float((x * back).sum()), rel=1e-9)


@pytest.mark.parametrize("kind", sorted(UPSAMPLINGS))
@pytest.mark.parametrize(("inputs", "outputs"), [(4, 4), (6, 3)])
def test_every_kind_doubles_and_has_the_channels_asked_for(kind: str, inputs: int, outputs: int) -> None:
    layer = create_upsampling(kind, inputs, outputs)
    arguments = [torch.randn(2, inputs, 3, 5)]
    if kind == "unpool":
        arguments.append(F.max_pool2d(torch.randn(2, outputs, 6, 10), 2, return_indices=True)[1])
    assert layer(*arguments).shape == (2, outputs, 6, 10)


@pytest.mark.parametrize("kind", sorted(UPSAMPLINGS))
def test_the_switch_reaches_the_unet(kind: str) -> None:
    network = create_model("unet", num_classes=2, width=4, upsampling=kind)
    kinds = {
        "nails": BedOfNails,
        "unpool": MaxUnpool,
        "pixel_shuffle": nn.PixelShuffle,
        "transposed": nn.ConvTranspose2d,
    }
    used = {name for name, layer in kinds.items() if any(isinstance(module, layer) for module in network.modules())}
    assert used == {kind.removesuffix("_overlapping")} & kinds.keys()
    network(torch.randn(1, 3, 33, 40)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_over_an_encoder() -> None:
    network = create_model("unet", num_classes=2, encoder="resnet18", upsampling="pixel_shuffle").eval()
    with torch.inference_mode():
        assert network(torch.randn(1, 3, 50, 70)).shape == (1, 2, 50, 70)
    with pytest.raises(UserError, match="unpool needs the positions"):
        create_model("unet", num_classes=2, encoder="resnet18", upsampling="unpool")
    with pytest.raises(UserError, match="did you mean 'bilinear'"):
        create_model("unet", num_classes=2, upsampling="bilinar")
