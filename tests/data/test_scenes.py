"""The embedded scenes: exact, repeatable, and with nothing shared between training and validation."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pixelwise.baselines import ColourClassifier, always_background
from pixelwise.data import scenes
from pixelwise.data.formats import open_dataset
from pixelwise.data.sample import VOID, Sample
from pixelwise.data.scenes import CLASS_NAMES, large_scene, scene, write_scenes
from pixelwise.errors import UserError
from pixelwise.metrics import ConfusionMatrix


def digest(sample: Sample) -> str:
    assert sample.mask is not None
    return hashlib.sha256(sample.image.tobytes() + sample.mask.tobytes()).hexdigest()


def check_consistent(sample: Sample) -> None:
    """Mask, label map, classes and boxes say the same."""
    mask, instances = sample.mask, sample.instances
    assert mask is not None
    assert instances is not None
    assert instances.ids is not None
    assert sample.image.dtype == mask.dtype == np.uint8
    assert sample.image.shape == (*mask.shape, 3)
    assert mask.max() < len(CLASS_NAMES)
    np.testing.assert_array_equal(mask, np.concatenate([[0], instances.classes])[instances.ids])
    assert set(np.unique(instances.ids)) - {0} == set(range(1, len(instances) + 1))
    for number, (left, top, right, bottom) in enumerate(instances.boxes, start=1):
        ys, xs = np.nonzero(instances.ids == number)
        assert (left, top, right, bottom) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


@pytest.mark.parametrize("pool", ["train", "val"])
@pytest.mark.parametrize("seed", range(8))
def test_labels_agree(seed: int, pool: str) -> None:
    sample = scene(seed, (96, 150), pool=pool, digits=(3, 8))
    check_consistent(sample)
    assert sample.instances is not None
    assert 1 <= len(sample.instances) <= 8


def test_same_seed_same_bytes() -> None:
    assert digest(scene((1, 2))) == digest(scene((1, 2)))
    assert len({digest(scene(seed)) for seed in range(5)}) == 5
    assert scene((1, 2)).name == "scene-1-2"


def test_small_and_crowded() -> None:
    check_consistent(scene(0, (20, 30), digits=(40, 40)))
    empty = scene(0, (20, 30), digits=(0, 0))
    assert empty.mask is not None
    assert not empty.mask.any()
    assert empty.instances is not None
    assert len(empty.instances) == 0


def test_hidden_digits_are_dropped() -> None:
    crowded = scene(3, (48, 48), digits=(60, 60))
    check_consistent(crowded)
    assert crowded.instances is not None
    assert len(crowded.instances) < 60


def test_rims_are_no_part_of_a_digit() -> None:
    """The white rim of a later digit hides an earlier one, so inside a digit's pixels there is ink and nothing else."""
    for seed in range(5):
        crowded = scene(seed, (96, 128), digits=(25, 25))
        assert crowded.instances is not None
        assert crowded.instances.ids is not None
        ids = crowded.instances.ids.astype(np.float32)
        kernel = np.ones((3, 3))
        inside = (cv2.erode(ids, kernel) == cv2.dilate(ids, kernel)) & (ids > 0)
        assert (crowded.image[inside] @ scenes.LUMA).max() < 215


def test_pools_share_nothing() -> None:
    assert not set(scenes.PHOTOGRAPHS["train"]) & set(scenes.PHOTOGRAPHS["val"])
    drawn, labels = scenes._digits()
    train, val = drawn[: scenes.FIRST_VAL_DIGIT], drawn[scenes.FIRST_VAL_DIGIT :]
    assert len(drawn) == 1797
    assert set(labels[scenes.FIRST_VAL_DIGIT :]) == set(range(10))
    fingerprints = [{hashlib.sha256(digit.tobytes()).digest() for digit in pool} for pool in (train, val)]
    assert not fingerprints[0] & fingerprints[1]


