"""Ways to make maps twice as large, by name, for all networks that offer a choice.

All take (N, inputs, H, W) and return (N, outputs, 2H, 2W). Those without weights change the number of channels by a 1x1
convolution before the upsampling, where it costs a quarter of what it would cost afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.errors import unknown
from pixelwise.nn.initialise import he_normal


class BedOfNails(nn.Module):
    """Puts each value at the top left of its 2x2 block and zeros around it.

    >>> BedOfNails()(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).int().tolist()
    [[[[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]]]
    """

    def forward(self, maps: Tensor) -> Tensor:
        nail = maps.new_zeros(2, 2)
        nail[0, 0] = 1
        spread = F.interpolate(maps, scale_factor=2, mode="nearest")
        return spread * nail.repeat(maps.shape[-2], maps.shape[-1])


class MaxUnpool(nn.Module):
    """Puts each value back where max pooling found it, zeros around it (Zeiler & Fergus, ECCV 2014, section 2.1).

    The indices come from `nn.MaxPool2d(2, return_indices=True)` on maps of `outputs` channels.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.project = channels(inputs, outputs)

    def forward(self, maps: Tensor, indices: Tensor) -> Tensor:
        return F.max_unpool2d(self.project(maps), indices, (2, 2))


def channels(inputs: int, outputs: int) -> nn.Module:
    """A 1x1 convolution if the number of channels changes, else the identity."""
    return nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)


def _nearest(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(channels(inputs, outputs), nn.Upsample(scale_factor=2, mode="nearest"))


def _bilinear(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(channels(inputs, outputs), nn.Upsample(scale_factor=2, mode="bilinear"))


def _nails(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(channels(inputs, outputs), BedOfNails())


def _transposed(inputs: int, outputs: int) -> nn.Module:
    """2x2 blocks without overlap: each output depends on one input position, as in U-Net's up-convolution."""
    layer = nn.ConvTranspose2d(inputs, outputs, 2, 2)
    he_normal(layer)
    return layer


def _transposed_overlapping(inputs: int, outputs: int) -> nn.Module:
    """4x4 blocks that overlap by half; starts as bilinear interpolation (Long et al., CVPR 2015, section 4.3)."""
    layer = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        for channel in range(outputs):
            layer.weight[channel % inputs, channel] = bilinear_kernel(2)
    return layer


def _pixel_shuffle(inputs: int, outputs: int) -> nn.Module:
    """Four channels become the four pixels of a block (Shi et al., CVPR 2016, section 3.2)."""
    return nn.Sequential(nn.Conv2d(inputs, 4 * outputs, 1), nn.PixelShuffle(2))


UPSAMPLINGS: dict[str, Callable[[int, int], nn.Module]] = {
    "bilinear": _bilinear,
    "nails": _nails,
    "nearest": _nearest,
    "pixel_shuffle": _pixel_shuffle,
    "transposed": _transposed,
    "transposed_overlapping": _transposed_overlapping,
    "unpool": MaxUnpool,
}
"""Name -> constructor (inputs, outputs). Only `unpool` takes the pooling's indices in addition to the maps."""


def create_upsampling(kind: str, inputs: int, outputs: int) -> nn.Module:
    """A module that doubles height and width, and turns `inputs` channels into `outputs`.

    Raises:
        UserError: the kind is unknown.
    """
    if kind not in UPSAMPLINGS:
        raise unknown("upsampling", kind, UPSAMPLINGS)
    return UPSAMPLINGS[kind](inputs, outputs)


def bilinear_kernel(factor: int) -> Tensor:
    """The kernel with which a transposed convolution of stride `factor` interpolates bilinearly.

    Its side is 2 factor - factor % 2.

    >>> bilinear_kernel(2)[1].tolist()
    [0.1875, 0.5625, 0.5625, 0.1875]
    """
    size = 2 * factor - factor % 2
    centre = (size - 1) / 2
    line = 1 - (torch.arange(size) - centre).abs() / factor
    return line[:, None] * line
