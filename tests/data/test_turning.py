"""Turns out of the plane: geometry by formula, and picture, mask, boxes and keypoints that stay together."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from pixelwise.data.augment import Augmentation
from pixelwise.data.sample import VOID, Instances, Sample
from pixelwise.data.turning import GRAZING, NEARNESS, Turn, draw_turn
from pixelwise.data.warp import Warp

SIZE = (80, 120)  # of the pictures here
CENTRE, RADII = np.array([60.0, 40.0]), np.array([60.0, 40.0])
STILL = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def turn(yaw: float, pitch: float = 0.0, nearness: float = NEARNESS) -> Turn:
    return Turn(CENTRE, RADII, np.deg2rad(yaw), np.deg2rad(pitch), nearness)


def centres() -> np.ndarray:
    """(H, W, 2) of all pixels."""
    ys, xs = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    return np.stack([xs, ys], -1)


def marked(boxes: np.ndarray) -> Sample:
    """A smooth picture, with an object and a keypoint in the middle of each box; another class for each."""
    xs, ys = np.moveaxis(centres(), -1, 0)
    image = np.stack([120 + 60 * np.sin(xs / 9), 120 + 60 * np.cos(ys / 7), 100 + xs / 2], -1).astype(np.uint8)
    ids = np.zeros(SIZE, np.int32)
    for number, (left, top, right, bottom) in enumerate(boxes.astype(int), 1):
        ids[top:bottom, left:right] = number
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    keypoints = np.concatenate([middles, np.ones((len(boxes), 1))], 1)[:, None].astype(np.float32)
    classes = np.arange(1, len(boxes) + 1)
    objects = Instances(boxes.astype(np.float32), classes, ids, keypoints)
    return Sample("s", image, ids.astype(np.uint8), objects, values=xs.astype(np.float32))


@pytest.fixture
def sample() -> Sample:
    """Objects all over the front."""
    corners = np.array([[x, y] for y in (8, 34, 62) for x in (22, 40, 56, 74, 90)])
    return marked(np.concatenate([corners, corners + 9], 1).astype(np.float64))


@pytest.mark.parametrize("nearness", [0.0, NEARNESS, 0.4])
def test_no_angle_is_the_identity(nearness: float, sample: Sample) -> None:
    moved, seen = turn(0, nearness=nearness).backward(centres())
    assert np.abs(moved - centres()).max() < 1e-9
    assert seen.all()
    crop = Warp(STILL, SIZE).turned(turn(0, nearness=nearness)).apply(sample)
    assert np.array_equal(crop.image, sample.image)
    assert crop.mask is not None
    assert np.array_equal(crop.mask, sample.mask)


@pytest.mark.parametrize("angle", [-50, -20, 5, 35])
def test_the_front_moves_by_the_sine(angle: float) -> None:
    """By sin(angle) times the half axis for parallel rays, along the axis that is turned and no other."""
    wanted = np.sin(np.deg2rad(angle))
    across, _ = turn(angle, nearness=0).forward(CENTRE)
    assert across == pytest.approx(np.add(CENTRE, (60 * wanted, 0)))
    down, _ = turn(0, angle, nearness=0).forward(CENTRE)
    assert down == pytest.approx(np.add(CENTRE, (0, 40 * wanted)))
    for q in (NEARNESS, 0.3):
        near, seen = turn(angle, nearness=q).forward(CENTRE)
        factor = np.sqrt(1 - q**2) / (1 - q * np.cos(np.deg2rad(angle)))
        assert near == pytest.approx(np.add(CENTRE, (60 * wanted * factor, 0)))
        assert seen


@pytest.mark.parametrize("angle", [-40, 15, 30])
def test_the_level_centre_line_follows_the_formula(angle: float) -> None:
    """Seen from afar, what is at sin(t) half axes from the middle goes to sin(t + angle), and the lines above bow."""
    degrees = np.linspace(-45, 45, 31)
    line = CENTRE + 60 * np.sin(np.deg2rad(degrees))[:, None] * [1, 0]
    moved, seen = turn(angle, nearness=0).forward(line)
    assert moved[:, 0] == pytest.approx(60 + 60 * np.sin(np.deg2rad(degrees + angle)))
    assert moved[:, 1] == pytest.approx(np.full(31, 40.0))
    assert np.array_equal(seen, np.cos(np.deg2rad(degrees + angle)) > GRAZING)


@pytest.mark.parametrize(("yaw", "pitch"), [(30, 0), (-45, 20), (0, -35), (60, 60)])
def test_there_and_back(yaw: float, pitch: float) -> None:
    each = turn(yaw, pitch)
    before, seen = each.backward(centres())
    again, visible = each.forward(before[seen])
    assert visible.mean() > 0.95
    assert np.abs(again - centres()[seen]).max() < 1e-6
    outside = np.square((centres() - CENTRE) / RADII).sum(-1) >= 1
    assert np.array_equal(before[outside], centres()[outside])
    assert seen[outside].all()
    assert not seen.all()
    inside = ~outside
    assert (np.square((before[inside] - CENTRE) / RADII).sum(-1) <= 1 + 1e-9).all()


def test_opposite_angles_are_mirror_images() -> None:
    right, seen_right = turn(25).backward(centres())
    left, seen_left = turn(-25).backward(centres())
    assert left[:, ::-1, 0] == pytest.approx(SIZE[1] - right[..., 0])
    assert left[:, ::-1, 1] == pytest.approx(right[..., 1])
    assert np.array_equal(seen_left[:, ::-1], seen_right)


def test_what_comes_into_sight_continues_the_picture_and_is_void(sample: Sample) -> None:
    each = turn(35)
    _, seen = each.backward(centres())
    crop = Warp(STILL, SIZE).turned(each).apply(sample)
    assert crop.mask is not None and crop.values is not None  # noqa: PT018
    assert np.array_equal(crop.mask == VOID, ~seen)
    assert np.array_equal(np.isnan(crop.values), ~seen)
    assert crop.instances is not None and crop.instances.ids is not None  # noqa: PT018
    assert not crop.instances.ids[~seen].any()
    assert (~seen[:, :60]).any()
    assert seen[:, 60:].all(), "the front turns to the right, so the left comes into sight"
    steps = np.abs(np.diff(crop.image[40, 2:60].astype(int), axis=0)).max()
    assert steps < 40, "no seam where the mirror image begins"


@pytest.mark.parametrize("nearness", [0.0, NEARNESS])
@pytest.mark.parametrize(("yaw", "pitch"), [(20, 0), (-40, 0), (0, 25), (35, -25), (55, 10)])
def test_keypoints_stay_on_their_marks(yaw: float, pitch: float, nearness: float, sample: Sample) -> None:
    crop = Warp(STILL, SIZE).turned(turn(yaw, pitch, nearness)).apply(sample)
    objects, ids = crop.instances, crop.mask
    assert objects is not None and ids is not None and objects.keypoints is not None  # noqa: PT018
    visible = objects.keypoints[:, 0, 2] > 0
    assert visible.sum() >= 6
    for (x, y, _), class_id in zip(objects.keypoints[visible, 0], objects.classes[visible], strict=True):
        near = ids[max(int(y) - 1, 0) : int(y) + 2, max(int(x) - 1, 0) : int(x) + 2]
        assert (near == class_id).any()
    seen = {int(class_id) for class_id in np.unique(ids)} - {0, VOID}
    assert set(objects.classes.tolist()) == seen


def test_what_is_turned_away_is_gone(sample: Sample) -> None:
    """From the label map, and of boxes alone; its keypoint is no longer visible."""
    boxes = np.array([[104.0, 36, 112, 44], [30, 30, 50, 50]])
    full = marked(boxes)
    each = Warp(STILL, SIZE).turned(turn(55))
    crop = each.apply(full)
    assert crop.instances is not None
    assert crop.instances.classes.tolist() == [2]
    assert full.instances is not None
    bare = Sample("b", full.image, instances=Instances(full.instances.boxes, full.instances.classes))
    alone = each.apply(bare)
    assert alone.instances is not None
    assert alone.instances.classes.tolist() == [2]
    assert alone.instances.boxes == pytest.approx(crop.instances.boxes, abs=1.0)
    _, seen = each.located(np.array([[108.0, 40.0], [40.0, 40.0]]))
    assert seen.tolist() == [False, True]


def test_turns_go_with_everything_else_in_one_map(sample: Sample) -> None:
    """Elastic fields, sheets, rotation and flips: a keypoint that is visible lies on its mark."""
    augment = Augmentation(
        crop=SIZE, scale=(0.9, 1.2), rotate=20, flip="both", elastic=1.0, perspective=0.03, yaw=35, pitch=20
    )
    found = 0
    for seed in range(12):
        crop = augment(sample, np.random.default_rng(seed))
        objects, ids = crop.instances, crop.mask
        assert objects is not None and ids is not None and objects.keypoints is not None  # noqa: PT018
        for (x, y, visible), class_id in zip(objects.keypoints[:, 0], objects.classes, strict=True):
            if visible:
                near = ids[max(int(y) - 1, 0) : int(y) + 2, max(int(x) - 1, 0) : int(x) + 2]
                assert (near == class_id).any()
                found += 1
    assert found > 60


def test_angles_are_drawn_to_either_side_up_to_the_limit() -> None:
    turns = [draw_turn(np.array([10, 0, 50, 20]), np.random.default_rng(s), yaw=30, pitch=0) for s in range(200)]
    yaws = np.rad2deg([each.yaw for each in turns])
    assert -30 <= yaws.min() < -25
    assert 25 < yaws.max() <= 30
    assert not any(each.pitch for each in turns)
    assert turns[0].centre.tolist() == [30, 10]
    assert turns[0].radii.tolist() == [20, 10]


def test_a_view_of_one_object_turns_that_object() -> None:
    """The ellipse is that of its box, so that what surrounds it stays."""
    sample = marked(np.array([[40.0, 20, 80, 60]]))
    still = Augmentation(crop=(60, 60), objects=1.0)(sample, np.random.default_rng(3))
    turned = Augmentation(crop=(60, 60), objects=1.0, yaw=50)(sample, np.random.default_rng(3))
    moved = (np.abs(still.image.astype(int) - turned.image) > 2).any(-1)
    xs, ys = np.meshgrid(np.arange(60) + 0.5, np.arange(60) + 0.5)
    outside = np.hypot(xs - 30, ys - 30) > 25 + 1  # the object is 1 / 1.2 of the crop
    assert moved.any()
    assert not moved[outside].any()


@pytest.mark.parametrize("bad", [{"yaw": 90}, {"pitch": -1}, {"yaw": float("nan")}])
def test_impossible_angles_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Augmentation(**bad)
