"""CycleGAN (Zhu, Park, Isola, Efros, ICCV 2017, arXiv:1703.10593): translation learned from unpaired pictures.

Two generators translate in both directions, and two discriminators judge their translations. Generators are the
residual networks of Johnson et al. (ECCV 2016) with instance norm (section 7.2 of the paper), discriminators PatchGANs.
"""

from __future__ import annotations

from torch import Tensor, nn

from pixelwise.models.translate.patchgan import PatchGAN
from pixelwise.models.translate.translator import Direction, Generator, Translator, check_direction, initialise
from pixelwise.nn.picture_norm import PictureNorm2d


class CycleGAN(Translator):
    """Generators and discriminators of both directions.

    As in the authors' code, `generator_a` translates pictures of a into pictures of b, and `discriminator_a` tells its
    translations from pictures of b. `generator_b` translates back, and `discriminator_b` judges pictures of a.

    3 channels, width 64: a generator has 11,378,179 parameters with 9 blocks and 7,837,699 with 6, a discriminator
    2,764,737.

    Args:
        in_channels, out_channels: channels of the pictures of a and of b.
        blocks: residual blocks of a generator; the paper takes 9 for pictures of 256 x 256 and more, 6 for 128 x 128.
        width: channels of the first map of all networks.
        target_range: see `Translator`; the pictures of b.
    """

    both_ways = True

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        blocks: int = 9,
        width: int = 64,
        target_range: tuple[float, float] = (0.0, 255.0),
    ) -> None:
        super().__init__(target_range)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.generator_a = ResNetGenerator(in_channels, out_channels, blocks=blocks, width=width)
        self.generator_b = ResNetGenerator(out_channels, in_channels, blocks=blocks, width=width)
        self.discriminator_a = PatchGAN(out_channels, width=width, affine=False)
        self.discriminator_b = PatchGAN(in_channels, width=width, affine=False)
        initialise(self)

    def generator_for(self, direction: Direction) -> Generator:
        check_direction(direction)
        return self.generator_a if direction == "a-to-b" else self.generator_b

    def forward(self, images: Tensor) -> Tensor:
        """Normalised pictures of a (N, C, H, W), any size -> their translations (N, K, H, W) in -1..1."""
        return self.generator_a(images)


class ResNetGenerator(Generator):
    """Two halvings, residual blocks at a quarter of the resolution, and two doublings; borders are mirrored.

    Tensors have the names and shapes of the authors' PyTorch code.
    """

    stride = 4

    def __init__(self, in_channels: int, out_channels: int, *, blocks: int, width: int) -> None:
        super().__init__()
        self.num_classes = out_channels
        self.reach = 3 + 1 + 2 + 4 * 2 * blocks + 4 + 2 + 3
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(in_channels, width, 7), *_activated(width)]
        for channels in (width, 2 * width):  # to (N, 256, H/4, W/4)
            layers += [nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), *_activated(2 * channels)]
        layers += [ResidualBlock(4 * width) for _ in range(blocks)]
        for channels in (4 * width, 2 * width):  # back to (N, 64, H, W)
            layers += [
                nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1),
                *_activated(channels // 2),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, out_channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        """As in `DenseModel`, and at least 8 pixels per side, for mirroring two positions at a quarter of the size."""
        left, right, top, bottom = super().padding(height, width)
        return left, max(right, SMALLEST - width), top, max(bottom, SMALLEST - height)

    def logits(self, images: Tensor) -> Tensor:
        return self.model(images)


SMALLEST = 8


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with mirrored borders, added to their input (Johnson et al. 2016, without the last ReLU)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            *_activated(channels),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            PictureNorm2d(channels),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)"""
        return maps + self.conv_block(maps)


def _activated(channels: int) -> tuple[nn.Module, nn.Module]:
    return PictureNorm2d(channels), nn.ReLU()
