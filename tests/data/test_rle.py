"""Run-length encodings: every mask comes back, and the numbers are those of COCO and of the csv files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pixelwise.data import rle
from pixelwise.errors import UserError


def random_masks() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    masks = [(rng.random(rng.integers(1, 30, 2)) < rng.random()) for _ in range(200)]
    return masks + [np.kron(mask[:6, :6], np.ones((9, 40), bool)) for mask in masks[:20]]


def ring() -> np.ndarray:
    mask = np.ones((9, 11), bool)
    mask[2:7, 3:8] = False
    mask[4, 5] = True
    return mask


SHAPES = {
    "ring with an island": ring(),
    "empty": np.zeros((4, 5), bool),
    "full": np.ones((4, 5), bool),
    "one pixel set": np.ones((1, 1), bool),
    "one pixel unset": np.zeros((1, 1), bool),
    "one row": np.array([[1, 0, 0, 1, 1]], bool),
    "one column": np.array([[1], [0], [0], [1]], bool),
    "first pixel": np.eye(5, 7, dtype=bool) & (np.arange(5) == 0)[:, None],
    "last pixel": np.flip(np.eye(5, 7, dtype=bool) & (np.arange(5) == 0)[:, None]),
}
ROUND_TRIPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "counts": lambda mask: rle.decode(rle.encode(mask), *mask.shape),
    "compressed": lambda mask: rle.decode(rle.decompress(rle.compress(rle.encode(mask))), *mask.shape),
    "pairs": lambda mask: rle.from_pairs(rle.parse_pairs(rle.write_pairs(rle.to_pairs(mask))), *mask.shape),
}


@pytest.mark.parametrize("kind", ROUND_TRIPS)
class TestEveryMaskComesBack:
    @pytest.mark.parametrize("mask", SHAPES.values(), ids=SHAPES)
    def test_of_special_shape(self, kind: str, mask: np.ndarray) -> None:
        np.testing.assert_array_equal(ROUND_TRIPS[kind](mask), mask)

    def test_at_random(self, kind: str) -> None:
        for mask in random_masks():
            np.testing.assert_array_equal(ROUND_TRIPS[kind](mask), mask)


def test_runs_go_down_the_columns() -> None:
    mask = np.array([[0, 1, 1], [0, 1, 0]])
    assert rle.encode(mask).tolist() == [2, 3, 1]
    assert rle.to_pairs(mask).tolist() == [[3, 3]]
    assert rle.write_pairs(rle.to_pairs(mask)) == "3 3"
    assert rle.encode(np.array([[7, 0]])).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        # As the COCO API writes them (its rleToString): short ones, differences, numbers of several characters.
        ([2, 3, 1], "231"),
        ([0, 1], "01"),
        ([20], "d0"),
        ([19, 7, 2, 7, 2, 2, 3, 2, 2, 2, 3, 2, 2, 2, 3, 2, 2, 7, 2, 7, 19], "c07200K10O010O010O500a0"),
        ([2000500, 2, 1998, 2, 1998, 2, 1998, 2, 3993498], "dcQm12^n100000\\nii3"),
    ],
)
def test_compressed_strings_are_cocos(counts: list[int], text: str) -> None:
    assert rle.compress(np.array(counts)) == text
    assert rle.decompress(text).tolist() == counts


def test_pairs_may_overlap_and_come_in_any_order() -> None:
    np.testing.assert_array_equal(rle.from_pairs(np.array([[4, 2], [1, 2], [2, 1]]), 2, 3), [[1, 0, 1], [1, 1, 0]])


@pytest.mark.parametrize("text", ["1", "1 2 3", "a b", "1.5 2", "99999999999999999999 1"])
def test_what_is_no_pairs_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="run-length encoding"):
        rle.parse_pairs(text)


@pytest.mark.parametrize("pair", [[0, 1], [1, 0], [-1, 3], [20, 2], [1, 21], [21, 1]])
def test_a_run_outside_of_the_picture_is_refused(pair: list[int]) -> None:
    with pytest.raises(UserError, match="5 x 4 pixels are numbered from 1 to 20"):
        rle.from_pairs(np.array([[1, 1], pair]), 4, 5)


@pytest.mark.parametrize("counts", [[19], [21], [], [-1, 21]])
def test_counts_must_add_up_to_the_picture(counts: list[int]) -> None:
    with pytest.raises(UserError, match="5 x 4 = 20"):
        rle.decode(np.array(counts, np.int64), 4, 5)


@pytest.mark.parametrize("text", ["2 1", "2\x7f", "é", "2S", "S"])
def test_a_broken_string_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="compressed run-length encoding"):
        rle.decompress(text)
