"""Boxes as offsets from reference boxes; detectors regress these offsets (Girshick et al., CVPR 2014, appendix C)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pixelwise.nn.boxes import from_centre_size, to_centre_size

LARGEST_GROWTH = math.log(1000 / 16)
"""Largest logarithm of a ratio of sides that is decoded; without a limit the exponential overflows."""


@dataclass(frozen=True, slots=True)
class BoxCoder:
    """Encodes boxes relative to reference boxes (anchors or proposals), and decodes them.

    With centre (x, y), width w and height h of the box, and those of the reference with index a:

        dx = (x - x_a) / w_a,  dy = (y - y_a) / h_a,  dw = log(w / w_a),  dh = log(h / h_a)

    each times its weight. The reference (0, 0, 10, 20) and the box (5, 0, 15, 20) give (0.5, 0, 0, 0).

    Attributes:
        weights: factors of dx, dy, dw and dh; they give the offsets of good references a standard deviation of about 1.
    """

    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)

    def encode(self, boxes: Tensor, references: Tensor) -> Tensor:
        """(..., 4), (..., 4) xyxy of positive width and height -> (..., 4) offsets."""
        own, base = to_centre_size(boxes), to_centre_size(references)
        shifts = (own[..., :2] - base[..., :2]) / base[..., 2:]
        growth = (own[..., 2:] / base[..., 2:]).log()
        return torch.cat([shifts, growth], -1) * own.new_tensor(self.weights)

    def decode(self, offsets: Tensor, references: Tensor) -> Tensor:
        """(..., 4) offsets, (..., 4) xyxy -> (..., 4) xyxy."""
        base = to_centre_size(references)
        plain = offsets / offsets.new_tensor(self.weights)
        centres = base[..., :2] + plain[..., :2] * base[..., 2:]
        sides = base[..., 2:] * plain[..., 2:].clamp(max=LARGEST_GROWTH).exp()
        return from_centre_size(torch.cat([centres, sides], -1))
