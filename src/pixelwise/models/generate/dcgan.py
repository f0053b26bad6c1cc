"""DCGAN (Radford, Metz, Chintala, ICLR 2016, arXiv:1511.06434): a convolutional generator and its discriminator.

The networks follow the rules of section 3. Strided convolutions in the discriminator and transposed ones in the
generator take the place of pooling. There are no fully connected layers. Both networks have batch norm, except after
the generator's last layer and the discriminator's first. The generator has ReLU, and tanh at its output; the
discriminator has leaky ReLU of slope 0.2. Tensors have the names and shapes of PyTorch's example (`main.0.weight`), in
which the last convolution of the discriminator returns one logit.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from pixelwise.models.generate.noise import FromNoise

COARSEST = 4
"""Height and width of the first maps after the code."""
SMALLEST = 16
"""Smallest height and width of pictures: two halvings."""


class DCGAN(FromNoise):
    """The generator of figure 1 and its discriminator; both double the channels whenever the maps are halved.

    3 channels, 64x64, latent 100, width 64: the generator has 3,576,704 parameters, the discriminator 2,765,568.
    Weights start from N(0, 0.02), the factors of batch norm from N(1, 0.02) (section 4).

    Batch norm uses the statistics of the batch in training mode and running statistics in evaluation mode.

    Args:
        size: height and width of the pictures, a power of two from 16 on. Other sizes, and sizes that are not square,
            are raised to the next power of two that covers them.
        latent: dimensions of the code z, drawn from N(0, I).
        width: channels of the maps at half the size.
        discriminator_norm: `batch`, or `none` for a critic with a gradient penalty.

    Attributes:
        size: height and width of the generated pictures.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        size: int | tuple[int, int] = 64,
        latent: int = 100,
        width: int = 64,
        discriminator_norm: Literal["batch", "none"] = "batch",
    ) -> None:
        super().__init__(size, SMALLEST, latent)
        if discriminator_norm not in ("batch", "none"):
            raise ValueError(f"discriminator_norm: found {discriminator_norm!r}, expected 'batch' or 'none'")
        side = self.size[0]
        self.generator = Generator(in_channels, side, latent, width)
        self.discriminator = Discriminator(in_channels, side, width, batch_norm=discriminator_norm == "batch")
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)
                nn.init.zeros_(module.bias)

    def forward(self, z: Tensor) -> Tensor:
        """Codes (N, latent) -> pictures (N, C, size, size) in -1..1."""
        return self.generator(z)


class Generator(nn.Module):
    """Turns a code into 4x4 maps and then, by transposed convolutions that double height and width, into a picture."""

    def __init__(self, out_channels: int, size: int, latent: int, width: int) -> None:
        super().__init__()
        channels = width * size // COARSEST // 2  # (N, 512, 4, 4) for 64x64 and width 64
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent, channels, COARSEST, bias=False)]
        while channels > width:
            layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
            layers.append(nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1, bias=False))
            channels //= 2
        layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]  # (N, width, size / 2, size / 2)
        layers += [nn.ConvTranspose2d(width, out_channels, 4, stride=2, padding=1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """(N, latent) -> (N, C, size, size) in -1..1."""
        return self.main(z[:, :, None, None])


class Discriminator(nn.Module):
    """The generator's mirror image; a 4x4 convolution without padding turns the last maps into one logit."""

    def __init__(self, in_channels: int, size: int, width: int, *, batch_norm: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, stride=2, padding=1, bias=False)]
        layers.append(nn.LeakyReLU(0.2, inplace=True))
        channels = width
        while channels < width * size // COARSEST // 2:
            layers.append(nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1, bias=not batch_norm))
            layers += [nn.BatchNorm2d(2 * channels)] if batch_norm else []
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            channels *= 2
        layers.append(nn.Conv2d(channels, 1, COARSEST, bias=False))  # from (N, 512, 4, 4) to (N, 1, 1, 1)
        self.main = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, size, size) -> (N,)"""
        return self.main(images).flatten()
