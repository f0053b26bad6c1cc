"""Predictions sharpened by what the picture itself shows: edges and areas of one colour."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.draw import to_rgb
from pixelwise.nn.crf import DenseCRF

SEGMENT_PIXELS = 100
"""Pixels of a superpixel, about. Things narrower than its side are in danger of being outvoted."""


def dense_crf(image: np.ndarray, probabilities: Tensor) -> Tensor:
    """The marginals of a fully connected CRF with its default kernels; see `nn.crf.DenseCRF`.

    Args:
        image: (H, W) or (H, W, C); other than uint8 it is stretched to 0..255 as `data.draw.to_rgb` does.
        probabilities: (K, H, W).

    Returns:
        (K, H, W).
    """
    picture = torch.from_numpy(to_rgb(image)).to(probabilities.device)
    return DenseCRF()(picture, probabilities)


def superpixel_majority(
    image: np.ndarray, probabilities: Tensor, *, segment_pixels: int = SEGMENT_PIXELS, compactness: float = 10.0
) -> Tensor:
    """Each superpixel takes the class of most of its pixels, the first of equals.

    Superpixels are SLIC's (Achanta et al., PAMI 2012).

    Args:
        image: as for `dense_crf`.
        probabilities: (K, H, W).
        compactness: of SLIC; more makes superpixels squarer and edges less decisive.

    Returns:
        (K, H, W) the share of each class among the pixels of a pixel's superpixel.
    """
    from skimage.segmentation import slic

    classes, height, width = probabilities.shape
    count = max(1, round(height * width / segment_pixels))
    segments = slic(to_rgb(image), n_segments=count, compactness=compactness, start_label=0, channel_axis=-1)
    where = torch.from_numpy(segments.astype(np.int64)).to(probabilities.device)
    votes = torch.bincount(
        (where * classes + probabilities.argmax(0)).flatten(), minlength=(segments.max() + 1) * classes
    )
    shares = votes.view(-1, classes) / votes.view(-1, classes).sum(1, keepdim=True).clamp_min(1)
    return shares[where].permute(2, 0, 1)


Refinement = Callable[[np.ndarray, Tensor], Tensor]
"""A picture (H, W) or (H, W, C) and probabilities (K, H, W) -> probabilities (K, H, W)."""

REFINEMENTS: dict[str, Refinement | None] = {"none": None, "crf": dense_crf, "superpixels": superpixel_majority}
"""What `--refine` takes."""
