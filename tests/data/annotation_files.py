"""Small datasets of shapes in annotation files."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from pixelwise.data import rle
from pixelwise.data.dataset import Dataset
from pixelwise.data.doctor import examine
from pixelwise.data.doctor.diagnosis import Finding

HEIGHT, WIDTH = 6, 8
SQUARE = [[1, 1, 5, 1, 5, 4, 1, 4]]
"""COCO's outline of 4 x 3 pixels."""


def pictures(root: Path, *names: str, folder: str = "images") -> None:
    """Smooth patterns of 8 x 6 pixels, no two alike."""
    for number, name in enumerate(names):
        (root / folder).mkdir(parents=True, exist_ok=True)
        small = np.random.default_rng(number).integers(0, 256, (3, 4, 3)).astype(np.uint8)
        Image.fromarray(cv2.resize(small, (WIDTH, HEIGHT))).save(root / folder / f"{name}.png")


def table(root: Path, *lines: str, name: str = "train.csv") -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("".join(f"{line}\n" for line in lines))


def dump(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def masks(dataset: Dataset) -> dict[str, np.ndarray]:
    return {record.name.rsplit("/", 1)[-1]: dataset.load_mask(record) for record in dataset.records if record.labels}


def area(dataset: Dataset, name: str) -> dict[int, int]:
    """Class id -> pixels."""
    ids, counts = np.unique(masks(dataset)[name], return_counts=True)
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))


def coco_file(**changes: Any) -> dict[str, Any]:
    """Two pictures with a polygon, runs and a crowd, category ids with gaps; `changes` to its keys."""
    full = rle.encode(np.eye(HEIGHT, WIDTH))
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "height": HEIGHT, "width": WIDTH},
            {"id": "b", "file_name": "b.png", "height": HEIGHT, "width": WIDTH},
            {"id": 9, "file_name": "c.png", "height": HEIGHT, "width": WIDTH},
        ],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 3, "name": "car"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "segmentation": SQUARE, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 90, "segmentation": [[0, 0, 1, 0, 1, 1, 0, 1]]},
            {
                "id": 3,
                "image_id": "b",
                "category_id": 90,
                "iscrowd": 1,
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": full.tolist()},
            },
            {
                "id": 4,
                "image_id": "b",
                "category_id": 3,
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle.compress(full[::1])},
            },
        ],
    } | changes


def labelme_file(*shapes: dict[str, Any], picture: str = "a.png", **changes: Any) -> dict[str, Any]:
    head = {"version": "5", "imagePath": picture, "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    return {**head, "shapes": list(shapes), **changes}


def shape(label: str, kind: str, *points: tuple[float, float], **more: Any) -> dict[str, Any]:
    return {"label": label, "shape_type": kind, "points": [list(point) for point in points], **more}


def png(mask: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


def findings(root: Path) -> dict[str, Finding]:
    """What the doctor says, by code."""
    return {finding.code: finding for finding in examine(root).findings}
