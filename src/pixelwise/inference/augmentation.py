"""Test-time augmentation: averages a network's predictions over a picture, its mirror images and other sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.errors import UserError, unknown

FLIPS: dict[str, tuple[tuple[int, ...], ...]] = {
    "none": ((),),
    "horizontal": ((), (-1,)),
    "all": ((), (-1,), (-2,), (-2, -1)),
}
"""For each mirror image, the axes of (N, C, H, W) that are flipped."""


class AveragedCopies:
    """Averages predictions over flipped and resized copies of a picture.

    Args:
        flips: `none`, `horizontal` (left and right) or `all` (also up and down, and both).
        scales: factors of the picture's sides, with or without 1.0.

    Raises:
        UserError: unknown flips, no scales, or scales outside 0.1 to 10.

    Attributes:
        copies: how many copies of each picture the network predicts.
        is_identity: whether the only copy is the unchanged picture.
    """

    def __init__(self, flips: str = "none", scales: Sequence[float] = (1.0,)) -> None:
        if flips not in FLIPS:
            raise unknown("flips", flips, FLIPS)
        if not scales or not all(0.1 <= scale <= 10 for scale in scales):
            raise UserError(
                f"scales must be factors from 0.1 to 10, for example 0.75, 1.0 and 1.25; found {list(scales)}."
            )
        self._flips = FLIPS[flips]
        self.scales = tuple(scales)
        self.copies = len(self.scales) * len(self._flips)
        self.is_identity = self.copies == 1 and self.scales == (1.0,)

    def __call__(self, network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, H, W): the network's logits, or with several copies the logarithm of their mean
        probabilities.

        These logarithms can be used like logits: their softmax is the mean of the probabilities.
        """
        if self.is_identity:
            return network(images)
        height, width = images.shape[-2:]
        total: Tensor | None = None
        for scale in self.scales:
            resized = resize(images, max(1, round(height * scale)), max(1, round(width * scale)))
            for axes in self._flips:
                # `flip` copies the tensor and loses channels_last.
                copy = resized.flip(axes).contiguous(memory_format=torch.channels_last) if axes else resized
                probabilities = network(copy).float().softmax(1).flip(axes)
                probabilities = resize(probabilities, height, width)
                total = probabilities if total is None else total.add_(probabilities)
        assert total is not None
        tiny = torch.finfo(torch.float32).tiny  # log(0) would be -inf, and the softmax of nothing but -inf is NaN
        return total.div_(self.copies).clamp_min_(tiny).log_()


def resize(maps: Tensor, height: int, width: int) -> Tensor:
    """(N, C, H, W) -> (N, C, height, width), bilinear with antialiasing; at the same size the tensor itself."""
    if maps.shape[-2:] == (height, width):
        return maps
    return F.interpolate(maps.float(), (height, width), mode="bilinear", antialias=True).to(maps.dtype)
