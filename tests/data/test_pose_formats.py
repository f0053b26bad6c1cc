"""Joints from LSP's, MPII's, FLIC's and COCO's files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from pose_files import figure, write_coco, write_flic, write_lsp, write_mpii

from pixelwise.data.formats import open_dataset
from pixelwise.data.formats.convert import convert
from pixelwise.data.joints import FLIC, FLIC_COLUMNS, LSP, MPII, Joints
from pixelwise.errors import UserError


@pytest.mark.parametrize("original", [False, True])
def test_lsp_and_its_extension_give_the_same_joints(original: bool, tmp_path: Path) -> None:
    data = open_dataset(write_lsp(tmp_path, original=original))
    assert data.layout == "pose_mat"
    assert data.knows == {"objects", "keypoints"}
    assert sum(map(len, data.splits.values())) == 6
    for number, record in enumerate(data.records):
        people = data.load(record).instances
        assert people is not None
        assert people.keypoints is not None
        np.testing.assert_allclose(people.keypoints[0, :, :2], figure(number), atol=1e-4)
        assert people.keypoints[0, :, 2].tolist() == [2] * 14
        assert people.sides == LSP.sides
        np.testing.assert_allclose(people.boxes[0], [*figure(number).min(0), *figure(number).max(0)], atol=1e-4)


def test_the_commoner_flag_is_what_is_seen(tmp_path: Path) -> None:
    """A joint of the extension without flag has no place; an occluded joint of LSP has one."""
    flags = np.ones((6, 14))
    flags[2, 4] = 0
    for name, original, value, words in (
        ("extended", False, 0, "1 means that a joint is annotated"),
        ("original", True, 1, "1 means that a joint is occluded"),
    ):
        data = open_dataset(write_lsp(tmp_path / name, flags=1 - flags if original else flags, original=original))
        assert any(words in note for note in data.notes)
        people = data.load(data.records[2]).instances
        assert people is not None
        assert people.keypoints is not None
        assert people.keypoints[0, 4, 2] == value
        np.testing.assert_allclose(people.keypoints[0, 4, :2], figure(2)[4] if original else (0, 0), atol=1e-4)


def test_pictures_and_joints_of_other_numbers_are_named(tmp_path: Path) -> None:
    write_lsp(tmp_path)
    (tmp_path / "images" / "im0002.png").rename(tmp_path / "images" / "im0009.png")
    data = open_dataset(tmp_path)
    assert any("joints.mat: picture 2" in note for note in data.notes)
    assert any("1 picture has another number (images/im0009)" in note for note in data.notes)
    assert not next(record for record in data.records if record.name == "images/im0009").labelled


def test_lists_give_the_split(tmp_path: Path) -> None:
    write_lsp(tmp_path)
    (tmp_path / "train.txt").write_text("im0001\nim0002\nim0003\nim0004\n")
    (tmp_path / "val.txt").write_text("im0005\nim0006\n")
    assert open_dataset(tmp_path).splits["val"] == ("images/im0005", "images/im0006")


def test_mpii(tmp_path: Path) -> None:
    data = open_dataset(write_mpii(tmp_path))
    assert data.splits["unlabelled"] == ("images/000000003",), "test pictures have no joints"
    people = data.load(data.records[1]).instances
    assert people is not None
    assert people.keypoints is not None
    assert people.head_boxes is not None
    assert len(people) == 2
    assert people.sides == MPII.sides
    knee, top = MPII.names.index("left_knee"), MPII.names.index("head_top")
    np.testing.assert_allclose(
        people.keypoints[1, knee, :2], figure(1)[LSP.names.index("left_knee")] + (2, 0), rtol=1e-5
    )
    assert people.keypoints[0, knee, 2] == 1, "is_visible of an even id is 0"
    assert people.keypoints[0, top, 2] == 2, "MPII leaves it open whether heads are visible"
    assert not people.keypoints[:, MPII.names.index("pelvis"), 2].any(), "not annotated"
    np.testing.assert_allclose(people.boxes[0], [0, 8, 80, 88])  # 200 times 0.4 about the middle
    head = figure(1)[LSP.names.index("head_top")]
    np.testing.assert_allclose(
        people.head_boxes[0], np.concatenate([head - np.array([3, 1]), head + np.array([3, 7])]), rtol=1e-5
    )


def test_flic(tmp_path: Path) -> None:
    data = open_dataset(write_flic(tmp_path))
    assert len(data.splits["test"]) == 1
    people = data.load(data.records[0]).instances
    assert people is not None
    assert people.keypoints is not None
    assert people.keypoints.shape == (1, len(FLIC), 3)
    wrist = FLIC.names.index("left_wrist")
    assert people.keypoints[0, wrist].tolist() == [0, 0, 0], "NaN is a joint that is not annotated"
    elbow = FLIC.names.index("right_elbow")
    np.testing.assert_allclose(people.keypoints[0, elbow, :2], figure(0)[LSP.names.index("right_elbow")], rtol=1e-5)
    assert (people.boxes[0, :2] <= 30).all()
    assert (people.boxes[0, 2:] >= (50, 60)).all()


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ({"joints": np.zeros((13, 3, 5))}, "'joints' is 13 x 3 x 5, expected 14 x 3 x pictures or 3 x 14"),
        ({"examples": np.zeros((1, 2), dtype=[("coords", object)])}, "lacks a field"),
    ],
)
def test_files_of_another_shape_are_one_sentence(variable: dict[str, np.ndarray], words: str, tmp_path: Path) -> None:
    write_lsp(tmp_path)
    (tmp_path / "joints.mat").unlink()
    if "examples" in variable:
        for place in range(2):
            variable["examples"][0, place]["coords"] = np.full((2, 29), 3.0)
    scipy.io.savemat(tmp_path / "some.mat", variable)
    with pytest.raises(UserError, match=words):
        open_dataset(tmp_path)


def test_damaged_files_are_one_sentence(tmp_path: Path) -> None:
    file = write_lsp(tmp_path) / "joints.mat"
    whole = file.read_bytes()
    for size in (0, 100, 400, len(whole) // 2):
        file.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"joints.mat: cannot be read as a MATLAB file .*; copy it again"):
            open_dataset(tmp_path)
    # The head of MATLAB's version 7.3, which is HDF5 from byte 512 on.
    file.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(384) + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(UserError, match=r"of MATLAB's version 7\.3, which is not read"):
        open_dataset(tmp_path)


def test_a_mat_file_without_joints_is_no_dataset_of_poses(tmp_path: Path) -> None:
    write_lsp(tmp_path)
    scipy.io.savemat(tmp_path / "joints.mat", {"weights": np.zeros(3)})
    with pytest.raises(UserError, match="no masks"):
        open_dataset(tmp_path)
    with pytest.raises(UserError, match="no MATLAB file with joints"):
        open_dataset(tmp_path, "pose_mat")


@pytest.mark.parametrize("apart", [False, True])
def test_coco_keypoints_follow_their_objects(apart: bool, tmp_path: Path) -> None:
    data = open_dataset(write_coco(tmp_path, apart=apart))
    assert {"pixels", "objects", "outlines", "keypoints"} == data.knows
    for number, record in enumerate(data.records):
        objects = data.load(record).instances
        assert objects is not None
        assert objects.keypoints is not None
        person = objects.classes.tolist().index(data.class_names.index("person"))
        np.testing.assert_allclose(objects.keypoints[person, :, :2], figure(number), atol=1e-4)
        assert not np.delete(objects.keypoints, person, axis=0).any(), "the ball has no joints"
        assert objects.sides == LSP.sides
    assert any("4 annotations of 'person' have keypoints, of 14 joints" in note for note in data.notes)


def test_coco_people_of_keypoints_alone_have_the_box_of_their_joints(tmp_path: Path) -> None:
    data = open_dataset(write_coco(tmp_path, box=False))
    objects = data.load(data.records[0]).instances
    assert objects is not None
    np.testing.assert_allclose(objects.boxes[0], [*figure(0).min(0), *figure(0).max(0)], atol=1e-4)


def test_keypoints_of_another_number_break_their_picture_alone(tmp_path: Path) -> None:
    file = write_coco(tmp_path) / "instances.json"
    content = json.loads(file.read_text())
    person = next(each for each in content["annotations"] if each["image_id"] == 2)
    person["keypoints"] = person["keypoints"][3:]
    file.write_text(json.dumps(content))
    data = open_dataset(tmp_path)
    with pytest.raises(UserError, match="39 numbers of keypoints found, 42 expected"):
        data.load(data.records[2])
    assert data.load(data.records[0]).instances is not None


def test_a_skeleton_beyond_the_joints_is_one_sentence(tmp_path: Path) -> None:
    file = write_coco(tmp_path) / "instances.json"
    file.write_text(file.read_text().replace('"skeleton": [[', '"skeleton": [[15, 1], ['))
    with pytest.raises(UserError, match=r"skeleton of the category 'person' holds '\[15, 1\]', expected pairs"):
        open_dataset(tmp_path)


def test_sides_are_found_by_name() -> None:
    for joints in (LSP, MPII, FLIC):
        assert joints.sides
        order = list(joints.mirrored)
        assert [order[place] for place in order] == list(range(len(joints)))
        for place, other in enumerate(order):
            assert (place != other) == bool({"left", "right"} & set(joints.names[place].split("_")))
            if place != other:
                assert joints.names[place].split("_")[1:] == joints.names[other].split("_")[1:]
    assert len(FLIC) == len(FLIC_COLUMNS)
    assert Joints(("LWrist", "RWrist", "tail")).sides == ((0, 1),)
    mixed = Joints(("Nose", "LeftEye", "RightEye", "l-hip", "r-hip", "leftover"))
    assert mixed.sides == ((1, 2), (3, 4))
    assert mixed.find("left_eye") == 1
    assert mixed.find("hip left") == 3
    assert mixed.find("tail") is None
    assert [mixed.side_of(place) for place in range(6)] == ["", "left", "right", "left", "right", ""]


@pytest.mark.parametrize("write", [write_lsp, write_flic, write_mpii])
def test_reading_what_was_written_gives_the_same_people(write: Callable[[Path], Path], tmp_path: Path) -> None:
    before = open_dataset(write(tmp_path / "a"))
    convert(tmp_path / "a", "coco", tmp_path / "b")
    after = open_dataset(tmp_path / "b")
    assert after.coding.joints == before.coding.joints  # type: ignore[attr-defined]
    assert {split: len(names) for split, names in after.splits.items()} == {
        split: len(names) for split, names in before.splits.items()
    }
    for record in before.records:
        if not record.labelled:
            continue
        own, again = (
            before.load(record).instances,
            after.load(next(each for each in after.records if each.picture.name == record.picture.name)).instances,
        )
        assert own is not None
        assert own.keypoints is not None
        assert again is not None
        assert again.keypoints is not None
        np.testing.assert_allclose(again.keypoints, own.keypoints, atol=1e-3)
        np.testing.assert_allclose(again.boxes, own.boxes.clip(0), atol=1e-3)


def test_what_a_format_cannot_hold_is_said(tmp_path: Path) -> None:
    write_lsp(tmp_path / "a")
    with pytest.raises(UserError, match="joints of people, which labelme cannot hold; write them as coco"):
        convert(tmp_path / "a", "labelme", tmp_path / "b")
    write_coco(tmp_path / "c")
    lost = "The keypoints of the objects are not written, because labelme cannot hold them; coco can."
    assert lost in convert(tmp_path / "c", "labelme", tmp_path / "d")
    said = convert(write_mpii(tmp_path / "e"), "coco", tmp_path / "f")
    assert any(note.startswith("Head boxes are not written") for note in said)


def test_joints_are_written_with_the_outline_of_their_object(tmp_path: Path) -> None:
    before = open_dataset(write_coco(tmp_path / "a"))
    convert(tmp_path / "a", "coco", tmp_path / "b")
    after = open_dataset(tmp_path / "b")
    assert after.knows == before.knows
    assert after.coding.joints == before.coding.joints  # type: ignore[attr-defined]
    for one, two in zip(before.records, after.records, strict=True):
        own, again = before.load(one).instances, after.load(two).instances
        assert own is not None
        assert again is not None
        assert again.classes.tolist() == own.classes.tolist()
        assert own.keypoints is not None
        assert again.keypoints is not None
        np.testing.assert_allclose(again.keypoints, own.keypoints, atol=1e-3)
