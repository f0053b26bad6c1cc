"""Regions of one size without resampling: cut out of maps unchanged, and padded with positions that do not count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.nn.map_table import MapTable


@dataclass(frozen=True, slots=True, eq=False)
class PaddedRegions:
    """The positions of regions on the maps of a pyramid.

    Attributes:
        levels: (R,) int64, the map of each region.
        corners: (R, 2) int64, row and column of a region's first position.
        sides: (R, 2) int64, number of rows and columns of a region, at most `size`.
        strides: (R,) int64, pixels per position.
        size: rows and columns of all regions including their padding.
    """

    levels: Tensor
    corners: Tensor
    sides: Tensor
    strides: Tensor
    size: int

    @classmethod
    def of(cls, boxes: Tensor, strides: Sequence[int], shapes: Sequence[tuple[int, int]], size: int) -> PaddedRegions:
        """Puts each box on the finest map on which it covers at most `size` positions along both sides.

        If there is no such map, the box is put on the coarsest map and cut off at the bottom and on the right.

        Args:
            boxes: (R, 4) xyxy in pixels.
            shapes: height and width of each map.
        """
        every = torch.tensor(strides, device=boxes.device)
        low = (boxes[:, None, :2] / every[None, :, None]).floor().long()  # (R, L, 2): x and y
        high = (boxes[:, None, 2:] / every[None, :, None]).ceil().long()
        limits = torch.tensor([[width, height] for height, width in shapes], device=boxes.device)
        low = low.clamp_min(0).minimum(limits - 1)
        high = high.minimum(limits).maximum(low + 1)
        fits = ((high - low) <= size).all(-1)
        fits[:, -1] = True
        levels = fits.int().argmax(1)
        rows = torch.arange(len(boxes), device=boxes.device)
        corner = low[rows, levels].flip(-1)
        sides = (high[rows, levels].flip(-1) - corner).clamp(max=size)
        return cls(levels, corner, sides, every[levels], size)

    @property
    def windows(self) -> Tensor:
        """(R, 4) float32 xyxy in pixels: the windows that the regions cover, including their padding."""
        low = (self.corners * self.strides[:, None]).flip(-1)
        return torch.cat([low, low + (self.size * self.strides)[:, None]], 1).float()

    def valid(self, factor: int = 1) -> Tensor:
        """(R, size * factor, size * factor) bool: whether a position is inside the region, not in the padding.

        Each position of the map is divided into `factor` x `factor` parts.
        """
        steps = torch.arange(self.size * factor, device=self.sides.device)
        rows, columns = (steps < factor * self.sides[:, axis, None] for axis in (0, 1))
        return rows[:, :, None] & columns[:, None, :]

    def cut(self, maps: Sequence[Tensor], pictures: Tensor) -> Tensor:
        """(R, C, size, size) from maps (N, C, H_i, W_i): the values of each region, 0 in the padding.

        Args:
            pictures: (R,) int64, the picture of the batch that each region belongs to.
        """
        table = MapTable(maps)
        height, width = table.sizes(self.levels)
        steps = torch.arange(self.size, device=pictures.device)
        rows = (self.corners[:, 0, None] + steps).minimum(height[:, None] - 1)
        columns = (self.corners[:, 1, None] + steps).minimum(width[:, None] - 1)
        positions = table.positions(self.levels, pictures, rows[:, :, None], columns[:, None, :])
        values = F.embedding(positions, table.values) * self.valid()[..., None].to(maps[0].dtype)
        return values.permute(0, 3, 1, 2)

    def targets(self, label_maps: Tensor, pictures: Tensor, ids: Tensor, factor: int) -> Tensor:
        """(R, size * factor, size * factor) float32: the share of each part that an object covers.

        Each position of the map is divided into `factor` x `factor` parts.

        Args:
            label_maps: (N, H, W) integers.
            pictures, ids: (R,) the label map of each region, and the object's id in it.
        """
        side = self.size * factor
        found = torch.zeros(len(ids), side, side, device=label_maps.device)
        for number, (picture, own) in enumerate(zip(pictures.tolist(), ids.tolist(), strict=True)):
            stride = int(self.strides[number])
            top, left = (self.corners[number] * stride).tolist()
            pixels = self.size * stride
            window = label_maps[picture, top : top + pixels, left : left + pixels] == own
            missing = (0, pixels - window.shape[1], 0, pixels - window.shape[0])
            covered = F.pad(window.float(), missing)
            found[number] = F.avg_pool2d(covered[None, None], stride // factor)[0, 0]
        return found
