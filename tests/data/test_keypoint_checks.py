"""What `pixelwise check` says of joints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from pose_files import figure, write_coco, write_lsp

from pixelwise.data.doctor import examine
from pixelwise.data.doctor.diagnosis import Finding
from pixelwise.data.joints import LSP
from pixelwise.errors import UserError


def findings(folder: Path) -> dict[str, Finding]:
    return {finding.code: finding for finding in examine(folder).findings}


def rewrite(folder: Path, joints: np.ndarray) -> Path:
    """The folder with other joints, (N, 14, 3)."""
    scipy.io.savemat(folder / "joints.mat", {"joints": joints.transpose(1, 2, 0)})
    return folder


def people(count: int) -> np.ndarray:
    """(N, 14, 3)"""
    return np.concatenate([np.stack([figure(n) for n in range(count)]), np.ones((count, 14, 1))], -1)


def test_sound_people_are_ready_for_training(tmp_path: Path) -> None:
    diagnosis = examine(write_lsp(tmp_path, count=12))
    assert diagnosis.ok
    assert not diagnosis.findings
    assert diagnosis.summary.task == "pose"
    assert diagnosis.summary.labelled == 12


def test_joints_beyond_the_picture(tmp_path: Path) -> None:
    joints = people(6)
    joints[3, :2, 0] += 500
    found = findings(rewrite(write_lsp(tmp_path), joints))["joint-beyond-picture"]
    assert found.severity == "warning"
    assert found.files == ("images/im0004, picture 4 (2 of 14 joints)",)


def test_few_and_no_joints(tmp_path: Path) -> None:
    joints = people(8)
    joints[2, 2:, 2] = 0
    joints[5, :, 2] = 0
    found = findings(rewrite(write_lsp(tmp_path, count=8), joints))
    assert found["few-joints"].files == ("images/im0003, picture 3 (2)",)
    assert found["picture-without-mask"].files == ("images/im0006.png",)


def test_joints_outside_of_their_box(tmp_path: Path) -> None:
    file = write_coco(tmp_path, count=6) / "instances.json"
    content = json.loads(file.read_text())
    person = next(each for each in content["annotations"] if each["image_id"] == 4 and "keypoints" in each)
    person["keypoints"][:2] = [1.0, 1.0]
    file.write_text(json.dumps(content))
    found = findings(tmp_path)["joint-outside-box"]
    assert found.severity == "warning", "one of six"
    assert found.files == ("train/4, annotation 4 (1 of 14 joints)",)


def test_people_with_joints_and_boxes_but_no_outlines_count_as_objects(tmp_path: Path) -> None:
    file = write_coco(tmp_path, count=12) / "instances.json"
    content = json.loads(file.read_text())
    for entry in content["annotations"]:
        del entry["segmentation"]
    file.write_text(json.dumps(content))
    diagnosis = examine(tmp_path)
    assert (diagnosis.summary.task, diagnosis.summary.counted) == ("detect", "objects")
    assert diagnosis.summary.class_pixels == (0, 12, 6)
    assert not {finding.code for finding in diagnosis.findings} & {"class-absent-from-split"}


@pytest.mark.parametrize("pair", ["ankle", "knee", "elbow"])
def test_a_pair_that_is_swapped_in_most_people_looks_systematic(pair: str, tmp_path: Path) -> None:
    joints = people(16)
    left, right = LSP.names.index(f"left_{pair}"), LSP.names.index(f"right_{pair}")
    joints[:12, [left, right]] = joints[:12, [right, left]]
    found = findings(rewrite(write_lsp(tmp_path, count=16), joints))["sides-swapped"]
    assert f"left_{pair}" in found.sentence
    assert len(found.files) == 12


def test_a_swap_in_one_person_is_a_note(tmp_path: Path) -> None:
    joints = people(16)
    joints[7, [0, 5]] = joints[7, [5, 0]]
    found = findings(rewrite(write_lsp(tmp_path, count=16), joints))
    assert "sides-swapped" not in found
    (entry,) = found["sides-doubtful"].files
    assert entry.startswith("images/im0008, picture 8: left_ankle is much nearer to right_knee")


def faces(folder: Path, mirrored: int, count: int = 16) -> Path:
    """COCO's file of `count` faces, of which the first `mirrored` have their names exchanged."""
    write_coco(folder, count=count)
    content = json.loads((folder / "instances.json").read_text())
    content["categories"][0] |= {"keypoints": ["nose", "left_eye", "right_eye"], "skeleton": []}
    for annotation in content["annotations"]:
        if "keypoints" in annotation:
            order = [30, 34] if annotation["image_id"] < mirrored else [34, 30]
            annotation["keypoints"] = [32, 30, 2, order[0], 28, 2, order[1], 28, 2]
    (folder / "instances.json").write_text(json.dumps(content))
    return folder


def test_bodies_that_are_swapped_as_a_whole_are_told_by_their_faces(tmp_path: Path) -> None:
    assert "in faces seen from the front" in findings(faces(tmp_path / "a", 12))["sides-swapped"].sentence
    assert "sides-swapped" not in findings(faces(tmp_path / "b", 0))
    assert "sides-swapped" not in findings(faces(tmp_path / "c", 4))
    assert len(findings(tmp_path / "c")["sides-doubtful"].files) == 4


def test_a_corrected_copy_is_refused_in_one_sentence(tmp_path: Path) -> None:
    from pixelwise.data.doctor import fix

    with pytest.raises(UserError, match="joints of people; a corrected copy can only be made of pictures with masks"):
        fix(write_lsp(tmp_path / "a"), tmp_path / "b")
