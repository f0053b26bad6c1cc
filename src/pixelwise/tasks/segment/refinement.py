"""Refinement: sharpens predictions with the edges and the areas of one colour in the picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.draw import to_rgb
from pixelwise.data.superpixels import superpixels
from pixelwise.nn.crf import DenseCRF

SEGMENT_PIXELS = 100
"""About how many pixels a superpixel has. Things narrower than its side may be outvoted."""


def dense_crf(image: np.ndarray, probabilities: Tensor) -> Tensor:
    """The marginals of a fully connected CRF with its default kernels; see `nn.crf.DenseCRF`.

    Args:
        image: (H, W) or (H, W, C); if it is not uint8, `data.draw.to_rgb` stretches it to 0..255.
        probabilities: (K, H, W).

    Returns:
        (K, H, W).
    """
    picture = torch.from_numpy(to_rgb(image)).to(probabilities.device)
    return DenseCRF()(picture, probabilities)


def superpixel_majority(
    image: np.ndarray, probabilities: Tensor, *, segment_pixels: int = SEGMENT_PIXELS, compactness: float = 10.0
) -> Tensor:
    """Gives each superpixel the class of most of its pixels; the first class if several are equal.

    Args:
        image: as for `dense_crf`.
        probabilities: (K, H, W).
        compactness: see `data.superpixels`.

    Returns:
        (K, H, W), for each pixel the share of each class in its superpixel.
    """
    classes, height, width = probabilities.shape
    segments = superpixels(image, max(1, round(height * width / segment_pixels)), compactness=compactness)
    where = torch.from_numpy(segments).to(probabilities.device)
    votes = torch.bincount(
        (where * classes + probabilities.argmax(0)).flatten(), minlength=(segments.max() + 1) * classes
    )
    shares = votes.view(-1, classes) / votes.view(-1, classes).sum(1, keepdim=True).clamp_min(1)
    return shares[where].permute(2, 0, 1)


Refinement = Callable[[np.ndarray, Tensor], Tensor]
"""A picture (H, W) or (H, W, C) and probabilities (K, H, W) -> probabilities (K, H, W)."""

REFINEMENTS: dict[str, Refinement | None] = {"none": None, "crf": dense_crf, "superpixels": superpixel_majority}
"""The values of `--refine`."""
