"""People in windows: places there and back, crops of one person, and mirror images."""

from __future__ import annotations

import numpy as np
import pytest
from pose_files import draw, figure

from pixelwise.data.augment import Augmentation
from pixelwise.data.joints import LSP
from pixelwise.data.people import Person, instances_of, people_alone
from pixelwise.data.person_windows import PersonCrops, PersonWindow, PersonWindows
from pixelwise.data.sample import Sample


def sample(number: int = 0, people: int = 1) -> Sample:
    joints = figure(number)
    keypoints = np.concatenate([joints, np.full((14, 1), 2.0)], 1).astype(np.float32)
    moved = [keypoints + np.array([3 * place, 0, 0], np.float32) for place in range(people)]
    head = np.array([30, 10, 40, 24], np.float32)
    return Sample(
        "x",
        draw(joints, number),
        instances=instances_of(tuple(Person(own, head_box=head) for own in moved), LSP, head_boxes=True),
    )


def test_windows_take_points_there_and_back() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 300, (50, 2))
    for _ in range(20):
        low = rng.uniform(-50, 200, 2)
        window = PersonWindow.around(np.array([*low, *(low + rng.uniform(1, 150, 2))]), int(rng.integers(16, 300)))
        np.testing.assert_allclose(window.back(window.forward(points)), points, atol=1e-9)


@pytest.mark.parametrize("size", [64, 200])
def test_the_picture_moves_with_its_points(size: int) -> None:
    """A bright square is found about where its middle is said to be, also beyond the picture's edge."""
    image = np.zeros((60, 90, 3), np.uint8)
    image[20:24, 70:74] = 255
    window = PersonWindow.around(np.array([50.0, 0, 100, 60]), size)
    part = window.image(image).astype(np.float64)[..., 0]
    bright = np.clip(part - 5, 0, None)
    ys, xs = np.mgrid[:size, :size] + 0.5
    middle = np.array([(xs * bright).sum(), (ys * bright).sum()]) / bright.sum()
    np.testing.assert_allclose(middle, window.forward(np.array([72.0, 22.0])), atol=0.1)


def test_beyond_the_picture_there_is_its_mean() -> None:
    image = np.full((40, 30, 1), 900, np.uint16)
    image[:, :15] = 100
    part = PersonWindow.around(np.array([-30.0, 0, 30, 40]), 72).image(image)
    assert part.shape == (72, 72, 1)
    assert part.dtype == np.uint16
    assert (part[:, 0] == 500).all()
    away = PersonWindow(1000, 1000, 20, 16).image(image)
    assert (away == 500).all()


def test_one_window_per_person_and_none_for_people_without_a_joint() -> None:
    whole = sample(people=2)
    assert whole.instances is not None
    assert whole.instances.keypoints is not None
    whole.instances.keypoints[1, :, 2] = 0
    alone = people_alone(whole)
    assert alone.instances is not None
    assert len(alone.instances) == 1
    windows = list(PersonWindows(64)(alone))
    assert len(windows) == 1
    person = windows[0].instances
    assert person is not None
    assert person.keypoints is not None
    assert person.head_boxes is not None
    assert windows[0].image.shape == (64, 64, 3)
    extent = person.keypoints[0, :, :2]
    assert (extent.max(0) - extent.min(0)).max() == pytest.approx(64 / 1.2, rel=0.03), "proportions and a margin of 1.2"
    scale = 64 / PersonWindow.around(alone.instances.boxes[0], 64).side
    assert person.head_boxes[0, 2] - person.head_boxes[0, 0] == pytest.approx(10 * scale, rel=1e-5)
    assert not list(PersonWindows(64)(Sample("y", whole.image)))


def test_joints_outside_of_the_window_are_unknown() -> None:
    whole = people_alone(sample())
    assert whole.instances is not None
    middle = PersonWindow.around(whole.instances.boxes[0], 64, margin=0.6).sample(whole, 0).instances
    assert middle is not None
    assert middle.keypoints is not None
    known = middle.keypoints[0, :, 2] > 0
    inside = ((middle.keypoints[0, :, :2] >= 0) & (middle.keypoints[0, :, :2] < 64)).all(1)
    assert known.tolist() == inside.tolist()
    assert 0 < known.sum() < 14


def test_left_is_left_in_crops_and_in_mirror_images() -> None:
    """Left limbs are blue and right ones red. In a mirror image the names change places: its left limbs are the red
    ones, and the left shoulder of somebody who faces us is still on the right."""
    crops = PersonCrops(Augmentation(crop=(96, 96), objects=1.0, scale=(0.75, 1.25), rotate=30.0, flip="horizontal"))
    rng = np.random.default_rng(0)
    mirrored = []
    for number in range(30):
        crop = crops(people_alone(sample(number)), rng)
        assert crop.image.shape == (96, 96, 3)
        assert crop.instances is not None
        assert crop.instances.keypoints is not None
        joints = crop.instances.keypoints[0]
        blue_is_left = set()
        for one, other in ((4, 3), (10, 9), (1, 2), (7, 8)):
            if joints[one, 2] and joints[other, 2]:
                x, y = np.rint((joints[one, :2] + joints[other, :2]) / 2 - 0.5).astype(int)
                red, _, blue = crop.image[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].reshape(-1, 3).mean(0)
                blue_is_left.add((blue > red) == (LSP.side_of(one) == "left"))
        assert len(blue_is_left) == 1
        mirrored.append(not blue_is_left.pop())
        assert joints[9, 0] > joints[8, 0]
    assert 5 < sum(mirrored) < 25


def test_crops_are_of_one_person_each_in_turn() -> None:
    crops = PersonCrops(Augmentation(crop=(64, 64), objects=1.0))
    drawn = set()
    for seed in range(20):
        crop = crops(people_alone(sample(people=2)), np.random.default_rng(seed))
        assert crop.instances is not None
        assert len(crop.instances) == 1
        drawn.add(round(float(crop.image.astype(float).mean()), 6))
    assert len(drawn) == 2


def test_a_picture_without_people_gives_a_crop_without_people() -> None:
    crop = PersonCrops(Augmentation(crop=(64, 64), objects=1.0))(
        people_alone(Sample("y", sample().image)), np.random.default_rng(0)
    )
    assert crop.image.shape == (64, 64, 3)
    assert crop.instances is None
