"""Facts against brute force, weights against the published ones, and a digest that notices every change."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.dataset import Dataset
from pixelwise.data.digest import digest
from pixelwise.data.fingerprint import median_frequency_weights
from pixelwise.data.formats import open_dataset
from pixelwise.data.stock import fingerprint

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[3] / "shared")) / "data"


def write(root: Path, dtype: type = np.uint8) -> Dataset:
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index in range(9):
        size = (6 + index, 11)
        high = 256 if dtype is np.uint8 else 65536
        shape = (*size, 3) if dtype is np.uint8 else size
        Image.fromarray(rng.integers(0, high, shape).astype(dtype)).save(root / f"images/{index}.png")
        if index < 8:
            ids = rng.choice([0, 1, 3, 255], size, p=[0.6, 0.2, 0.1, 0.1]) if index % 2 else np.zeros(size)
            Image.fromarray(ids.astype(np.uint8)).save(root / f"masks/{index}.png")
    (root / "classes.txt").write_text("a\nb\nc\nd\n")
    return open_dataset(root)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_against_brute_force(dtype: type, tmp_path: Path) -> None:
    dataset = write(tmp_path / "data", dtype)
    found = fingerprint(dataset)
    samples = [dataset.load(record) for record in dataset.split("train")]
    pixels = np.concatenate([sample.image.reshape(-1, sample.image.shape[2]) for sample in samples]).astype(np.float64)
    np.testing.assert_allclose(found.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std(axis=0), rtol=1e-9)
    masks = [sample.mask for sample in samples]
    assert found.class_pixels == tuple(int(sum((mask == c).sum() for mask in masks)) for c in range(4))
    assert found.class_pictures == tuple(sum(bool((mask == c).any()) for mask in masks) for c in range(4))
    assert found.present_pixels == tuple(
        int(sum((mask != 255).sum() for mask in masks if (mask == c).any())) for c in range(4)
    )
    assert found.void_fraction == pytest.approx(np.concatenate([mask.ravel() == 255 for mask in masks]).mean())
    assert found.height == (6, 10, 14)
    assert found.width == (11, 11, 11)
    assert found.unlabelled == found.pictures["unlabelled"] == 1
    assert sum(found.pictures.values()) == 9
    assert found.median_frequency_weights()[2] == 0
    assert sum(found.class_shares()) == pytest.approx(1)
    assert json.loads(json.dumps(found.to_dict()))["digest"] == found.digest


def test_weights_by_hand() -> None:
    # Frequencies 0.75, 0.5 and 0.25: the median is 0.5.
    assert median_frequency_weights([75, 10, 25, 0], [100, 20, 100, 0]) == pytest.approx((2 / 3, 1, 2, 0))
    assert median_frequency_weights([0, 0], [0, 0]) == (0, 0)


def test_digest_notices_changes_and_only_them(tmp_path: Path) -> None:
    dataset = write(tmp_path / "data")
    first = digest(dataset)
    assert digest(open_dataset(tmp_path / "data")) == first
    (tmp_path / "data").rename(tmp_path / "moved")
    moved = open_dataset(tmp_path / "moved")
    assert digest(moved) == first
    seen = {first}
    seen.add(digest(replace(moved, class_names=("a", "b", "c", "e"))))
    seen.add(digest(replace(moved, splits={"train": moved.splits["val"], "val": moved.splits["train"]})))
    seen.add(digest(open_dataset(tmp_path / "moved", seed=3)))
    mask = tmp_path / "moved/masks/0.png"
    content = bytearray(mask.read_bytes())
    content[-1] ^= 1
    mask.write_bytes(content)
    seen.add(digest(moved))
    (tmp_path / "moved/images/8.png").rename(tmp_path / "moved/images/9.png")
    seen.add(digest(open_dataset(tmp_path / "moved")))
    assert len(seen) == 6


def test_digest_reads_the_ends_of_large_files(tmp_path: Path) -> None:
    dataset = write(tmp_path / "data")
    picture = tmp_path / "data/images/8.png"
    for size in (64 * 1024, 64 * 1024 + 1, 200 * 1024):
        digests = set()
        for place in (None, 0, 63 * 1024, size - 1):
            content = bytearray(size)
            if place is not None:
                content[place] = 1
            picture.write_bytes(content)
            digests.add(digest(dataset))
        assert len(digests) == 4


def test_camvid_weights_are_the_published_ones() -> None:
    """They agree within 10 % up to a common factor (the median is of another count of pictures), except for
    SignSymbol, whose published weight is 2.5 times what these label files give."""
    if not (SHARED / "camvid").is_dir():
        pytest.skip(f"{SHARED / 'camvid'} is missing")
    published = np.array([0.2595, 0.1826, 4.564, 0.1417, 0.9051, 0.3826, 9.6446, 1.8418, 0.6823, 6.2478, 7.3614])
    found = fingerprint(open_dataset(SHARED / "camvid"))
    ratio = published / np.array(found.median_frequency_weights())
    others = np.arange(11) != found.class_names.index("SignSymbol")
    common = np.exp(np.log(ratio[others]).mean())
    np.testing.assert_allclose(ratio[others] / common, 1, atol=0.1)
    assert common == pytest.approx(0.915, abs=0.01)
