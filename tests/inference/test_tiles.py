"""Tiles cover, weights sum to one, and a model that sees little answers as it would for the whole picture."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pixelwise.errors import UserError
from pixelwise.inference.tiles import Band, Merger, TileGrid, class_ids, grid_within, square_grid
from tiny_dense import Near, near


def merged(grid: TileGrid, field: Tensor) -> list[Band]:
    """Bands for tiles cut out of one field of logits (K, H, W)."""
    merger = Merger(grid, len(field), confidence=True, blended=True)
    bands = [merger.add(field[:, ys.start : ys.stop, xs.start : xs.stop]) for ys, xs in grid]
    return [band for band in bands if band is not None]


@settings(max_examples=150, deadline=None)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    stride=st.sampled_from([1, 2, 8, 32]),
    overlap=st.integers(0, 40),
    extra=st.integers(0, 100),
)
def test_grids_cover_evenly(height: int, width: int, stride: int, overlap: int, extra: int) -> None:
    shared = -(-overlap // stride) * stride
    tile = max(stride, 3 * shared) + extra
    grid = square_grid(height, width, tile=tile, overlap=overlap, stride=stride)
    assert (grid.height, grid.width) == (height, width)
    for spans in (grid.rows, grid.columns):
        assert spans[0].start == spans[0].begin == 0
        assert spans[-1].end == spans[-1].stop
        lengths = [span.stop - span.start for span in spans]
        assert 0 < max(lengths) <= tile
        assert len({-(-length // stride) for length in lengths}) == 1
        for before, after in itertools.pairwise(spans):
            assert after.start % stride == 0
            assert shared <= before.stop - after.start <= shared + stride
            assert before.end == after.begin
            # What is thrown away of the overlap, on both sides of the ramp.
            assert after.begin - after.start >= shared // 4
            assert before.stop - (before.end + grid.ramp) >= 0
            assert before.begin + grid.ramp <= before.end or before.begin == 0


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 5000), width=st.integers(1, 5000), area=st.integers(200**2, 2000**2))
def test_grids_stay_within_their_area(height: int, width: int, area: int) -> None:
    grid = grid_within(height, width, area=area, overlap=32, stride=16)
    for ys, xs in grid:
        assert -(-(ys.stop - ys.start) // 16) * -(-(xs.stop - xs.start) // 16) * 256 <= area


@pytest.mark.parametrize("area", [2_500_000, 2_900_000, 3_500_000])
def test_no_square_tiles_within_the_area_compute_less(area: int) -> None:
    """Fewer tiles are not always better: all are of one length, which is rounded up to strides."""

    def computed(grid: TileGrid) -> int:
        return len(grid) * grid.rows[0].stop * grid.columns[0].stop

    found = grid_within(20_000, 20_000, area=area, overlap=32, stride=32)
    assert found.rows[0].stop * found.columns[0].stop <= area
    sides = range(1024, math.isqrt(area) + 1, 32)
    squares = [square_grid(20_000, 20_000, tile=side, overlap=32, stride=32) for side in sides]
    assert computed(found) <= min(map(computed, squares))


def test_a_picture_that_fits_is_one_tile() -> None:
    assert len(grid_within(200, 300, area=320 * 224, overlap=64, stride=32)) == 1
    assert len(grid_within(200, 300, area=320 * 224 - 1, overlap=32, stride=32)) > 1


def test_long_pictures_get_long_tiles() -> None:
    grid = grid_within(100, 10_000, area=512 * 512, overlap=32, stride=4)
    assert len(grid.rows) == 1
    assert len(grid.columns) == 4


@pytest.mark.parametrize(("tile", "overlap"), [(16, 0), (64, 64), (95, 32), (0, 0)])
def test_tiles_too_small_are_refused(tile: int, overlap: int) -> None:
    with pytest.raises(UserError, match="too small"):
        square_grid(100, 100, tile=tile, overlap=overlap, stride=32)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    overlap=st.integers(0, 9),
    stride=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 99),
)
def test_a_field_that_does_not_depend_on_the_tile_comes_back(
    height: int, width: int, overlap: int, stride: int, seed: int
) -> None:
    grid = square_grid(height, width, tile=3 * overlap + 2 * stride + 9, overlap=overlap, stride=stride)
    field = torch.randn(4, height, width, generator=torch.Generator().manual_seed(seed))
    bands = merged(grid, field)
    assert [band.top for band in bands] == [span.begin for span in grid.rows]
    probabilities = np.concatenate([band.blended for band in bands], axis=1)
    np.testing.assert_allclose(probabilities, field.softmax(0).numpy(), atol=1e-6)
    assert np.array_equal(np.concatenate([band.classes for band in bands]), field.argmax(0).numpy())
    confidence = np.concatenate([band.confidence for band in bands])
    np.testing.assert_allclose(confidence, field.softmax(0).amax(0).numpy() * 255, atol=0.51)


def whole_and_tiled(height: int, width: int, tile: int, overlap: int) -> tuple[np.ndarray, np.ndarray, TileGrid]:
    model = near()
    image = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    grid = square_grid(height, width, tile=tile, overlap=overlap, stride=model.stride)
    merger = Merger(grid, 3, blended=True)
    with torch.inference_mode():
        whole = model(image)[0].softmax(0).numpy()
        bands = [merger.add(model(image[..., ys.start : ys.stop, xs.start : xs.stop])[0]) for ys, xs in grid]
    return whole, np.concatenate([band.blended for band in bands if band is not None], axis=1), grid


@pytest.mark.parametrize(("height", "width"), [(150, 131), (97, 230), (40, 300), (257, 33)])
def test_tiles_equal_the_whole_where_a_quarter_overlap_covers_the_receptive_field(height: int, width: int) -> None:
    whole, tiled, grid = whole_and_tiled(height, width, tile=100, overlap=4 * Near.radius)
    assert len(grid) > 1
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


@pytest.mark.parametrize("overlap", [0, 4, 8, 20])
def test_tiles_equal_the_whole_away_from_their_borders(overlap: int) -> None:
    whole, tiled, grid = whole_and_tiled(150, 131, tile=72, overlap=overlap)
    far = np.ones(whole.shape[1:], bool)
    for ys in grid.rows[1:]:
        far[ys.start - Near.radius : ys.start + overlap + Near.radius] = False
    for xs in grid.columns[1:]:
        far[:, xs.start - Near.radius : xs.start + overlap + Near.radius] = False
    assert far.mean() > 0.2
    np.testing.assert_allclose(tiled[:, far], whole[:, far], atol=1e-5)


def test_wide_overlaps_are_thrown_away_rather_than_blended() -> None:
    grid = square_grid(1000, 1000, tile=600, overlap=200, stride=8)
    assert grid.ramp == 32
    first, second = grid.rows[:2]
    assert second.begin - second.start >= 84
    assert first.stop - (first.end + grid.ramp) >= 84


def test_without_enough_overlap_tiles_differ_near_their_borders() -> None:
    whole, tiled, _ = whole_and_tiled(150, 131, tile=72, overlap=0)
    assert np.abs(tiled - whole).max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(2, 1, 1), (1, 3, 5), (11, 130, 257), (200, 9, 4), (3, 2, 20_000)])
def test_class_ids_are_the_argmax(
    shape: tuple[int, int, int], memory_format: torch.memory_format, dtype: torch.dtype
) -> None:
    scores = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    scores = scores.contiguous(memory_format=memory_format)[0]
    assert np.array_equal(class_ids(scores), scores.argmax(0).numpy())
    if shape[1] > 2:
        cropped = scores[:, 1:-1, 1:-1]
        assert np.array_equal(class_ids(cropped), cropped.argmax(0).numpy())


def test_the_first_of_equal_scores_wins() -> None:
    assert class_ids(torch.zeros(5, 3, 3)).max() == 0
    assert class_ids(torch.tensor([-3.0, -1.0, -1.0]).bfloat16()[:, None, None]).item() == 1
