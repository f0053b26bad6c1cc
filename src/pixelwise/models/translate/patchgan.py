"""PatchGAN, the discriminator of pix2pix and CycleGAN (Isola et al., CVPR 2017, arXiv:1611.07004, section 3.2.2)."""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.nn.dense import mirror_pad
from pixelwise.nn.picture_norm import PictureNorm2d

SLOPE = 0.2
"""Slope of the leaky ReLUs below 0."""


class PatchGAN(nn.Module):
    """Judges overlapping patches of a picture, 70 pixels wide with three layers of stride 2, by one logit each.

    With 6 channels, width 64 and affine norms it has 2,768,705 parameters; with 3 channels and norms without
    parameters 2,764,737. Tensors have the names and shapes of the authors' PyTorch code.

    Args:
        layers: convolutions of stride 2.
        affine: whether norms have learned factors and shifts; the convolutions before them then have no biases.
    """

    def __init__(self, in_channels: int, *, width: int = 64, layers: int = 3, affine: bool) -> None:
        super().__init__()
        self.smallest = 3 * 2**layers
        modules: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        before = width
        for number in range(1, layers + 1):
            after = width * min(2**number, 8)
            stride = 2 if number < layers else 1
            modules += [
                nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=not affine),
                PictureNorm2d(after, affine=affine),
                nn.LeakyReLU(SLOPE),
            ]
            before = after
        modules.append(nn.Conv2d(before, 1, 4, stride=1, padding=1))
        self.model = nn.Sequential(*modules)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in -1..1, any size -> logits (N, 1, h, w); sides below 24 pixels are mirrored outwards."""
        height, width = images.shape[-2:]
        padding = (0, max(self.smallest - width, 0), 0, max(self.smallest - height, 0))
        return self.model(mirror_pad(images, padding))  # (N, 1, H/8 - 2, W/8 - 2)
