"""Boxes and heat maps: what is drawn is what was given."""

from __future__ import annotations

import numpy as np
import pytest

from pixelwise.data.draw import palette
from pixelwise.report.boxes import draw_boxes, heat_overlay


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
