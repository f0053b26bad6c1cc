"""Connected components against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pixelwise.inference import connected_components


@pytest.mark.parametrize("min_pixels", [0, 1, 5, 10**6])
@pytest.mark.parametrize("seed", range(5))
def test_components_equal_scipys(min_pixels: int, seed: int) -> None:
    mask = (np.random.default_rng(seed).random((37, 53)) > 0.6).astype(np.uint8) * 2
    labels, count = ndimage.label(mask == 2, structure=np.ones((3, 3)))
    sizes = ndimage.sum_labels(np.ones_like(labels), labels, range(1, count + 1))
    expected = np.zeros_like(labels)
    for number, label in enumerate([label for label in range(1, count + 1) if sizes[label - 1] >= min_pixels], start=1):
        expected[labels == label] = number
    found = connected_components(mask, 2, min_pixels)
    assert found.dtype == np.int32
    assert np.array_equal(found, expected)


def test_no_pixel_no_component() -> None:
    assert connected_components(np.ones((3, 5), np.uint8), 2).max() == 0
    assert connected_components(np.full((1, 1), 2, np.uint8), 2).tolist() == [[1]]
