"""The base class of dense networks, which return logits at the input's size for any height and width."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DenseModel(nn.Module):
    """Base class of networks that label every pixel.

    A subclass computes `logits(images)` for suitable sizes and declares which sizes are suitable; padding and cropping
    happen only here. The picture stays at the top left of the padded picture, so that a crop whose corner is a multiple
    of `stride` is computed on the same grid as the whole picture.

    Attributes:
        num_classes: K.
        stride: heights and widths that `logits` takes are multiples of this (plus `offset`, see below).
        margin: pixels that `logits` loses on each side (valid convolutions); 0 for networks with same padding.
        offset: with a margin, the output size is `offset` modulo `stride`.
        auxiliary_weights: factor of the training loss of each auxiliary head (deep supervision); empty for a network
            with one output.
        heads: names of the modules, at any depth, whose tensors depend on the number of classes.
        last_layers: dotted names of those heads that return logits, the network's output first; empty for all `heads`.
        global_context: whether a logit depends on the whole picture (by pooling over all of it), so that the logits of
            a crop differ from those of the picture, however far its border is.
    """

    num_classes: int
    stride: int = 1
    margin: int = 0
    offset: int = 0
    auxiliary_weights: tuple[float, ...] = ()
    heads: tuple[str, ...] = ("head",)
    last_layers: tuple[str, ...] = ()
    global_context: bool = False

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W) of a suitable size -> (N, K, H - 2 margin, W - 2 margin)."""
        raise NotImplementedError

    def all_logits(self, images: Tensor) -> tuple[Tensor, ...]:
        """`logits(images)`, then the logits of each auxiliary head, at the same size."""
        return (self.logits(images),)

    def padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Left, right, top, bottom: pixels of mirrored border with which `logits` returns at least (height, width)."""
        right = -(width - self.offset) % self.stride
        bottom = -(height - self.offset) % self.stride
        return self.margin, self.margin + right, self.margin, self.margin + bottom

    def forward(self, images: Tensor, *, auxiliary: bool = False) -> Tensor | tuple[Tensor, ...]:
        """(N, C, H, W), any H and W >= 1 -> logits (N, K, H, W); with `auxiliary` a tuple with those of all heads."""
        height, width = images.shape[-2:]
        padded = mirror_pad(images, self.padding(height, width))
        if auxiliary:
            return tuple(logits[..., :height, :width] for logits in self.all_logits(padded))
        return self.logits(padded)[..., :height, :width]


def mirror_pad(images: Tensor, padding: tuple[int, int, int, int]) -> Tensor:
    """Mirrors the border (..., H, W) outwards without repeating the edge pixel, even further than the picture's size.

    Within the range of `torch.nn.functional.pad(mode="reflect")` the two are equal; a 1-pixel side is repeated.

    >>> mirror_pad(torch.tensor([[[0.0, 1.0, 2.0]]]), (3, 1, 0, 0)).tolist()
    [[[1.0, 2.0, 1.0, 0.0, 1.0, 2.0, 1.0]]]
    """
    left, right, top, bottom = padding
    if not any(padding):
        return images
    for axis, before, after in ((-1, left, right), (-2, top, bottom)):
        if before or after:
            index = _mirrored(images.shape[axis], before, after, images.device)
            images = images.index_select(images.dim() + axis, index)
    return images


def _mirrored(size: int, before: int, after: int, device: torch.device) -> Tensor:
    index = torch.arange(-before, size + after, device=device)
    if size == 1:
        return torch.zeros_like(index)
    period = 2 * (size - 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index)
