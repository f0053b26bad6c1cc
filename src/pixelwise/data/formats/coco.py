"""COCO's instances (Lin et al. 2014): one JSON file for many pictures.

    train2017/x.jpg + annotations/instances_train2017.json

Outlines are polygons, whose union is the object, or run-length encodings, as numbers or compressed. An annotation may
have a box alone.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data import rle
from pixelwise.data.class_table import read_classes
from pixelwise.data.formats.annotations import (
    class_table,
    files_below,
    has_masks,
    need,
    pictures_of,
    read_json,
    relative,
    ring_of,
    split_in,
    survey_of,
)
from pixelwise.data.formats.export import Export, parts_of
from pixelwise.data.formats.survey import Survey
from pixelwise.data.listing import Names, Unmatched, some
from pixelwise.data.sample import VOID
from pixelwise.data.shapes import IGNORE, Box, Counts, Drawing, Patch, Polygons, Region, Shape
from pixelwise.errors import UserError


@dataclass
class _Reading:
    """What the files have given so far: shapes and sizes by record, and the labels with a place where each occurs."""

    shapes: dict[str, list[tuple[str, Shape]]] = field(default_factory=lambda: defaultdict(list))
    files: dict[str, dict[Path, None]] = field(default_factory=lambda: defaultdict(dict))
    size_of: dict[str, tuple[int, int]] = field(default_factory=dict)
    by_file: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    labels: dict[str, str] = field(default_factory=dict)
    unmatched: Unmatched = field(default_factory=Unmatched)
    crowds: int = 0
    boxes: int = 0


def detect(root: Path) -> bool:
    return any(_may_be_coco(file) for file in files_below(root, ".json")) and not has_masks(root)


def survey(root: Path) -> Survey:
    """The pictures that the files list, labelled even if they have no annotation, and all others without labels.

    Raises:
        UserError: no such file, broken JSON, a missing key, an outline that is none, or an annotation of no picture.
    """
    candidates = [file for file in files_below(root, ".json") if _may_be_coco(file)]
    contents = [(file, read_json(file)) for file in candidates]
    kept, notes = _chosen(root, contents)
    pictures = pictures_of(root)
    finder = Names(record.name for record in pictures.records)
    reading = _Reading()
    for file, content in kept:
        _read(root, file, content, finder, reading)
    if not reading.files:
        raise UserError(
            f"{kept[0][0]}: none of the {len(reading.unmatched.missing)} pictures it lists lies in {root}; put them "
            "there, in any folder."
        )
    class_names, ids, said = class_table(reading.labels, read_classes(root))
    drawings = {
        name: Drawing(
            file,
            tuple(
                Shape(ids[label], shape.region, shape.crowd, shape.entry)
                for label, shape in reading.shapes.get(name, [])
            ),
            reading.size_of[name],
            tuple(others),
        )
        for name, (file, *others) in reading.files.items()
    }
    return survey_of(
        root,
        "coco",
        pictures,
        drawings,
        class_names=class_names,
        by_file=reading.by_file,
        unmatched=reading.unmatched,
        notes=(*notes, *_notes(root, kept, reading, drawings), *said),
    )


def _may_be_coco(file: Path) -> bool:
    content = file.read_bytes()
    return b'"images"' in content or b'"annotations"' in content


def _chosen(root: Path, contents: list[tuple[Path, Any]]) -> tuple[list[tuple[Path, Any]], list[str]]:
    """The files with outlines, without those of keypoints, captions and lists of pictures beside them."""
    outlines, keypoints, others = [], [], []
    for file, content in contents:
        if not (isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys()):
            others.append(file)
        elif any(isinstance(one, dict) and "keypoints" in one for one in content["categories"] or ()):
            keypoints.append((file, content))
        else:
            outlines.append((file, content))
    if not outlines:
        outlines, keypoints = keypoints, []
    if not outlines:
        if not others:
            raise UserError(f"{root}: no JSON file of COCO's kind (keys images, annotations and categories).")
        content = next(content for file, content in contents if file == others[0])
        keys = content.keys() if isinstance(content, dict) else ()
        lacking = [key for key in ("images", "annotations", "categories") if key not in keys]
        raise UserError(f"{others[0]}: the key '{lacking[0]}' is missing, so this is no file of COCO's instances.")
    notes = []
    if keypoints:
        notes.append(f"{some([relative(root, file) for file, _ in keypoints], 3)}: keypoints, which are not read.")
    if others:
        notes.append(f"{some([relative(root, file) for file in others], 3)}: no outlines, so not read.")
    return outlines, notes


def _read(root: Path, file: Path, content: Any, finder: Names, reading: _Reading) -> None:
    """One file's pictures, categories and annotations."""
    names_of: dict[Any, tuple[str, ...]] = {}
    split = split_in(file.stem)
    for number, image in enumerate(need(content, "images", list, str(file))):
        where = f"{file}, entry {number} of images"
        image_id = need(image, "id", (int, str), where)
        entry = need(image, "file_name", str, where)
        size = (need(image, "height", int, where), need(image, "width", int, where))
        found = finder.find(entry, beside=relative(root, file.parent), split=split)
        names = found.names
        reading.unmatched.note(relative(root, file), entry, found)
        if image_id in names_of:
            raise UserError(f"{where}: the id {image_id} stands there twice.")
        names_of[image_id] = names
        for name in names:
            reading.files[name][file] = None
            reading.size_of.setdefault(name, size)
            reading.by_file[split].append(name)
    label_of: dict[Any, str] = {}
    for number, category in enumerate(need(content, "categories", list, str(file))):
        where = f"{file}, entry {number} of categories"
        label_of[need(category, "id", (int, str), where)] = need(category, "name", str, where)
    for category_id in sorted(label_of, key=lambda one: (isinstance(one, str), one)):
        reading.labels.setdefault(label_of[category_id], f"{file}, category {category_id}")
    for number, annotation in enumerate(need(content, "annotations", list, str(file))):
        entry = f"entry {number} of annotations"
        if isinstance(annotation, dict) and isinstance(annotation.get("id"), int | str):
            entry = f"annotation {annotation['id']}"
        where = f"{file}, {entry}"
        image_id = need(annotation, "image_id", (int, str), where)
        category_id = need(annotation, "category_id", (int, str), where)
        if image_id not in names_of:
            raise UserError(f"{where}: image_id {image_id} is none of the images in this file.")
        if category_id not in label_of:
            raise UserError(f"{where}: category_id {category_id} is none of the categories in this file.")
        crowd = bool(annotation.get("iscrowd"))
        region: Region
        if annotation.get("segmentation"):
            region = _region(annotation["segmentation"], where)
        elif "bbox" in annotation:
            region = _box(annotation["bbox"], where)
        else:
            raise UserError(f"{where}: neither an outline (segmentation) nor a box (bbox).")
        for name in names_of[image_id]:
            own = entry if file == next(iter(reading.files[name])) else f"{entry} of {relative(root, file)}"
            reading.shapes[name].append((label_of[category_id], Shape(0, region, crowd, own)))
            reading.crowds += crowd
            reading.boxes += isinstance(region, Box)


