"""Objects as boxes: what stays of them in crops, windows around them, and the batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pixelwise.data import object_windows
from pixelwise.data.augment import Augmentation
from pixelwise.data.cache import SampleCache
from pixelwise.data.formats import open_dataset
from pixelwise.data.loader import EvaluationLoader, collate
from pixelwise.data.object_windows import BACKGROUND, MEASURED, NEAR, SIDES, ObjectWindows
from pixelwise.data.objects import (
    NO_CLASS,
    ObjectCrops,
    Stretch,
    box_areas,
    boxes_alone,
    largest_first,
    object_facts,
    object_sizes,
    resized,
)
from pixelwise.data.sample import Instances, Sample
from pixelwise.data.scenes import scene, write_coco_scenes
from pixelwise.tasks.detect.criterion import LocalisationTargets


def sample_of(boxes: list[list[float]], classes: list[int], size: tuple[int, int] = (60, 80)) -> Sample:
    objects = Instances(np.array(boxes, np.float32).reshape(-1, 4), np.array(classes, np.int64))
    return Sample("s", np.zeros((*size, 3), np.uint8), instances=objects)


def painted(boxes: list[list[int]], classes: list[int], size: tuple[int, int] = (60, 80)) -> Sample:
    """Black, with each object painted in ten times its class."""
    sample = sample_of(boxes, classes, size)
    for (left, top, right, bottom), class_id in zip(boxes, classes, strict=True):
        sample.image[top:bottom, left:right] = 10 * class_id
    return sample


def boxes_of(sample: Sample) -> np.ndarray:
    assert sample.instances is not None
    return sample.instances.boxes


def test_the_largest_object_gives_the_class() -> None:
    found = largest_first(sample_of([[0, 0, 4, 4], [0, 0, 9, 9], [5, 5, 14, 14]], [1, 3, 2]))
    assert found.class_id == 3  # the first of equal ones
    assert found.instances is not None
    assert found.instances.classes.tolist() == [3, 2, 1]
    assert largest_first(sample_of([], [])).class_id == NO_CLASS


def test_half_an_object_counts_and_less_does_not() -> None:
    """Views of 40 of 80 columns, whose values are their numbers."""
    sample = boxes_alone(sample_of([[30, 0, 50, 10], [31, 20, 51, 30], [0, 40, 8, 48]], [1, 2, 3]))
    sample.image[:] = np.arange(80, dtype=np.uint8)[:, None]
    augment = ObjectCrops(Augmentation(crop=(60, 40)))
    seen = set()
    for seed in range(200):
        crop = augment(sample, np.random.default_rng(seed))
        assert crop.instances is not None
        left = int(crop.image[0, 0, 0])
        inside = {
            class_id: min(right, left + 40) - max(begin, left)
            for class_id, (begin, right) in {1: (30, 50), 2: (31, 51), 3: (0, 8)}.items()
        }
        expected = [class_id for class_id, half in ((1, 10), (2, 10), (3, 4)) if inside[class_id] >= half]
        assert sorted(crop.instances.classes.tolist()) == expected
        for box, class_id in zip(boxes_of(crop), crop.instances.classes, strict=True):
            assert box[2] - box[0] == inside[int(class_id)]  # cut off at the edge
        seen.add(tuple(expected))
    assert seen == {(1, 3), (1, 2, 3), (1, 2)}


def test_boxes_follow_pixels_through_crops() -> None:
    sample = boxes_alone(painted([[20, 15, 44, 40]], [7]))
    augment = ObjectCrops(Augmentation(crop=(48, 64), scale=(0.8, 1.25), flip="both"))
    for seed in range(30):
        crop = augment(sample, np.random.default_rng(seed))
        if crop.class_id == NO_CLASS:
            continue
        ys, xs = np.nonzero(crop.image[:, :, 0] > 35)
        expected = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        np.testing.assert_allclose(boxes_of(crop)[0], expected, atol=1.0)


def test_stretch_there_and_back() -> None:
    sample = painted([[20, 15, 44, 40], [50, 0, 80, 60]], [7, 1])
    stretch = Stretch((120, 40))
    crop = stretch(sample)
    assert crop.image.shape == (120, 40, 3)
    np.testing.assert_allclose(boxes_of(crop)[0], [10, 30, 22, 80])
    np.testing.assert_allclose(stretch.back(boxes_of(crop), 60, 80), boxes_of(sample))
    assert crop.instances is not None
    np.testing.assert_array_equal(crop.instances.extents, boxes_of(crop))
    assert (crop.image[35:75, 12:20] == 70).all()


def test_joints_follow_their_objects_through_stretch_and_windows() -> None:
    """A joint in the middle of each box stays in its middle; pairs of sides and visibility stay."""
    sample = painted([[10, 10, 22, 20], [50, 30, 64, 48]], [3, 5])
    middles = np.concatenate([(boxes_of(sample)[:, :2] + boxes_of(sample)[:, 2:]) / 2, [[1], [2]]], 1)
    assert sample.instances is not None
    objects = replace(sample.instances, keypoints=middles[:, None].astype(np.float32), sides=((0, 0),))
    sample = replace(sample, instances=objects)
    crops = [Stretch((90, 70))(sample)]
    crops += [ObjectWindows(32, (60,), 0.0)(boxes_alone(sample), np.random.default_rng(seed)) for seed in range(5)]
    crops += [ObjectCrops(Augmentation(crop=(60, 80)))(boxes_alone(sample), np.random.default_rng(0))]
    for crop in crops:
        found = crop.instances
        assert found is not None
        assert found.keypoints is not None
        assert found.sides == ((0, 0),)
        np.testing.assert_allclose(found.keypoints[:, 0, :2], (found.boxes[:, :2] + found.boxes[:, 2:]) / 2, rtol=1e-5)
        np.testing.assert_array_equal(found.keypoints[:, 0, 2], (found.classes == 5) + 1)


def test_any_number_of_channels_is_resized() -> None:
    image = np.random.default_rng(0).integers(0, 255, (9, 7, 6), np.uint8)
    small = resized(image, 5, 4)
    np.testing.assert_array_equal(small[:, :, 5:], resized(image[:, :, 5:], 5, 4))
    assert resized(image[:, :, :1], 20, 20).shape == (20, 20, 1)


def test_facts_by_hand() -> None:
    samples = [sample_of([[0, 0, 6, 12]], [1]), sample_of([], []), sample_of([[0, 0, 30, 2], [5, 5, 65, 8]], [2, 2])]
    facts = object_facts(map(object_sizes, samples), 4)
    assert facts is not None
    assert facts.count == (0, 1, 2, 0)
    assert facts.pictures == 2
    assert facts.sides == pytest.approx((0.26, 0.5, 0.9))  # of 0.2, 0.5 and 1
    assert object_facts([object_sizes(sample_of([], []))], 4) is None
    assert [each.tolist() for each in object_sizes(samples[0])] == [[1], pytest.approx([0.2])]
    assert len(object_sizes(Sample("no objects known", samples[0].image))[0]) == 0


WINDOWS = ObjectWindows(32, (48, 96), 0.4)


def test_windows_around_objects_and_around_none() -> None:
    """Over many draws: shares, sizes, and in each window exactly what its class says."""
    sample = boxes_alone(painted([[10, 10, 22, 20], [50, 30, 64, 48]], [3, 5]))
    found = [WINDOWS(sample, np.random.default_rng(seed)) for seed in range(300)]
    classes = [window.class_id for window in found]
    assert set(classes) == {BACKGROUND, 3, 5}
    assert 0.3 < np.mean([class_id == BACKGROUND for class_id in classes]) < 0.5
    for window in found:
        assert window.image.shape == (32, 32, 3)
        assert window.instances is not None
        if window.class_id == BACKGROUND:
            assert not len(window.instances)
            middle = int((0.5 - NEAR / 2) * 32), int((0.5 + NEAR / 2) * 32)
            centre = window.image[middle[0] : middle[1], middle[0] : middle[1], 0]
            assert (centre > 25).mean() < 0.9  # nothing fills the middle
            continue
        assert window.instances.classes.tolist() == [window.class_id]
        box = boxes_of(window)[0]
        longest = (box[2:] - box[:2]).max()
        assert 32 / SIDES[1] - 1.5 <= longest <= 32 / SIDES[0] + 1.5
        shown = np.clip(np.rint(box), 0, 32).astype(int)
        inner = window.image[shown[1] + 2 : shown[3] - 2, shown[0] + 2 : shown[2] - 2, 0]
        assert (inner == 10 * window.class_id).all()


@pytest.mark.parametrize(
    ("boxes", "size"),
    [
        ([[10.0, 10, 40, 40], [30, 22, 36, 28]], (60, 80)),  # a small object on a large one, off its middle
        ([[0.0, 5, 50, 25]], (30, 80)),  # longer than any window can be
    ],
)
def test_a_window_shows_its_object_and_none_nearer_to_its_middle(
    boxes: list[list[float]], size: tuple[int, int]
) -> None:
    sample = boxes_alone(sample_of(boxes, list(range(1, len(boxes) + 1)), size))
    around = ObjectWindows(32, (60,), 0.0)
    seen = set()
    for seed in range(200):
        window = around(sample, np.random.default_rng(seed))
        if window.class_id == BACKGROUND:
            continue
        assert window.class_id is not None
        seen.add(window.class_id)
        own, found = np.array(boxes[window.class_id - 1]), boxes_of(window)[0]
        scale = (found[2] - found[0]) / (own[2] - own[0])
        moved = (np.array(boxes) - np.tile(own[:2], 2)) * scale + np.tile(found[:2], 2)
        apart = np.abs((moved[:, :2] + moved[:, 2:]) / 2 - 16).max(1)
        assert apart[window.class_id - 1] <= apart.min() + 1e-3
        shown = np.clip(found, 0, 32)
        assert box_areas(shown[None])[0] >= 0.499 * box_areas(found[None])[0]
    assert seen == set(range(1, len(boxes) + 1))


def test_boxes_of_windows_are_not_cut_off() -> None:
    """An object at the border of a window keeps its whole box, also after what varies within the window."""
    sample = boxes_alone(painted([[2, 2, 40, 20]], [3], (60, 44)))
    augment = Augmentation(crop=(32, 32), flip="horizontal", brightness=0.2)
    plain = ObjectWindows(32, (60,), 0.0)
    varied = ObjectWindows(32, (60,), 0.0, augment)
    for seed in range(20):
        one, other = (draw(sample, np.random.default_rng(seed)) for draw in (plain, varied))
        sides = [boxes_of(each)[0, 2:] - boxes_of(each)[0, :2] for each in (one, other)]
        np.testing.assert_allclose(sides[0], sides[1], atol=1e-3)
        assert sides[0][0] / sides[0][1] == pytest.approx(38 / 18, rel=1e-3)


def test_pictures_without_objects_give_background_and_full_ones_none(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = boxes_alone(sample_of([], []))
    assert {WINDOWS(empty, np.random.default_rng(seed)).class_id for seed in range(20)} == {BACKGROUND}
    full = boxes_alone(painted([[0, 0, 30, 30]], [2], (30, 30)))
    whole = ObjectWindows(32, (32,), 0.9)  # windows as large as the picture
    assert {whole(full, np.random.default_rng(seed)).class_id for seed in range(20)} == {2}
    assert full.instances is not None
    difficult = replace(full, instances=full.instances.select([]))
    assert difficult.instances is not None
    difficult = replace(difficult, instances=replace(difficult.instances, ignored=full.instances))
    assert whole(difficult, np.random.default_rng(0)).class_id == NO_CLASS
    monkeypatch.setattr(object_windows, "ATTEMPTS", 0)  # nothing clear was found
    unclear = whole(full, np.random.default_rng(0))
    assert unclear.class_id == NO_CLASS
    assert not len(boxes_of(unclear))


def test_the_same_windows_in_every_validation() -> None:
    sample = boxes_alone(painted([[10, 10, 22, 20], [50, 30, 64, 48]], [3, 5]))
    first, second = (list(WINDOWS.fixed(sample)) for _ in range(2))
    assert len(first) == MEASURED
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
    other_name = Sample("t", sample.image, instances=sample.instances)
    assert any((a.image != b.image).any() for a, b in zip(first, WINDOWS.fixed(other_name), strict=True))


def test_batches_hold_objects_padded_to_the_most() -> None:
    samples = [largest_first(sample_of([[0, 0, 4, 4], [0, 0, 9, 9]], [1, 3])), largest_first(sample_of([], []))]
    targets = collate(samples, LocalisationTargets).targets
    assert targets.objects.classes.tolist() == [[3, 1], [-1, -1]]
    assert targets.objects.boxes[0].tolist() == [[0, 0, 9, 9], [0, 0, 4, 4]]
    assert targets.objects.boxes[1].isnan().all()
    assert targets.crops.classes.tolist() == [3, NO_CLASS]


def test_scenes_as_coco_are_read_as_they_were_made(tmp_path: Path) -> None:
    write_coco_scenes(tmp_path, train=2, val=1, size=(64, 96), digits=(2, 5))
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "coco"
    assert [len(dataset.split(split)) for split in ("train", "val")] == [2, 1]
    for number, split in enumerate(("train", "val")):
        for index, record in enumerate(dataset.split(split)):
            read, made = dataset.load(record), scene((0, number, index), (64, 96), digits=(2, 5), pool=split)
            assert read.instances is not None
            assert made.instances is not None
            np.testing.assert_array_equal(read.mask, made.mask)
            rows = [
                sorted(map(tuple, np.column_stack([one.boxes, one.classes]).tolist()))
                for one in (read.instances, made.instances)
            ]
            assert rows[0] == rows[1]


def test_measured_pieces_of_a_loader(tmp_path: Path) -> None:
    write_coco_scenes(tmp_path, train=1, val=2, size=(64, 96), digits=(2, 3))
    dataset = open_dataset(tmp_path)
    cache = SampleCache(dataset, objects=True, prepare=(boxes_alone,))
    loader = EvaluationLoader(cache, dataset.split("val"), batch_size=3, pieces=WINDOWS.fixed)
    assert [len(samples) for samples in loader] == [3] * 5 + [1]
