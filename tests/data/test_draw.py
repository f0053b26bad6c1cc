"""Colours that differ for every eye, and overlays that touch what they should and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from pixelwise.data.draw import (
    BACKGROUND_COLOUR,
    VOID_COLOUR,
    _to_lab,
    background_class,
    colourise,
    contact_sheet,
    overlay,
    palette,
    to_rgb,
)
from pixelwise.data.sample import VOID


def nearest(colours: np.ndarray) -> float:
    """The least CIELAB distance between two of the colours, as the eye that tells them apart worst sees it."""
    lab = _to_lab(colours)
    distances = np.linalg.norm(lab[:, :, None] - lab[:, None], axis=-1)
    return float(distances[:, ~np.eye(len(colours), dtype=bool)].min())


@pytest.mark.parametrize(("classes", "least"), [(2, 25), (8, 9), (12, 9), (21, 9), (32, 7)])
def test_colours_are_far_apart(classes: int, least: float) -> None:
    """A distance of 2.3 is just noticeable (Mahy et al. 1994)."""
    assert nearest(np.concatenate([palette(classes)[:classes], [VOID_COLOUR]]).astype(np.uint8)) > least


def test_palette_layout() -> None:
    colours = palette(5)
    assert colours.shape == (256, 3)
    assert colours.dtype == np.uint8
    assert tuple(colours[0]) == BACKGROUND_COLOUR
    assert (colours[5:] == VOID_COLOUR).all()
    np.testing.assert_array_equal(palette(9)[:5], colours[:5])  # more classes change no colour
    np.testing.assert_array_equal(palette(4, background=None)[:4], colours[1:5])
    assert len(np.unique(palette(255)[:255], axis=0)) == 255
    assert tuple(palette(255)[VOID]) == VOID_COLOUR


def test_background_is_known_by_its_name() -> None:
    assert background_class(["Background", "cat"]) == 0
    assert background_class(["sky", "background"]) is None
    assert background_class([]) is None


def test_colourise_is_a_look_up() -> None:
    mask = np.array([[0, 1], [2, VOID]], np.uint8)
    coloured = colourise(mask, palette(3))
    assert coloured.shape == (2, 2, 3)
    assert tuple(coloured[1, 1]) == VOID_COLOUR
    assert tuple(coloured[0, 1]) == tuple(palette(3)[1])


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_any_picture_can_be_shown(channels: int, dtype: type) -> None:
    image = (np.random.default_rng(0).random((20, 30, channels)) * 250).astype(dtype)
    shown = to_rgb(image)
    assert shown.shape == (20, 30, 3)
    assert shown.dtype == np.uint8
    if dtype is np.uint8 and channels >= 3:
        np.testing.assert_array_equal(shown, image[:, :, :3])
    if dtype is not np.uint8:
        assert shown.max() == 255


def test_stretch() -> None:
    ramp = np.arange(1000, dtype=np.uint16).reshape(20, 50) + 30_000
    shown = to_rgb(ramp)[:, :, 0].ravel()
    assert (shown[0], shown[-1]) == (0, 255)
    assert (np.diff(shown.astype(int)) >= 0).all()
    assert not to_rgb(np.full((3, 3), 7.0, np.float32)).any()
    broken = np.array([[np.nan, 0.0], [1.0, np.inf]], np.float32)
    assert to_rgb(broken)[:, :, 0].tolist() == [[0, 0], [255, 0]]
    assert not to_rgb(np.full((2, 2), np.nan, np.float32)).any()


def test_overlay_touches_objects_only() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    mask = np.zeros((40, 50), np.uint8)
    mask[10:30, 10:40] = 1
    mask[5:8, 5:8] = VOID
    colours = palette(2)
    drawn = overlay(image, mask, colours)
    np.testing.assert_array_equal(drawn[mask != 1], image[mask != 1])
    inside = np.zeros(mask.shape, bool)
    inside[11:29, 11:39] = True
    expected = (image[inside].astype(float) + colours[1]) / 2
    np.testing.assert_allclose(drawn[inside], expected, atol=0.51)
    np.testing.assert_array_equal(drawn[(mask == 1) & ~inside], np.broadcast_to(colours[1], ((20 * 30 - 18 * 28), 3)))
    np.testing.assert_array_equal(overlay(image, mask, colours, alpha=0), image)
    assert (overlay(image, mask, colours, background=None)[0, 0] != image[0, 0]).any()
    plain = overlay(image, mask, colours, outline=False)
    np.testing.assert_allclose(plain[10, 10], (image[10, 10].astype(float) + colours[1]) / 2, atol=0.51)


def test_overlay_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"\(4, 4\) but mask is \(4, 5\)"):
        overlay(np.zeros((4, 4, 1), np.uint8), np.zeros((4, 5), np.uint8), palette(2))


def test_contact_sheet() -> None:
    images = [np.full((10, 20, 3), value, np.uint8) for value in (10, 20, 30)] + [np.full((40, 40, 3), 40, np.uint8)]
    sheet = contact_sheet(images, columns=2, gap=2)
    assert sheet.shape == (2 * 12 + 2, 2 * 22 + 2, 3)
    assert (sheet[2:12, 24:44] == 20).all()
    assert (sheet[14:24, 24:34] == 40).all()  # shrunk to the height of the first
    assert (sheet[14:24, 34:] == 255).all()