def _region(segmentation: Any, where: str) -> Region:
    if isinstance(segmentation, dict):
        size = need(segmentation, "size", list, where)
        counts = need(segmentation, "counts", (list, str), where)
        if len(size) != 2 or not all(isinstance(side, int) and side >= 0 for side in size):
            raise UserError(f"{where}: the size of the run-length encoding is {size}, expected [height, width].")
        if isinstance(counts, list):
            if not all(isinstance(count, int) and count >= 0 for count in counts):
                raise UserError(f"{where}: the run-length encoding holds something other than whole numbers from 0 on.")
            return Counts(np.array(counts, np.int64), (size[0], size[1]))
        return Counts(counts, (size[0], size[1]))
    if not isinstance(segmentation, list):
        raise UserError(f"{where}: the segmentation is {str(segmentation)[:40]!r}, expected polygons or an encoding.")
    return Polygons(tuple((ring_of(ring, where),) for ring in segmentation))


def _box(bbox: Any, where: str) -> Box:
    numbers = isinstance(bbox, list) and all(isinstance(value, int | float) and isfinite(value) for value in bbox)
    if not numbers or len(bbox) != 4 or min(bbox[2:]) < 0:
        raise UserError(f"{where}: the bbox is {str(bbox)[:60]}, expected [left, top, width, height] in pixels.")
    left, top, width, height = map(float, bbox)
    return Box(left, top, left + width, top + height)


