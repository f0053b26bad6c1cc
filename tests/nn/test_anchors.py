"""Anchors at every place of a map, in the order of the map's own values."""

from __future__ import annotations

import torch

from pixelwise.nn.anchors import anchor_shapes, anchors_of


def test_anchors_follow_places_and_shapes() -> None:
    shapes = [anchor_shapes(8, (1.0, 2.0)), anchor_shapes(16, (1.0, 2.0))]
    maps = [torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 1, 2)]
    fine, coarse = anchors_of(maps, (16, 24), shapes)
    assert fine.shape == (12, 4)
    assert coarse.shape == (4, 4)
    assert fine[:2].tolist() == [[-4.0, -4.0, 4.0, 4.0], [-3.0, -6.0, 3.0, 6.0]]
    assert fine[2].tolist() == [4.0, -4.0, 12.0, 4.0], "the next column, 8 pixels to the right"
    assert fine[6].tolist() == [-4.0, 4.0, 4.0, 12.0], "the next row"
    assert coarse[2].tolist() == [4.0, -8.0, 20.0, 8.0], "stride 12 of 24 pixels in 2 columns"
