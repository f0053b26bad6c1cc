"""Which of several scores is the best, in either direction."""

from __future__ import annotations

import math

import pytest

from pixelwise.metrics import Headline


@pytest.mark.parametrize(
    ("values", "highest", "lowest"),
    [
        ([0.25, 0.75, 0.5], 1, 0),
        ([-1.0, -3.0, -2.0], 0, 1),
        ([0.5, 0.5], 0, 0),
        ([math.nan, None, 0.25, math.nan, 0.5], 4, 2),
        ([math.inf, 1.0], 0, 1),
        ([None, math.nan], None, None),
        ([], None, None),
    ],
)
def test_the_best_value(values: list[float | None], highest: int | None, lowest: int | None) -> None:
    assert Headline("accuracy", "accuracy").best(values) == highest
    assert Headline("fid", "FID", higher=False, limits=(0, None)).best(values) == lowest