def _notes(root: Path, kept: list[tuple[Path, Any]], reading: _Reading, drawings: dict[str, Drawing]) -> list[str]:
    ids = list(dict.fromkeys(category["id"] for _, content in kept for category in content["categories"]))
    order = "classes.txt" if (root / "classes.txt").is_file() else "their ids"
    shapes = sum(len(drawing.shapes) for drawing in drawings.values()) - reading.boxes
    bare = sum(not drawing.shapes for drawing in drawings.values())
    notes = [
        f"{some([relative(root, file) for file, _ in kept], 3)}: {shapes} outlines on {len(drawings)} pictures, "
        f"{bare} of them without any object, which show background.",
        f"Category ids {some(ids, 3)} are the classes from 1 on in the order of {order}; 0 is what no outline covers.",
    ]
    if reading.crowds:
        notes.append(f"{reading.crowds} crowds are labelled as their category, beneath the single objects.")
    if reading.boxes:
        notes.append(
            f"{reading.boxes} annotations have a box but no outline; the pixels in it are void, where no outline is."
        )
    return notes


def write(export: Export, out: Path) -> list[str]:
    """`images/` and `annotations/instances_SPLIT.json`, every outline as a compressed run-length encoding.

    An annotation is an object, or where objects are not known, a connected region of one class; where they are, pixels
    outside of them are a crowd. Objects without an outline have a box alone. Class 0 is what no annotation covers, void
    the category `__ignore__`.
    """
    export.copy_pictures(out / "images")
    (out / "annotations").mkdir()
    written, image_id = 0, 0
    contents: dict[str, dict[str, Any]] = {}
    void = False
    for split, records in export.parts().items():
        images, annotations = [], []
        for record, sample in export.samples(records):
            assert sample.mask is not None
            image_id += 1
            height, width = sample.mask.shape
            images.append({"id": image_id, "file_name": export.picture(record), "height": height, "width": width})
            mask = sample.mask.copy()
            for class_id, box in export.bare_boxes(sample):
                inside = mask[box.draw(height, width).window]
                inside[inside == VOID] = 0  # what is void for a box is so without being said
                written += 1
                bbox = [box.left, box.top, box.right - box.left, box.bottom - box.top]
                annotations.append(
                    {"id": written, "image_id": image_id, "category_id": class_id, "bbox": bbox, "iscrowd": 0}
                )
            for part in parts_of(mask, sample.instances, connected=sample.instances is None):
                void |= part.class_id == VOID
                written += 1
                crowd = sample.instances is not None and not part.is_object
                annotations.append(
                    {
                        "id": written,
                        "image_id": image_id,
                        "category_id": len(export.dataset.class_names) if part.class_id == VOID else part.class_id,
                        **_outline(part.patch, height, width),
                        "iscrowd": int(crowd),
                    }
                )
        contents[split] = {"images": images, "annotations": annotations}
    names = [*export.dataset.class_names[1:], *([IGNORE] if void else [])]
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    for split, content in contents.items():
        file = out / "annotations" / (f"instances_{split}.json" if split else "instances.json")
        file.write_text(json.dumps({**content, "categories": categories}), encoding="utf-8")
    return [f"Void is written as the category {IGNORE}, which other programs take for a class."] if void else []


def _outline(patch: Patch, height: int, width: int) -> dict[str, Any]:
    """The encoding of a region with its area and box (x, y, width, height)."""
    whole = np.zeros((height, width), bool)
    whole[patch.window] = patch.mask
    return {
        "segmentation": {"size": [height, width], "counts": rle.compress(rle.encode(whole))},
        "area": int(np.count_nonzero(patch.mask)),
        "bbox": [patch.left, patch.top, patch.mask.shape[1], patch.mask.shape[0]],
    }
