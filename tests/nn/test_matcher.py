"""Matching and sampling on literal arrays."""

from __future__ import annotations

import torch

from pixelwise.nn.matcher import BACKGROUND, BETWEEN, Matcher, balanced_sample, leave_out

OVERLAPS = torch.tensor([[0.8, 0.4, 0.0, 0.1], [0.1, 0.5, 0.0, 0.2]])


def test_the_example_of_the_docstring() -> None:
    assert Matcher(0.7, 0.3)(OVERLAPS).tolist() == [0, BETWEEN, BACKGROUND, BACKGROUND]
    assert Matcher(0.7, 0.3, every_object=True)(OVERLAPS).tolist() == [0, 1, BACKGROUND, BACKGROUND]


def test_all_boxes_that_an_object_overlaps_equally_well_stand_for_it() -> None:
    overlaps = torch.tensor([[0.4, 0.4, 0.1], [0.0, 0.6, 0.0]])
    matches = Matcher(0.7, 0.3, every_object=True)(overlaps)
    assert matches.tolist() == [0, 1, BACKGROUND], "the second box stands for the object that it overlaps most"


def test_an_object_that_no_box_touches_takes_none() -> None:
    overlaps = torch.tensor([[0.0, 0.0], [0.9, 0.0]])
    assert Matcher(0.7, 0.3, every_object=True)(overlaps).tolist() == [1, BACKGROUND]


def test_without_objects_everything_is_background() -> None:
    assert Matcher(0.5, 0.5)(torch.zeros(0, 3)).tolist() == [BACKGROUND] * 3


def test_a_sample_has_the_asked_share_of_objects_and_no_box_in_between() -> None:
    matches = torch.tensor([0] * 30 + [BETWEEN] * 50 + [BACKGROUND] * 100)
    chosen = balanced_sample(matches, 40, 0.25)
    assert len(chosen) == len(chosen.unique()) == 40
    assert (matches[chosen] == 0).sum() == 10
    assert (matches[chosen] == BETWEEN).sum() == 0
    few = balanced_sample(torch.tensor([0] * 3 + [BACKGROUND] * 100), 40, 0.25)
    assert len(few) == 40, "background fills up what objects leave"
    assert few[:3].tolist() == [0, 1, 2]
    assert len(balanced_sample(torch.tensor([0] * 30), 40, 0.5)) == 20
    assert len(balanced_sample(torch.tensor([BETWEEN] * 9), 40, 0.5)) == 0


def test_background_that_is_mostly_on_an_ignored_object_is_left_out() -> None:
    boxes = torch.tensor(
        [
            [0.0, 0.0, 10.0, 10.0],  # all of it on the crowd
            [15.0, 0.0, 25.0, 10.0],  # half of it
            [14.0, 0.0, 24.0, 10.0],  # six tenths
            [0.0, 0.0, 10.0, 10.0],  # stands for an object
            [50.0, 0.0, 60.0, 10.0],  # elsewhere
            [3.0, 3.0, 3.0, 9.0],  # without an area
        ]
    )
    matches = torch.tensor([BACKGROUND, BACKGROUND, BACKGROUND, 0, BACKGROUND, BACKGROUND])
    crowd = torch.tensor([[0.0, 0.0, 20.0, 40.0], [torch.nan] * 4])
    expected = [BETWEEN, BACKGROUND, BETWEEN, 0, BACKGROUND, BACKGROUND]
    assert leave_out(matches, boxes, crowd).tolist() == expected
    assert leave_out(matches, boxes, crowd[:0]).tolist() == matches.tolist()
    assert leave_out(matches, boxes, crowd[1:]).tolist() == matches.tolist()
