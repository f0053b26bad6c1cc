"""OverFeat's steps: what is drawn is what was computed."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from pixelwise.data.draw import palette
from pixelwise.tasks.detect.merging import Localised, Scale, ScoredBoxes, merge_boxes
from pixelwise.tasks.detect.overfeat_figure import overfeat_figure


def steps() -> Localised:
    windows = torch.tensor([[[x, y, x + 20.0, y + 20.0] for x in range(0, 44, 4)] for y in range(0, 28, 4)])
    probabilities = torch.full((3, 7, 11), 0.05)
    probabilities[0] = 0.9
    probabilities[:, 2, 3] = torch.tensor([0.1, 0.8, 0.1])
    boxes = torch.tensor([[14.0, 10, 30, 26], [15, 10, 31, 26], [-3, -4, 9, 8]], dtype=torch.float64)
    candidates = ScoredBoxes(boxes, torch.tensor([1, 1, 2]), torch.tensor([0.8, 0.5, 0.4], dtype=torch.float64))
    return Localised((Scale((48, 64), probabilities, windows, 2),), candidates, merge_boxes(candidates))


def test_the_four_steps() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    figure = overfeat_figure(image, steps(), ["background", "cat", "dog"], background=0)
    coarse, fine, boxes, merged = figure.axes
    assert "scale 1 of 1 (64 x 48)" in coarse.get_title(loc="left")
    cells = [axes.images[1].get_array() for axes in (coarse, fine)]
    assert [cell.shape for cell in cells] == [(4, 6, 4), (7, 11, 4)]
    # The one place where an object is likely: opaque by 0.8, in the colour of class 1. Without offsets it is not there.
    colour = palette(3)[1] / 255
    np.testing.assert_allclose(cells[1][2, 3], [*colour, 0.8], atol=1e-6)
    assert cells[0][..., 3].max() < 0.1
    # Cells are 4 pixels wide, the first one around the middle of the first window, (10, 10).
    assert fine.images[1].get_extent() == pytest.approx([8, 52, 36, 8])
    assert coarse.images[1].get_extent() == pytest.approx([6, 54, 38, 6])
    assert [patch.get_bbox().bounds for patch in boxes.patches] == [
        (14, 10, 16, 16),
        (15, 10, 16, 16),
        (-3, -4, 12, 12),
    ]
    opacity = [patch.get_alpha() for patch in boxes.patches]
    assert opacity[0] > opacity[1] > opacity[2]
    assert {patch.get_bbox().bounds for patch in merged.patches} == {(14.5, 10, 16, 16), (-3, -4, 12, 12)}
    assert {text.get_text() for text in merged.texts} == {"cat 1.3", "dog 0.4"}
    fewer = overfeat_figure(image, steps(), ["background", "cat", "dog"], background=0, share=0.5).axes[3]
    assert [text.get_text() for text in fewer.texts] == ["cat 1.3"]
    assert fewer.get_title(loc="left") == "merged: 2 (1 shown)"
    assert boxes.get_title(loc="left") == "all boxes: 3 from 1 scale"
    figure.savefig(io.BytesIO())


def test_a_picture_without_boxes_is_drawn() -> None:
    empty = ScoredBoxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    scale = Scale((20, 20), torch.tensor([0.9, 0.1]).view(2, 1, 1), torch.tensor([[[0.0, 0, 20, 20]]]), 3)
    figure = overfeat_figure(
        np.zeros((20, 20), np.uint8), Localised((scale,), empty, empty), ["none", "cat"], background=0
    )
    assert "0" in figure.axes[2].get_title(loc="left")
    figure.savefig(io.BytesIO())
