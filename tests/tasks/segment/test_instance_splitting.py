"""Connected components against SciPy's, and watershed by the laws it keeps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from pixelwise.tasks.segment.instances import connected_components, watershed


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


def discs(*centres: tuple[int, int, int], size: tuple[int, int] = (60, 90)) -> np.ndarray:
    """Filled circles (row, column, radius) of class 1."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.any([(y - row) ** 2 + (x - column) ** 2 <= radius**2 for row, column, radius in centres], 0).astype(
        np.uint8
    )


@pytest.mark.parametrize("gap", [18, 24, 29])
def test_watershed_splits_touching_discs_at_the_neck(gap: int) -> None:
    mask = discs((30, 30, 15), (30, 30 + gap, 15))
    assert connected_components(mask, 1).max() == 1
    labels = watershed(mask, 1)
    assert labels.max() == 2
    assert ((labels > 0) == (mask == 1)).all()
    # The cut lies in the middle between the centres, within a pixel.
    columns = np.nonzero(labels == 1)[1]
    assert columns.max() == pytest.approx(30 + gap / 2, abs=1)
    assert abs(int((labels == 1).sum()) - int((labels == 2).sum())) <= 0.05 * (mask == 1).sum()


def test_watershed_leaves_single_objects_whole() -> None:
    y, x = np.mgrid[:60, :90]
    for shape in (
        discs((30, 45, 20)),
        discs((0, 45, 20)),  # cut by the picture's border
        (((y - 30) / 12) ** 2 + ((x - 45) / 30) ** 2 <= 1).astype(np.uint8),
        np.pad(np.ones((20, 50), np.uint8), 20),
        np.ones((1, 1), np.uint8),
    ):
        assert watershed(shape, 1).max() == 1


@pytest.mark.parametrize("seed", range(5))
def test_watershed_cuts_components_into_parts_and_loses_nothing(seed: int) -> None:
    mask = (ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(70, 80)), 3) > 0.02).astype(np.uint8) * 2
    components, parts = connected_components(mask, 2), watershed(mask, 2)
    assert parts.dtype == np.int32
    assert ((parts > 0) == (mask == 2)).all()
    assert parts.max() > components.max()
    for part in range(1, parts.max() + 1):
        assert len(np.unique(components[parts == part])) == 1
        assert ndimage.label(parts == part, structure=np.ones((3, 3)))[1] == 1
    first = [np.flatnonzero(parts == part)[0] for part in range(1, parts.max() + 1)]
    assert first == sorted(first)
    assert np.array_equal(watershed(mask, 2, min_depth=1000), components)
    areas = np.bincount(parts.ravel())[1:]
    assert watershed(mask, 2, min_pixels=40).max() == (areas >= 40).sum()


def test_watershed_of_nothing_is_nothing() -> None:
    assert watershed(np.zeros((3, 5), np.uint8), 1).tolist() == np.zeros((3, 5), int).tolist()