def test_unknown_pool_and_missing_photograph(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="unknown pool 'vla'; did you mean 'val'"):
        scene(0, pool="vla")
    monkeypatch.setitem(scenes.PHOTOGRAPHS, "val", ("skimage/data/gone.png",))
    with pytest.raises(UserError, match="come with scikit-image"):
        scene(0, pool="val")


def test_digits_read_from_shape_not_from_colour() -> None:
    """Colour alone names hardly more digits than saying background everywhere does."""
    train = [scene((0, 0, index)) for index in range(30)]
    classifier = ColourClassifier().fit((sample.image, sample.mask) for sample in train if sample.mask is not None)
    by_colour, by_nothing = (ConfusionMatrix(len(CLASS_NAMES), CLASS_NAMES) for _ in range(2))
    for index in range(10):
        sample = scene((0, 1, index), pool="val")
        assert sample.mask is not None
        by_colour.update(classifier.predict(sample.image), sample.mask)
        by_nothing.update(always_background(sample.image), sample.mask)
    assert by_nothing.mean_iou() < 0.1
    assert by_colour.mean_iou() < 0.1
    assert by_colour.iou()[1:].max() < 0.1


def test_a_colour_that_is_the_class_is_learned() -> None:
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 3, (40, 50)).astype(np.uint8)
    image = rng.normal(mask[:, :, None] * np.array([900.0, -500.0]), 20).astype(np.float32)  # two channels, any units
    labelled = np.where(rng.random(mask.shape) < 0.3, VOID, mask).astype(np.uint8)
    predicted = ColourClassifier().fit([(image, labelled)], per_picture=400).predict(image)
    assert (predicted == mask).mean() > 0.99
    with pytest.raises(UserError, match="no labelled pixel"):
        ColourClassifier().fit([(image, np.full_like(mask, VOID))])


def test_large_scene() -> None:
    sample = large_scene(0, (500, 700))
    check_consistent(sample)
    assert sample.image.shape == (500, 700, 3)
    assert sample.instances is not None
    assert 40 < len(sample.instances) <= round(scenes.DIGITS_PER_PIXEL * 500 * 700)
    assert digest(sample) == digest(large_scene(0, (500, 700)))


def test_folder_layout(tmp_path: Path) -> None:
    write_scenes(tmp_path / "a", train=3, val=2, size=(64, 80), seed=7)
    write_scenes(tmp_path / "b", train=3, val=2, size=(64, 80), seed=7)
    files = sorted(file.relative_to(tmp_path / "a") for file in (tmp_path / "a").rglob("*") if file.is_file())
    assert len(files) == 3 * 5 + 4
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)
    assert (tmp_path / "a" / "classes.txt").read_text().split() == list(CLASS_NAMES)
    assert (tmp_path / "a" / "val.txt").read_text().split() == ["val-0000", "val-0001"]
    expected = scene((7, 0, 1), (64, 80))
    for folder, array in (("images", expected.image), ("masks", expected.mask)):
        np.testing.assert_array_equal(np.array(Image.open(tmp_path / "a" / folder / "train-0001.png")), array)
    coco = json.loads((tmp_path / "a" / "boxes.json").read_text())
    assert [category["id"] for category in coco["categories"]] == list(range(1, 11))
    assert expected.instances is not None
    drawn = [one for one in coco["annotations"] if one["image_id"] == 2]
    assert [one["category_id"] for one in drawn] == expected.instances.classes.tolist()
    ids = np.array(Image.open(tmp_path / "a" / "instances" / "train-0001.png"))
    for number, one in enumerate(drawn, start=1):
        assert one["area"] == (ids == number).sum()
        left, top, wide, tall = map(int, one["bbox"])
        assert (ids == number)[top : top + tall, left : left + wide].sum() == one["area"]
    assert [one["id"] for one in coco["annotations"]] == list(range(1, len(coco["annotations"]) + 1))


def test_written_scenes_open_without_a_remark(scenes_folder: Path) -> None:
    dataset = open_dataset(scenes_folder)
    assert dataset.notes == ()
    assert (len(dataset.split("train")), len(dataset.split("val"))) == (8, 4)
