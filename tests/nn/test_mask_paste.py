"""Masks to a fixed number of places and back: coverage by hand, and what is left of objects."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pixelwise.nn.mask_paste import crop_masks, paste_masks


def test_places_hold_the_share_that_is_covered() -> None:
    label_maps = torch.zeros(2, 6, 8, dtype=torch.int32)
    label_maps[1, 1:3, 2:6] = 5
    label_maps[1, 4, 4] = 3
    boxes = torch.tensor([[2.0, 1.0, 6.0, 5.0], [1.0, 0.0, 5.0, 4.0]])
    found = crop_masks(label_maps, boxes, torch.tensor([1, 1]), torch.tensor([5, 5]), 2)
    assert found.tolist() == [[[1.0, 1.0], [0.0, 0.0]], [[0.25, 0.5], [0.25, 0.5]]]
    beyond = crop_masks(label_maps, torch.tensor([[-4.0, 1.0, 4.0, 3.0]]), torch.tensor([1]), torch.tensor([5]), 4)
    assert beyond[0].tolist() == [[0.0, 0.0, 0.0, 1.0]] * 4, "nothing is covered outside the picture"


@pytest.mark.parametrize("side", [8, 16, 32, 64])
def test_objects_survive_28_places(side: int) -> None:
    """Discs of these diameters, sent to 28 x 28 places and back, as targets and answers of Mask R-CNN are."""
    rows, columns = np.mgrid[:96, :96] + 0.5
    overlaps = []
    for shift in np.linspace(0, 0.9, 5):
        disc = (rows - 47.3 - shift) ** 2 + (columns - 48.1 + shift) ** 2 < (side / 2) ** 2
        inside = np.argwhere(disc)
        (top, left), (bottom, right) = inside.min(0), inside.max(0) + 1
        box = torch.tensor([[left, top, right, bottom]]).float()
        small = crop_masks(torch.from_numpy(disc.astype(np.int32))[None], box, torch.tensor([0]), torch.tensor([1]), 28)
        (piece,) = paste_masks(small, box, (96, 96))
        again = np.zeros((96, 96), bool)
        again[piece.window] = piece.mask
        overlaps.append((again & disc).sum() / (again | disc).sum())
    assert min(overlaps) >= 0.99


def test_pieces_lie_within_the_picture() -> None:
    masks = torch.ones(3, 4, 4)
    boxes = torch.tensor([[-3.0, -2.0, 4.0, 5.0], [6.2, 7.4, 12.0, 12.0], [2.0, 2.0, 2.0, 2.0]])
    corner, other, empty = paste_masks(masks, boxes, (10, 9))
    assert (corner.top, corner.left, corner.mask.shape) == (0, 0, (5, 4))
    assert corner.mask.all()
    assert (other.top, other.left, other.mask.shape) == (7, 6, (3, 3))
    assert other.mask.all(), "the centres 7.5 and 6.5 are in the box"
    assert not empty.mask.any()
