"""Writes people with joints and without masks as COCO's keypoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.formats.export import Export
from pixelwise.data.joints import Joints
from pixelwise.data.people import PERSON


def write(export: Export, out: Path) -> list[str]:
    """`images/`, `annotations/person_keypoints.json` with the box and joints of each person, and lists of splits."""
    coding: Any = export.dataset.coding
    joints: Joints = coding.joints
    export.copy_pictures(out / "images")
    (out / "annotations").mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    heads = 0
    for record, sample in export.samples(export.records):
        height, width = sample.image.shape[:2]
        images.append({"id": len(images) + 1, "file_name": export.picture(record), "height": height, "width": width})
        people = sample.instances
        assert people is not None
        assert people.keypoints is not None
        heads += people.head_boxes is not None
        for (left, top, right, bottom), keypoints in zip(people.boxes.tolist(), people.keypoints, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": PERSON,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                    **entry_of(keypoints),
                    "iscrowd": 0,
                }
            )
    content = {"images": images, "annotations": annotations, "categories": [category_of(joints)]}
    (out / "annotations" / "person_keypoints.json").write_text(json.dumps(content), encoding="utf-8")
    export.write_lists(out)
    return ["Head boxes are not written, because COCO has none; PCKh is then computed differently."] if heads else []


def category_of(joints: Joints) -> dict[str, Any]:
    """COCO's category of people with these joints."""
    return {"id": PERSON, "name": "person", **names_of(joints)}


def names_of(joints: Joints) -> dict[str, Any]:
    """What COCO adds to a category whose objects have joints."""
    return {"keypoints": list(joints.names), "skeleton": [[one + 1, other + 1] for one, other in joints.skeleton]}


def entry_of(keypoints: np.ndarray) -> dict[str, Any]:
    """What COCO adds to an annotation with joints (J, 3)."""
    return {
        "keypoints": [number for x, y, known in keypoints.tolist() for number in (x, y, int(known))],
        "num_keypoints": int((keypoints[:, 2] > 0).sum()),
    }
