"""Pictures brought to one size: covered, centred, never distorted."""

from __future__ import annotations

import numpy as np
import pytest

from pixelwise.data.fit import ROOM, Centre, Cover

SIZES = [(1, 1), (7, 300), (224, 224), (256, 256), (500, 375), (33, 47)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", [(28, 28), (224, 160)])
def test_the_target_is_covered_and_no_more(size: tuple[int, int], target: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    height, width = Cover(target).image(image).shape[:2]
    assert height >= target[0]
    assert width >= target[1]
    assert min(height / target[0], width / target[1]) <= ROOM + 1 / min(target)
    if min(size) > 30:  # proportions, as far as whole pixels allow
        assert height / width == pytest.approx(size[0] / size[1], rel=0.05)
    assert Centre(target).image(image).shape == (*target, 3)


def test_a_picture_of_the_views_size_stays_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (28, 28, 1), np.uint8)
    np.testing.assert_array_equal(Centre((28, 28)).image(image), image)
    np.testing.assert_array_equal(Cover((28, 28)).image(image), image)


def test_the_middle_is_seen() -> None:
    image = np.zeros((100, 300, 1), np.uint8)
    image[:, 100:200] = 255
    assert Centre((50, 50)).image(image).min() == 255


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_channels_and_depth_stay(channels: int, dtype: type) -> None:
    image = np.full((90, 60, channels), 200, dtype)
    found = Centre((30, 40)).image(image)
    assert found.dtype == dtype
    assert found.shape == (30, 40, channels)
    np.testing.assert_allclose(found, 200, rtol=1e-6)
