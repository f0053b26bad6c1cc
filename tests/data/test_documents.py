"""Sheets of paper: projective geometry, folds, light, ink and scanners."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pixelwise.data.augment import Augmentation
from pixelwise.data.documents import bleed, draw_sheet, lit, perspective_displacement, scan
from pixelwise.data.sample import Sample


def test_corners_go_where_they_are_sent_and_straight_lines_stay_straight() -> None:
    corners = np.array([[0.1, 0.05], [-0.1, 0.1], [0.05, -0.1], [0.0, 0.1]])
    size = (60, 80)
    moved = perspective_displacement(size, corners)
    ys, xs = np.mgrid[:60, :80] + 0.5
    points = np.stack([xs, ys], -1) + moved
    for place, corner, (x, y) in zip(
        [(0, 0), (0, -1), (-1, -1), (-1, 0)], corners, [(0, 0), (80, 0), (80, 60), (0, 60)], strict=True
    ):
        assert points[place] == pytest.approx(np.array([x, y]) + corner * (80, 60), abs=1.5)  # centres, not corners
    for line in (points[30], points[:, 11], points[np.arange(60), np.arange(60)]):
        start, end = line[0], line[-1]
        across = np.array([-(end - start)[1], (end - start)[0]]) / np.linalg.norm(end - start)
        assert np.abs((line - start) @ across).max() < 1e-6


def test_no_corner_moved_is_no_displacement() -> None:
    assert np.abs(perspective_displacement((7, 9), np.zeros((4, 2)))).max() < 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_folds_are_dark_lines_and_leave_the_rest_in_place(seed: int) -> None:
    sheet = draw_sheet((200, 160), np.random.default_rng(seed), perspective=0, folds=1, shading=0)
    if sheet.light.min() == 1:  # none was drawn
        assert np.abs(sheet.displacement).max() == 0
        return
    assert sheet.light.min() < 0.95
    assert np.median(sheet.light) > 0.9
    assert np.linalg.norm(sheet.displacement, axis=-1).max() < 0.05 * 160


def test_light_falls_off_by_no_more_than_asked() -> None:
    lights = [
        draw_sheet((50, 70), np.random.default_rng(s), perspective=0, folds=0, shading=0.4).light for s in range(30)
    ]
    assert 0.6 <= min(light.min() for light in lights) < 0.85
    assert max(light.max() for light in lights) <= 1


def test_ink_spreads_and_never_brightens() -> None:
    page = np.full((41, 41, 1), 250, np.uint8)
    page[20, 20] = 10
    dark = [int((bleed(page, amount) < 200).sum()) for amount in (0, 1, 2, 3)]
    assert dark == sorted(dark)
    assert dark[0] == 1 < dark[1] < dark[3]
    assert (bleed(page, 2.0) <= page).all()
    assert np.array_equal(bleed(page, 0), page)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3, 6])
def test_any_depth_and_channels(dtype: str, channels: int) -> None:
    top = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    image = (np.random.default_rng(0).random((50, 60, channels)) * top).astype(dtype)
    paper = Augmentation(crop=(40, 48), perspective=0.1, folds=2, shading=0.5, ink=1.5, scan=0.5, sharpen=1, erase=1)
    crop = paper(Sample("s", image, np.zeros((50, 60), np.uint8)), np.random.default_rng(1))
    assert crop.image.shape == (40, 48, channels)
    assert crop.image.dtype == image.dtype
    assert float(crop.image.std()) > 0.01 * top


def test_the_scanner_adds_what_is_asked_and_keeps_the_mean() -> None:
    grey = np.full((80, 90, 3), 128, np.uint8)
    spread = [float(scan(grey, amount, np.random.default_rng(3)).std()) for amount in (0.0, 0.3, 1.0)]
    assert spread[0] == 0 < spread[1] < spread[2]
    assert abs(float(scan(grey, 1.0, np.random.default_rng(3)).mean()) - 128) < 10


def test_lit_multiplies() -> None:
    light = np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5)
    image = np.full((4, 5, 3), 200, np.uint8)
    assert np.array_equal(lit(image, light)[:, :, 1], np.rint(200 * light).astype(np.uint8))


def test_a_sheet_alone_leaves_the_other_draws_alone() -> None:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), (0, 0), 2)
    plain, scanned = (
        Augmentation(crop=(40, 40), rotate=20, scan=amount)(Sample("s", image), np.random.default_rng(5)).image
        for amount in (0.0, 1e-6)
    )
    assert np.array_equal(plain, scanned)
