"""Random crops: what moves together, what comes back, what stays the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from pixelwise.data.augment import Augmentation, elastic_field
from pixelwise.data.sample import VOID, Instances, Sample
from pixelwise.data.warp import Warp


def blob_sample(size: int = 96, channels: int = 3, dtype: str = "uint8") -> Sample:
    """A bright square on a dark ground, as picture, mask, object, box and keypoints (its corners)."""
    image = np.zeros((size, size, channels), dtype)
    image[30:50, 40:70] = {"uint8": 200, "uint16": 50_000, "float32": 0.8}[dtype]
    mask = np.zeros((size, size), np.uint8)
    mask[30:50, 40:70] = 1
    keypoints = np.array([[[40, 30, 1], [70, 30, 1], [70, 50, 1], [40, 50, 1]]], np.float32)
    box = np.array([[40, 30, 70, 50]], np.float32)
    return Sample("blob", image, mask, Instances(box, np.array([1]), mask.astype(np.int32), keypoints))


WILD = Augmentation(crop=(80, 90), scale=(0.7, 1.4), rotate=40, flip="both")


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "bent", [{}, {"elastic": 4.0}, {"perspective": 0.2}, {"folds": 4, "perspective": 0.1, "elastic": 2.0}]
)
def test_picture_mask_box_and_keypoints_stay_together(seed: int, bent: dict[str, float]) -> None:
    augmentation = WILD.model_copy(update=bent)
    crop = augmentation(blob_sample(), np.random.default_rng(seed))
    assert crop.mask is not None
    assert crop.instances is not None
    inside = crop.mask == 1
    if not inside.any():
        assert len(crop.instances) == 0
        return
    labelled = crop.mask != VOID
    # The picture is resampled linearly and the mask by the nearest pixel: half a grey step apart at most, at the rim.
    agree = (crop.image[:, :, 0] > 100) == inside
    assert agree[labelled].mean() > 0.995
    ys, xs = np.nonzero(inside)
    assert crop.instances.boxes[0].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    assert crop.instances.keypoints is not None
    for x, y, visible in crop.instances.keypoints[0]:
        if visible:  # a corner of the square: some of it, and some ground, within two pixels
            near = inside[max(int(y) - 3, 0) : int(y) + 3, max(int(x) - 3, 0) : int(x) + 3]
            assert 0 < near.mean() < 1 or near.size < 36


@pytest.mark.parametrize("seed", range(8))
def test_boxes_move_whether_or_not_their_outline_is_known(seed: int) -> None:
    """The same square as an object with pixels and as a box alone."""
    blob = blob_sample()
    assert blob.instances is not None
    twice = Instances(blob.instances.boxes.repeat(2, 0), np.array([1, 7]), blob.instances.ids)
    augment = Augmentation(crop=(80, 90), scale=(0.7, 1.4), flip="both")
    crop = augment(replace(blob, instances=twice), np.random.default_rng(seed))
    found = crop.instances
    assert found is not None
    if len(found) == 2:
        assert (found.classes.tolist(), found.outlined) == ([1, 7], 1)
        np.testing.assert_allclose(found.boxes[0], found.boxes[1], atol=1.0)
    else:  # less than a pixel of the box is in the crop
        assert len(found) == 0


@pytest.mark.parametrize("seed", range(6))
def test_a_warp_and_its_inverse_give_the_picture_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[:64, :64] / 10
    smooth = (np.sin(xs + rng.uniform(0, 6)) * np.cos(ys + rng.uniform(0, 6))).astype(np.float32)[:, :, None]
    matrix = WILD.model_copy(update={"crop": (64, 64), "scale": (0.9, 1.1)}).draw_warp((64, 64), rng).matrix
    there = Warp(matrix, (64, 64))
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    back = Warp(inverse, (64, 64)).apply(there.apply(Sample("s", smooth)))
    centre = np.s_[24:40, 24:40]
    assert np.abs(back.image[centre] - smooth[centre]).max() < 0.02 * np.ptp(smooth)


@pytest.mark.parametrize("elastic", [0.0, 3.0])
def test_forward_inverts_the_map_of_pixels(elastic: float) -> None:
    rng = np.random.default_rng(3)
    warp = WILD.model_copy(update={"elastic": elastic}).draw_warp((96, 96), rng)
    points = np.array([[20.5, 30.5], [45.5, 40.5], [60.5, 70.5]])  # of the crop
    source = points @ warp.matrix[:, :2].T + warp.matrix[:, 2]
    if warp.displacement is not None:
        source += warp.displacement[points[:, 1].astype(int), points[:, 0].astype(int)]
    assert np.abs(warp.forward(source) - points).max() < (0.3 if elastic else 1e-9)


MIRROR = Warp(np.array([[-1.0, 0.0, 96.0], [0.0, 1.0, 0.0]]), (96, 96))
UPSIDE_DOWN = Warp(np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 96.0]]), (96, 96))
HALF_TURN = Warp(np.array([[-1.0, 0.0, 96.0], [0.0, -1.0, 96.0]]), (96, 96))


def person(outlined: bool) -> Sample:
    """Someone who faces us: nose, left and right wrist, left and right ankle; the left ones are at the right."""
    sample = blob_sample()
    keypoints = np.array([[[55, 32, 1], [68, 35, 1], [42, 36, 2], [60, 48, 1], [50, 49, 0]]], np.float32)
    assert sample.instances is not None
    ids = sample.instances.ids if outlined else None
    return replace(sample, instances=replace(sample.instances, ids=ids, keypoints=keypoints, sides=((1, 2), (3, 4))))


def joints(sample: Sample) -> np.ndarray:
    assert sample.instances is not None
    assert sample.instances.keypoints is not None
    return sample.instances.keypoints[0]


@pytest.mark.parametrize("outlined", [True, False])
@pytest.mark.parametrize("mirror", [MIRROR, UPSIDE_DOWN])
def test_a_mirror_image_mirrored_again_is_the_original(outlined: bool, mirror: Warp) -> None:
    sample = person(outlined)
    assert sample.instances is not None
    again = mirror.apply(mirror.apply(sample))
    assert again.instances is not None
    assert np.array_equal(again.image, sample.image)
    assert np.array_equal(joints(again), joints(sample))
    assert np.array_equal(again.instances.boxes, sample.instances.boxes)
    assert again.instances.sides == sample.instances.sides


def test_left_and_right_joints_change_places_in_a_mirror_image_alone() -> None:
    """Whoever faces us has the left wrist at the right of the picture, mirrored or not."""
    sample = person(True)
    mirrored, turned = joints(MIRROR.apply(sample)), joints(HALF_TURN.apply(sample))
    assert mirrored.tolist() == [[41, 32, 1], [54, 36, 2], [28, 35, 1], [46, 49, 0], [36, 48, 1]]
    assert turned[:, 0].tolist() == (96 - joints(sample)[:, 0]).tolist()
    assert np.array_equal(turned[:, 2], joints(sample)[:, 2])
    bent = replace(MIRROR, displacement=elastic_field((96, 96), 1.0, np.random.default_rng(0)))
    assert np.abs(joints(bent.apply(sample)) - mirrored).max() < 5
    sideless = replace(sample, instances=replace(sample.instances, sides=()))
    assert joints(MIRROR.apply(sideless))[:, 2].tolist() == joints(sample)[:, 2].tolist()


def test_extents_are_boxes_that_the_view_does_not_cut_off() -> None:
    sample = blob_sample()
    assert sample.instances is not None
    boxes = np.array([[10, 20, 50, 40], [60, 60, 90, 80], [0, 0, 5, 5]], np.float32)
    objects = Instances(boxes, np.array([1, 2, 3]), extents=boxes)
    crop = Warp(np.array([[0.5, 0.0, 30.0], [0.0, 0.5, 25.0]]), (96, 96)).apply(replace(sample, instances=objects))
    assert crop.instances is not None
    assert crop.instances.classes.tolist() == [1, 2]
    assert crop.instances.boxes.tolist() == [[0, 0, 40, 30], [60, 70, 96, 96]]
    assert crop.instances.extents is not None
    assert crop.instances.extents.tolist() == [[-40, -10, 40, 30], [60, 70, 120, 110]]
    assert crop.instances.extents.dtype == np.float32


def test_boxes_without_a_label_map_enclose_their_corners() -> None:
    sample = blob_sample()
    assert sample.instances is not None
    alone = Sample("s", sample.image, sample.mask, Instances(sample.instances.boxes, sample.instances.classes))
    quarter_turn = Warp(np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 96.0]]), (96, 96))  # x, y -> y, 96 - x
    crop = quarter_turn.apply(alone)
    assert crop.instances is not None
    assert crop.instances.boxes.tolist() == [[46, 40, 66, 70]]
    far = Warp(np.array([[1.0, 0.0, 80.0], [0.0, 1.0, 80.0]]), (16, 16)).apply(alone)
    assert far.instances is not None
    assert len(far.instances) == 0


def test_the_identity_changes_nothing() -> None:
    sample = blob_sample()
    crop = Augmentation(crop=(96, 96))(sample, np.random.default_rng(0))
    assert np.array_equal(crop.image, sample.image)
    assert crop.mask is not None
    assert sample.mask is not None
    assert np.array_equal(crop.mask, sample.mask)


@pytest.mark.parametrize("setting", [{}, {"brightness": 0.5}, {"rotate": 10}])
def test_a_picture_as_large_as_the_crop_is_resampled_only_if_something_changes_it(setting: dict[str, object]) -> None:
    whole = replace(blob_sample(), instances=None, class_id=3)
    augmentation = Augmentation(crop=(96, 96)).model_copy(update=setting)
    crop, warp = (
        augmentation(whole, np.random.default_rng(1)),
        augmentation.draw_warp((96, 96), np.random.default_rng(1)),
    )
    expected = warp.apply(whole)
    assert crop.class_id == 3
    assert np.array_equal(crop.mask, expected.mask)
    assert np.array_equal(crop.image, expected.image) == ("brightness" not in setting)
    assert np.array_equal(crop.image, whole.image) == (not setting)


def test_outside_of_the_picture_is_void_and_mirrored() -> None:
    crop = Augmentation(crop=(120, 120))(blob_sample(), np.random.default_rng(0))
    assert crop.mask is not None
    inside = crop.mask != VOID
    assert inside.sum() == 96 * 96  # the crop contains the picture
    ys, xs = np.nonzero(inside)
    assert (np.ptp(ys), np.ptp(xs)) == (95, 95)
    assert np.array_equal(crop.image[inside], blob_sample().image.reshape(-1, 3))
    above = crop.image[: ys.min(), xs.min() : xs.max() + 1]
    assert np.array_equal(above[::-1], crop.image[ys.min() + 1 : 2 * ys.min() + 1, xs.min() : xs.max() + 1])


def test_crops_reach_every_corner_and_stay_inside() -> None:
    ramp = np.dstack(np.meshgrid(np.arange(40), np.arange(40))).astype(np.float32)
    augmentation = Augmentation(crop=(20, 20))
    corners = np.array([augmentation(Sample("r", ramp), np.random.default_rng(s)).image[0, 0] for s in range(200)])
    assert corners.min() >= -0.5
    assert corners.max() <= 20.5
    assert np.ptp(corners, axis=0).min() > 18


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_any_channels_and_depth(dtype: str, channels: int) -> None:
    augmentation = Augmentation(
        crop=(32, 40), rotate=10, elastic=2, brightness=0.3, contrast=0.3, saturation=0.3, noise=0.05, blur=1.0
    )
    for seed in range(4):
        crop = augmentation(blob_sample(64, channels, dtype), np.random.default_rng(seed))
        assert crop.image.shape == (32, 40, channels)
        assert crop.image.dtype == dtype
        assert np.isfinite(crop.image).all()


def test_the_same_state_gives_the_same_crop() -> None:
    augmentation = WILD.model_copy(update={"noise": 0.1, "blur": 1.0, "brightness": 0.5})
    first, again = (augmentation(blob_sample(), np.random.default_rng(5)).image for _ in range(2))
    assert np.array_equal(first, again)


def test_changing_one_setting_leaves_the_other_draws_alone() -> None:
    plain = WILD.draw_warp((96, 96), np.random.default_rng(9))
    unflipped = WILD.model_copy(update={"flip": "none"}).draw_warp((96, 96), np.random.default_rng(9))
    assert np.allclose(np.abs(plain.matrix[:, :2]), np.abs(unflipped.matrix[:, :2]))


def left_over(**settings: object) -> object:
    """State of the generator after one crop: equal states mean equally many numbers drawn."""
    rng = np.random.default_rng(9)
    Augmentation(**{"crop": (48, 48), **settings})(blob_sample(), rng)
    return rng.bit_generator.state


@pytest.mark.parametrize(
    "setting",
    [{"scale": (0.5, 2.0)}, {"rotate": 30}, {"flip": "both"}, {"brightness": 0.5}, {"contrast": 0.5},
     {"saturation": 0.5}, {"blur": 2.0}],
)  # fmt: skip
def test_what_is_always_drawn_costs_no_further_draws(setting: dict[str, object]) -> None:
    assert left_over(**setting) == left_over()


@pytest.mark.parametrize(
    "setting",
    [{"objects": 0.5}, {"elastic": 2.0}, {"perspective": 0.1}, {"folds": 2}, {"shading": 0.5}, {"background": 0.5},
     {"sharpen": 0.5}, {"noise": 0.1}, {"ink": 1.0}, {"scan": 0.5}, {"erase": 0.5},
     {"yaw": 30.0}, {"pitch": 10.0}],
)  # fmt: skip
def test_what_is_drawn_only_if_on_moves_the_draws_after_it(setting: dict[str, object]) -> None:
    assert left_over(**setting) != left_over()


def test_brightness_saturation_and_noise_do_what_they_say() -> None:
    grey = np.full((20, 20, 3), 100, np.uint8)
    colour = grey + np.array([50, 0, 20], np.uint8)
    means = [
        Augmentation(crop=(20, 20), brightness=0.3)(Sample("g", grey), np.random.default_rng(s)).image.mean()
        for s in range(60)
    ]
    assert 69 <= min(means) < 80
    assert 120 < max(means) <= 131
    spread = [
        np.ptp(
            Augmentation(crop=(20, 20), saturation=0.9)(Sample("c", colour), np.random.default_rng(s))
            .image[0, 0]
            .astype(int)
        )
        for s in range(60)
    ]
    assert min(spread) < 15
    assert max(spread) > 80
    noisy = [
        Augmentation(crop=(20, 20), noise=0.1)(Sample("g", grey), np.random.default_rng(s)).image.std()
        for s in range(40)
    ]
    assert max(noisy) == pytest.approx(25.5, abs=4)


def test_elastic_fields_are_smooth_and_as_large_as_asked() -> None:
    fields = np.stack([elastic_field((64, 64), 10.0, np.random.default_rng(s)) for s in range(40)])
    assert 6 < fields.std() < 12
    assert np.abs(np.diff(fields, axis=1)).max() < 4


@pytest.mark.parametrize(
    "bad", [{"crop": (0, 5)}, {"scale": (2.0, 1.0)}, {"scale": (0.0, 1.0)}, {"rotate": 200}, {"flop": 1}]
)
def test_impossible_settings_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Augmentation(**bad)


def test_ignored_objects_move_like_the_others() -> None:
    ids = np.zeros((9, 12), np.int64)
    ids[2:5, 1:4] = 1
    objects = Instances.from_label_map(ids)
    crowd = replace(objects, crowd=np.array([True]))
    boxes = Instances(np.array([[6, 1, 11, 8], [50, 50, 60, 60]], np.float32), np.ones(2, np.int64))
    mirror = Warp(np.array([[-1.0, 0, 12], [0, 1, 0]]), (9, 12))
    for ignored in (crowd, replace(boxes, crowd=np.array([False, True]))):
        sample = Sample("a", np.zeros((9, 12, 3), np.uint8), instances=replace(objects, ignored=ignored))
        moved = mirror.apply(sample).instances
        alone = mirror.apply(replace(sample, instances=ignored)).instances
        assert moved is not None
        assert moved.ignored is not None
        assert alone is not None
        np.testing.assert_array_equal(moved.ignored.boxes, alone.boxes)
        np.testing.assert_array_equal(moved.ignored.crowd, alone.crowd)
        assert moved.ignored.crowd is not None
        assert moved.ignored.crowd.tolist() == ignored.crowd[:1].tolist()  # type: ignore[index]
        assert moved.boxes.tolist() == [[8, 2, 11, 5]]
