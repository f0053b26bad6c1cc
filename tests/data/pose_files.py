"""People as stick figures, and files of their joints as LSP, MPII, FLIC and COCO have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy.io

from pixelwise.data.joints import FLIC, FLIC_COLUMNS, LSP, MPII
from pixelwise.data.pictures import write_png

SIZE = (96, 80)
"""Height and width of the pictures."""


def figure(number: int) -> np.ndarray:
    """(14, 2) joints of an upright person seen from the front, in LSP's order, another pose for every number."""
    rng = np.random.default_rng(number)
    unit = np.array(
        [
            (-12, 36), (-9, 24), (-5, 10), (5, 10), (9, 24), (12, 36), (-14, 6), (-13, -4),
            (-8, -13), (8, -13), (13, -4), (14, 6), (0, -15), (0, -27),
        ],
        np.float64,
    )  # fmt: skip
    return unit * rng.uniform(0.85, 1.1) + rng.uniform(-1, 1, unit.shape) + (SIZE[1] / 2, SIZE[0] / 2)


def draw(joints: np.ndarray, number: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: limbs of the person's left side in blue, of the right side in red, the rest in white."""
    rng = np.random.default_rng(1000 + number)
    image = rng.integers(60, 90, (*SIZE, 3)).astype(np.uint8)
    for one, other in LSP.skeleton:
        side = LSP.side_of(one) if LSP.side_of(one) == LSP.side_of(other) else ""
        colour = {"left": (40, 80, 250), "right": (250, 60, 40), "": (240, 240, 240)}[side]
        ends = [tuple(int(v) for v in np.rint(joints[place] - 0.5)) for place in (one, other)]
        cv2.line(image, ends[0], ends[1], colour, 2)
    return image


def write_lsp(root: Path, count: int = 6, *, flags: np.ndarray | None = None, original: bool = False) -> Path:
    """Pictures and `joints.mat`.

    Args:
        flags: (count, 14) third numbers; None for all visible.
        original: LSP's own 3 x 14 x N and 0 for what is seen, rather than the extension's 14 x 3 x N and 1.
    """
    people = np.stack([figure(number) for number in range(count)])  # (N, 14, 2)
    if flags is None:
        flags = np.zeros((count, 14)) if original else np.ones((count, 14))
    joints = np.concatenate([people, flags[..., None]], -1)
    root.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(
        root / "joints.mat", {"joints": joints.transpose(2, 1, 0) if original else joints.transpose(1, 2, 0)}
    )
    for number, own in enumerate(people):
        write_png(root / "images" / f"im{number + 1:04d}.png", draw(own, number))
    return root


def as_structs(rows: list[dict[str, Any]]) -> np.ndarray:
    """A MATLAB struct array of 1 x N with the fields of the rows, which all have the same."""
    array = np.zeros((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for place, row in enumerate(rows):
        for name, value in row.items():
            array[0, place][name] = value
    return array


def write_mpii(root: Path, count: int = 4) -> Path:
    """Pictures and `mpii_human_pose_v1_u12_1.mat`: the last picture is of the test set, the second has two people."""
    pictures, order = [], [LSP.find(name) if LSP.find(name) is not None else -1 for name in MPII.names]
    for number in range(count):
        joints = figure(number)
        write_png(root / "images" / f"{number:09d}.png", draw(joints, number))
        people: list[dict[str, Any]] = []
        for person in range(1 if number != 1 else 2):
            points = [
                {"x": x + 2 * person, "y": y, "id": place, "is_visible": np.zeros((0, 0)) if place == 9 else place % 2}
                for place, own in enumerate(order)
                if own >= 0
                for x, y in [joints[own]]
            ]
            head = joints[LSP.names.index("head_top")]
            people.append(
                {
                    "x1": head[0] - 3, "y1": head[1] - 1, "x2": head[0] + 3, "y2": head[1] + 7,
                    "annopoints": as_structs([{"point": as_structs(points)}]),
                    "scale": 0.4, "objpos": as_structs([{"x": SIZE[1] / 2, "y": SIZE[0] / 2}]),
                }
            )  # fmt: skip
        if number == count - 1:
            people = [{"scale": 0.4, "objpos": as_structs([{"x": 1.0, "y": 1.0}])}]
        pictures.append({"image": as_structs([{"name": f"{number:09d}.png"}]), "annorect": as_structs(people)})
    release = {"annolist": as_structs(pictures), "img_train": np.array([[1] * (count - 1) + [0]])}
    scipy.io.savemat(root / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": as_structs([release])})
    return root


def write_flic(root: Path, count: int = 4) -> Path:
    """Pictures and `examples.mat`; the wrist of the first person is not annotated, the last one is of the test set."""
    rows = []
    for number in range(count):
        joints = figure(number)
        write_png(root / "images" / f"film-{number:08d}.png", draw(joints, number))
        coordinates = np.full((2, 29), np.nan)
        for column, name in zip(FLIC_COLUMNS, FLIC.names, strict=True):
            own = LSP.find(name)
            coordinates[:, column] = joints[LSP.names.index("head_top")] if own is None else joints[own]
        if number == 0:
            coordinates[:, FLIC_COLUMNS[2]] = np.nan
        rows.append(
            {
                "coords": coordinates, "filepath": f"film-{number:08d}.png",
                "torsobox": np.array([[30.0, 30.0, 50.0, 60.0]]),
                "istrain": int(number < count - 1), "istest": int(number == count - 1),
            }
        )  # fmt: skip
    scipy.io.savemat(root / "examples.mat", {"examples": as_structs(rows)})
    return root


def write_coco(root: Path, count: int = 4, *, apart: bool = False, box: bool = True) -> Path:
    """Pictures and COCO's JSON with 14 joints; every second picture has an object without joints first.

    Args:
        apart: the keypoints stand in a file of their own, beside the one with the outlines.
        box: whether people have an outline and a box, rather than keypoints alone.
    """
    images, annotations = [], []
    for number in range(count):
        joints = figure(number)
        write_png(root / "train" / f"{number}.png", draw(joints, number))
        images.append({"id": number, "file_name": f"{number}.png", "height": SIZE[0], "width": SIZE[1]})
        if number % 2:
            square = {"segmentation": [[2, 2, 12, 2, 12, 12, 2, 12]], "bbox": [2, 2, 10, 10]}
            annotations.append({"id": 100 + number, "image_id": number, "category_id": 7, "iscrowd": 0, **square})
        low, high = joints.min(0) - 2, joints.max(0) + 2
        person: dict[str, Any] = {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0}
        if box:
            outline = [*low, high[0], low[1], *high, low[0], high[1]]
            person |= {"segmentation": [list(map(float, outline))], "bbox": [*low, *(high - low)]}
        person["keypoints"] = [float(v) for x, y in joints for v in (x, y, 2)]
        annotations.append(person)
    category = {
        "id": 1, "name": "person", "keypoints": list(LSP.names),
        "skeleton": [[one + 1, other + 1] for one, other in LSP.skeleton],
    }  # fmt: skip
    plain = [{"id": 1, "name": "person"}, {"id": 7, "name": "ball"}]
    bare = [{key: value for key, value in each.items() if key != "keypoints"} for each in annotations]
    if apart:
        people = [each for each in annotations if each["category_id"] == 1]
        _write(root / "instances.json", images, bare, plain)
        _write(root / "person_keypoints.json", images, people, [category])
    else:
        _write(root / "instances.json", images, annotations, [category, plain[1]])
    return root


def _write(file: Path, images: list[Any], annotations: list[Any], categories: list[Any]) -> None:
    content = {"images": images, "annotations": annotations, "categories": categories}
    file.write_text(json.dumps(content, default=float))
