"""The maps of a pyramid as one table with a row of channels per position, which can be read at any positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class MapTable:
    """Maps (N, C, H_i, W_i) as rows: map by map, picture by picture, row by row.

    Attributes:
        values: (positions, C); a view if there is a single map in channels-last format, else a copy.
    """

    def __init__(self, maps: Sequence[Tensor]) -> None:
        rows = [each.permute(0, 2, 3, 1).reshape(-1, each.shape[1]) for each in maps]
        self.values = rows[0] if len(rows) == 1 else torch.cat(rows)
        shapes = torch.tensor([each.shape for each in maps], device=self.values.device)  # (L, 4): N, C, H, W
        sizes = shapes[:, 0] * shapes[:, 2] * shapes[:, 3]
        self._heights, self._widths = shapes[:, 2], shapes[:, 3]
        self._starts = sizes.cumsum(0) - sizes

    def sizes(self, levels: Tensor) -> tuple[Tensor, Tensor]:
        """(R,) indices of maps -> (R,) heights and (R,) widths."""
        return self._heights[levels], self._widths[levels]

    def positions(self, levels: Tensor, pictures: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """The rows of the table for positions of maps.

        Args:
            levels, pictures: (R,) indices of the map and of the picture in the batch.
            rows, columns: (R, ...) int64 positions on the map; they broadcast.
        """
        height, width = self.sizes(levels)
        start = self._starts[levels] + pictures * height * width
        more = (-1, *[1] * (rows.dim() - 1))
        return start.view(more) + rows * width.view(more) + columns
