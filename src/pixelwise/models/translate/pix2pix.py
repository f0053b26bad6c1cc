"""pix2pix (Isola, Zhu, Zhou, Efros, CVPR 2017, arXiv:1611.07004): a U-Net that draws the other picture of a pair.

The generator is a U-Net down to a single position (section 3.2.1 and the appendix), the discriminator a PatchGAN that
sees input and output together. Norms are instance norms with learned factors and shifts. For a batch of one, with which
the paper trains on maps and façades, this is its batch norm; for larger batches it keeps pictures apart, and it does
the same in training and in evaluation. The dropout of the decoder is the paper's source of noise. Here it is active in
training only, so that a picture is translated in the same way every time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelwise.errors import UserError
from pixelwise.models.translate.patchgan import SLOPE, PatchGAN
from pixelwise.models.translate.translator import Direction, Generator, Translator, check_direction, initialise
from pixelwise.nn.picture_norm import PictureNorm2d

SHALLOWEST = 2


class Pix2Pix(Translator):
    """A U-Net generator and a PatchGAN that judges input and output together.

    3 to 3 channels, width 64: the generator has 54,413,955 parameters with depth 8 (U-Net-256) and 41,828,995 with
    depth 7 (U-Net-128), the discriminator 2,768,705.

    Args:
        in_channels, out_channels: channels of the picture that is translated, and of its translation.
        depth: halvings of the generator; pictures are mirrored outwards to a multiple of 2 to this power.
        width: channels of the first map of both networks.
        dropout: share of the features that the widest blocks of the decoder leave out in training.
        direction: which picture of a pair is translated into which; the data is read accordingly.
        target_range: see `Translator`.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        depth: int = 8,
        width: int = 64,
        dropout: float = 0.5,
        direction: Direction = "a-to-b",
        target_range: tuple[float, float] = (0.0, 255.0),
    ) -> None:
        super().__init__(target_range)
        check_direction(direction)
        if depth < SHALLOWEST:
            raise UserError(f"model.depth: found {depth}, expected at least {SHALLOWEST} halvings.")
        self.direction = direction
        self.generator = UNetGenerator(in_channels, out_channels, depth=depth, width=width, dropout=dropout)
        self.discriminator = PatchGAN(in_channels + out_channels, width=width, affine=True)
        initialise(self)

    def generator_for(self, direction: Direction) -> Generator:
        if direction != self.direction:
            raise UserError(
                f"direction: this network was trained to translate {self.direction}, not {direction}; train another "
                f"one with --set model.direction={direction}."
            )
        return self.generator

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) normalised pictures of any size -> their translations (N, K, H, W) in -1..1."""
        return self.generator(images)


class UNetGenerator(Generator):
    """A U-Net of 4x4 convolutions with stride 2, from the picture down to one position per `2**depth` pixels and back.

    Tensors have the names and shapes of the authors' PyTorch code.
    """

    def __init__(self, in_channels: int, out_channels: int, *, depth: int, width: int, dropout: float) -> None:
        super().__init__()
        self.num_classes = out_channels
        self.stride = 2**depth
        self.reach = 3 * self.stride
        channels = [width * min(2**level, 8) for level in range(depth)]  # 64, 128, 256, 512, 512, 512, 512, 512
        block: nn.Module | None = None
        for level in reversed(range(1, depth)):
            widest = channels[level - 1] == channels[level]
            block = UNetBlock(
                channels[level - 1], channels[level], block, dropout=dropout if widest and block is not None else 0.0
            )
        assert block is not None
        self.model = nn.ModuleDict(
            {
                "model": nn.Sequential(
                    nn.Conv2d(in_channels, width, 4, stride=2, padding=1, bias=False),  # (N, 64, H/2, W/2)
                    block,  # (N, 128, H/2, W/2)
                    nn.ReLU(),
                    nn.ConvTranspose2d(2 * width, out_channels, 4, stride=2, padding=1),
                    nn.Tanh(),
                )
            }
        )

    def logits(self, images: Tensor) -> Tensor:
        return self.model["model"](images)


class UNetBlock(nn.Module):
    """One level of the U-Net: halves the maps, passes them through the levels below, and doubles them again.

    Args:
        outer: channels of the maps at the level above, which the block takes.
        inner: channels of the maps after halving.
        below: the block of the next level; None at the bottom, where no norm follows the convolution.
    """

    def __init__(self, outer: int, inner: int, below: nn.Module | None, *, dropout: float = 0.0) -> None:
        super().__init__()
        down: list[nn.Module] = [
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(outer, inner, 4, stride=2, padding=1, bias=False),
        ]
        if below is not None:
            down += [PictureNorm2d(inner, affine=True), below]
        up: list[nn.Module] = [
            nn.ReLU(),
            nn.ConvTranspose2d(inner if below is None else 2 * inner, outer, 4, stride=2, padding=1, bias=False),
            PictureNorm2d(outer, affine=True),
        ]
        self.model = nn.Sequential(*down, *up, *([nn.Dropout(dropout)] if dropout else []))

    def forward(self, maps: Tensor) -> Tensor:
        """(N, outer, H, W) -> (N, 2 outer, H, W): the activated maps, and what the levels below make of them."""
        activated = self.model[0](maps)
        return torch.cat([activated, self.model[1:](activated)], 1)
