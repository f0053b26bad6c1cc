"""Backgrounds through the mask, and rectangles that cover things."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.augment import Augmentation, erased
from pixelwise.data.backgrounds import remove_background, replace_background
from pixelwise.data.pictures import write_png
from pixelwise.data.sample import VOID, Sample
from pixelwise.errors import UserError


def disc(dtype: str = "uint8") -> tuple[np.ndarray, np.ndarray]:
    """A bright disc with a pattern on a dark ground, and where the ground is."""
    ys, xs = np.mgrid[:60, :60] - 29.5
    inside = xs**2 + ys**2 < 18**2
    image = np.where(inside, 150 + 3 * (np.arange(60) % 7)[None], 20).astype(dtype)
    return np.repeat(image[:, :, None], 3, axis=2), ~inside


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_things_stay_and_the_ground_goes(dtype: str) -> None:
    image, ground = disc(dtype)
    deep = np.hypot(*(np.mgrid[:60, :60] - 29.5)) < 14  # well inside
    far = np.hypot(*(np.mgrid[:60, :60] - 29.5)) > 23
    grounds = []
    for seed in range(20):
        other = replace_background(image, ground, np.random.default_rng(seed))
        assert other.dtype == image.dtype
        assert np.array_equal(other[deep], image[deep])
        grounds.append(other[far].astype(float))
    changed = [np.abs(each - 20).mean() for each in grounds]
    assert np.median(changed) > 20
    assert len({round(float(each.mean()), 3) for each in grounds}) > 15
    assert min(each.min() for each in grounds) >= 20
    assert max(each.max() for each in grounds) <= image.max()


def test_removed() -> None:
    image, ground = disc()
    bare = remove_background(image, ground, 255)
    assert (bare[ground] == 255).all()
    assert np.array_equal(bare[~ground], image[~ground])
    assert (image[ground] == 20).all()


def test_from_a_folder_of_pictures(tmp_path: Path) -> None:
    write_png(tmp_path / "red.png", np.full((10, 12, 3), (200, 30, 30), np.uint8))  # smaller than the crop
    image, ground = disc()
    other = replace_background(image, ground, np.random.default_rng(0), str(tmp_path))
    assert (other[:5, :5] == (200, 30, 30)).all()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"augment.backgrounds: .* holds no pictures"):
        replace_background(image, ground, np.random.default_rng(0), str(tmp_path / "empty"))


def test_as_an_augmentation_it_follows_the_masks_own_classes() -> None:
    image, ground = disc()
    mask = np.where(ground, 3, 1).astype(np.uint8)
    augment = Augmentation(crop=(60, 60), background=1.0, background_class=3)
    seen = [augment(Sample("s", image, mask), np.random.default_rng(seed)) for seed in range(8)]
    for each in seen:
        assert np.array_equal(each.mask, mask)
        assert np.array_equal(each.image[28:32, 28:32], image[28:32, 28:32])
    assert np.median([np.abs(each.image[:5].astype(int) - 20).mean() for each in seen]) > 20
    unlabelled = augment(Sample("s", image), np.random.default_rng(0))
    assert np.array_equal(unlabelled.image, image)


def test_what_is_covered_has_no_label() -> None:
    image, ground = disc()
    shares = []
    for seed in range(40):
        crop = erased(Sample("s", image, ground.astype(np.uint8)), np.random.default_rng(seed))
        covered = crop.mask == VOID
        rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
        assert covered.sum() == len(rows) * len(columns)  # one rectangle
        assert np.array_equal(crop.image[~covered], image[~covered])
        assert not np.array_equal(crop.image[covered], image[covered])
        shares.append(covered.mean())
    assert 0.015 < min(shares) < 0.05
    assert 0.15 < max(shares) < 0.25
