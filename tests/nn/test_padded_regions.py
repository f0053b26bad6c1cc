"""Regions that are cut out and padded: values by hand, targets, and the way back to pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pixelwise.nn.mask_paste import paste_masks
from pixelwise.nn.padded_regions import PaddedRegions


def test_values_are_those_of_the_map_and_the_padding_is_zero() -> None:
    maps = [torch.arange(2 * 8 * 12).view(2, 1, 8, 12).float() + 1, torch.zeros(2, 1, 4, 6)]
    boxes = torch.tensor([[9.0, 4.5, 19.0, 11.0], [0.0, 0.0, 47.9, 31.9]])
    cut = PaddedRegions.of(boxes, (4, 8), [(8, 12), (4, 6)], 6)
    assert cut.levels.tolist() == [0, 1], "the second is 12 places wide on the finest map, and 6 on the next"
    assert cut.corners.tolist() == [[1, 2], [0, 0]]
    assert cut.sides.tolist() == [[2, 3], [4, 6]]
    assert cut.windows.tolist() == [[8, 4, 32, 28], [0, 0, 48, 48]]
    values = cut.cut(maps, torch.tensor([1, 0]))
    assert values.shape == (2, 1, 6, 6)
    assert values[0, 0, :2, :3].tolist() == maps[0][1, 0, 1:3, 2:5].tolist()
    assert values[0, 0, 2:].sum() == values[0, 0, :, 3:].sum() == 0
    assert cut.valid(2)[0].sum() == 4 * 6


def test_boxes_at_the_edges_and_without_an_area_have_a_place() -> None:
    boxes = torch.tensor([[47.0, 31.0, 48.0, 32.0], [5.0, 5.0, 5.0, 5.0], [-9.0, -9.0, -3.0, 99.0]])
    cut = PaddedRegions.of(boxes, (4,), [(8, 12)], 4)
    assert (cut.sides >= 1).all()
    assert (cut.sides <= 4).all()
    assert (cut.corners + cut.sides <= torch.tensor([8, 12])).all()


@pytest.mark.parametrize("side", [16, 32, 64])
def test_objects_survive_the_way_there_and_back(side: int) -> None:
    """Discs, as shares of places of half the map's stride, and back; finer than 28 places only where they are small."""
    rows, columns = np.mgrid[:128, :128] + 0.5
    disc = (rows - 61.3) ** 2 + (columns - 58.1) ** 2 < (side / 2) ** 2
    inside = np.argwhere(disc)
    (top, left), (bottom, right) = inside.min(0), inside.max(0) + 1
    box = torch.tensor([[left, top, right, bottom]]).float()
    cut = PaddedRegions.of(box, (4, 8), [(32, 32), (16, 16)], 28)
    label_maps = torch.from_numpy(disc.astype(np.int32))[None]
    shares = cut.targets(label_maps, torch.tensor([0]), torch.tensor([1]), 2)
    assert float(shares.sum()) * 4 == disc.sum(), "of 2 x 2 pixels each"
    (piece,) = paste_masks(shares, box, (128, 128), windows=cut.windows)
    again = np.zeros((128, 128), bool)
    again[piece.window] = piece.mask
    assert (again & disc).sum() / (again | disc).sum() >= {16: 0.9, 32: 0.95, 64: 0.97}[side]
