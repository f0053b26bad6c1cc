"""Boxes, heat maps and OverFeat's steps: what is drawn is what was given."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from pixelwise.data.draw import palette
from pixelwise.inference.overfeat import Detections, Localised, Scale, merge_boxes
from pixelwise.report.boxes import draw_boxes, heat_overlay
from pixelwise.tasks.detect.overfeat_figure import overfeat_figure


def test_a_box_colours_the_outermost_pixels_that_it_covers() -> None:
    colours = palette(3, background=None)
    image = np.zeros((20, 30, 3), np.uint8)
    drawn = draw_boxes(image, np.array([[4.0, 2.0, 10.0, 8.0]]), np.array([1]), colours=colours)
    expected = image.copy()
    expected[2:8, 4:10] = colours[1]
    expected[3:7, 5:9] = 0
    np.testing.assert_array_equal(drawn, expected)
    assert not image.any()  # the picture that was given is left as it was


def test_boxes_are_cut_off_at_the_border_and_the_first_is_on_top() -> None:
    colours = palette(2, background=None)
    boxes = np.array([[-5.0, -5.0, 8.0, 50.0], [-5.0, 3.0, 8.0, 50.0], [40.0, 2.0, 45.0, 6.0], [5.0, 5.0, 5.0, 5.0]])
    drawn = draw_boxes(np.zeros((20, 30), np.uint8), boxes, np.array([0, 1, 1, 1]), colours=colours)
    assert (drawn[:, 0] == colours[0]).all()  # both have their left edge here
    assert (drawn[:, 7] == colours[0]).all()
    assert (drawn[3, 1:7] == colours[1]).all()
    assert not drawn[:, 8:].any()


def test_labels_are_drawn_inside_the_picture() -> None:
    image = np.full((60, 80, 3), 90, np.uint8)
    boxes, classes = np.array([[60.0, 0.0, 80.0, 20.0], [5.0, 30.0, 40.0, 55.0]]), np.array([0, 1])
    plain = draw_boxes(image, boxes, classes)
    labelled = draw_boxes(image, boxes, classes, ["a long label", "b"])
    assert labelled.shape == plain.shape
    changed = (labelled != plain).any(2)
    assert changed[:20].any()  # at the upper edge below the corner, since there is no room above
    assert changed[15:30].any()
    np.testing.assert_array_equal(draw_boxes(image, boxes, classes, ["", ""]), plain)
    with pytest.raises(ValueError, match="2 boxes, 2 classes and 1 labels"):
        draw_boxes(image, boxes, classes, ["one"])


def test_no_boxes() -> None:
    image = np.full((5, 6, 3), 7, np.uint8)
    np.testing.assert_array_equal(draw_boxes(image, np.zeros((0, 4)), np.zeros(0, np.int64)), image)


def test_heat_stands_at_the_middle_of_its_window() -> None:
    """One hot window of 5 x 5 in a grid that is 4 pixels apart: its middle is at pixel (2 + 4 row, 2 + 4 column)."""
    image = np.full((21, 29, 3), 100, np.uint8)
    heat = np.zeros((5, 7), np.float32)
    heat[2, 3] = 1
    shown = heat_overlay(image, heat, window=(5, 5), stride=(4, 4)).astype(int)
    change = np.abs(shown - 100).sum(2)
    assert np.unravel_index(change.argmax(), change.shape) == (10, 14)
    assert not change[10, :11].any()  # a window away it is cold
    assert change[10, 12] > 0
    np.testing.assert_array_equal(change[10, 10:15], change[10, 14:19][::-1])  # alike on both sides
    np.testing.assert_array_equal(change[6:11, 14], change[10:15, 14][::-1])
    assert not change[:7].any()
    constant = heat_overlay(image, np.ones((5, 7)), window=(5, 5), stride=(4, 4))
    assert (constant == constant[0, 0]).all()  # also beyond the outermost middles
    np.testing.assert_array_equal(heat_overlay(image, heat * 0, window=(5, 5), stride=(4, 4)), image)


def steps() -> Localised:
    windows = torch.tensor([[[x, y, x + 20.0, y + 20.0] for x in range(0, 44, 4)] for y in range(0, 28, 4)])
    probabilities = torch.full((3, 7, 11), 0.05)
    probabilities[0] = 0.9
    probabilities[:, 2, 3] = torch.tensor([0.1, 0.8, 0.1])
    boxes = torch.tensor([[14.0, 10, 30, 26], [15, 10, 31, 26], [-3, -4, 9, 8]], dtype=torch.float64)
    candidates = Detections(boxes, torch.tensor([1, 1, 2]), torch.tensor([0.8, 0.5, 0.4], dtype=torch.float64))
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
    assert fewer.get_title(loc="left") == "merged: 2, the 1 surest"
    assert boxes.get_title(loc="left") == "all boxes: 3 from 1 scale"
    figure.savefig(io.BytesIO())


def test_a_picture_without_boxes_is_drawn() -> None:
    empty = Detections(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    scale = Scale((20, 20), torch.tensor([0.9, 0.1]).view(2, 1, 1), torch.tensor([[[0.0, 0, 20, 20]]]), 3)
    figure = overfeat_figure(
        np.zeros((20, 20), np.uint8), Localised((scale,), empty, empty), ["none", "cat"], background=0
    )
    assert "0" in figure.axes[2].get_title(loc="left")
    figure.savefig(io.BytesIO())
