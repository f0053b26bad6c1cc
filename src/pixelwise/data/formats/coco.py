"""COCO's instances (Lin et al. 2014): one JSON file for many pictures.

    train2017/x.jpg + annotations/instances_train2017.json

Outlines are polygons, whose union is the object, or run-length encodings, as numbers or compressed. An annotation may
have only a box. Keypoints are in the same annotations, or in annotations of the same id in a separate file
(`person_keypoints_train2017.json`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data import rle
from pixelwise.data.class_table import read_classes
from pixelwise.data.formats import labelme, rle_csv
from pixelwise.data.formats.annotations import (
    files_below,
    has_masks,
    label_table,
    pictures_of,
    split_in,
    survey_of,
)
from pixelwise.data.formats.coco_people import entry_of, names_of
from pixelwise.data.formats.coco_reader import KEYS, CocoReading, InstancesFile
from pixelwise.data.formats.export import Export
from pixelwise.data.formats.sources import Sources
from pixelwise.data.formats.survey import Survey
from pixelwise.data.formats.texts import Encodings, files_with, read_json
from pixelwise.data.listing import Faults, relative, some
from pixelwise.data.names import Finder
from pixelwise.data.regions import Box, Patch
from pixelwise.data.sample import VOID
from pixelwise.data.shapes import IGNORE, Drawing, ShapeCoding


def detect(root: Path) -> bool:
    """Whether the labels are COCO's; if a key is missing, only if there are no labels of another kind."""
    candidates = _candidates(root)
    if not candidates or has_masks(root):
        return False
    return bool(complete_files(root)) or not (labelme.candidates(root) or rle_csv.table_files(root))


def complete_files(root: Path) -> list[Path]:
    """JSON files with both of the keys that all kinds of COCO files have."""
    return files_with(files_with(files_below(root, ".json"), ("images",)), ("annotations",))


def outline_files(root: Path) -> list[Path]:
    """COCO JSON files that hold outlines."""
    return files_with(complete_files(root), ("segmentation",))


def survey(root: Path) -> Survey:
    """The pictures that the files list, labelled even if they have no annotation, and all others without labels.

    An invalid entry is a broken shape of its picture, and a file that cannot be read is a fault.

    Raises:
        UserError: no such file, or lists that cannot be read.
    """
    faults, encodings = Faults(), Encodings()
    contents = []
    for file in _candidates(root):
        content = faults.attempt(partial(read_json, file, relative(root, file), encodings), None)
        contents += [(file, content)] if content is not None else []
    kept, beside, notes = _chosen(root, contents, faults)
    pictures = pictures_of(root, [file.stem for file, content in contents if _is_panoptic(content)])
    finder = Finder(root, pictures.records)
    reading = CocoReading(Sources(root))
    for file, content in beside:
        faults.attempt(partial(reading.keypoints.set_aside, content, split_in(file.stem)), None)
    for file, content in kept:
        faults.attempt(partial(InstancesFile(root, file, reading).read, content, finder), None)
    if kept and not (faults or reading.sources):
        faults.append(f"{kept[0][0]}: {_no_picture(root, reading)}")
    table = label_table(reading.labels, faults.attempt(partial(read_classes, root), None))
    merged = reading.sources.merged(table.ids, table.refused)
    notes += _notes(root, [file for file, _ in kept], reading, merged.drawings)
    drawings = _with_files(merged.drawings, [file for file, _ in beside])
    found = survey_of(
        root,
        "coco",
        pictures,
        drawings,
        class_names=table.names,
        by_file=reading.by_file,
        unmatched=reading.unmatched,
        notes=(*notes, *merged.notes, *table.notes),
        faults=(*faults, *merged.faults),
        guesses=(*encodings.guesses(), *merged.guesses, *table.guesses, *reading.unread),
    )
    return replace(found, coding=ShapeCoding(drawings, reading.keypoints.joints))


def _with_files(drawings: Mapping[str, Drawing], files: list[Path]) -> dict[str, Drawing]:
    """The drawings, to which the files of keypoints are added if a shape has any."""
    return {
        name: replace(drawing, others=(*drawing.others, *files))
        if any(shape.keypoints is not None for shape in drawing.shapes)
        else drawing
        for name, drawing in drawings.items()
    }


def _candidates(root: Path) -> list[Path]:
    return files_with(files_below(root, ".json"), ("images", "annotations"))


Contents = list[tuple[Path, Any]]


def _chosen(root: Path, contents: Contents, faults: Faults) -> tuple[Contents, Contents, list[str]]:
    """The files with outlines; the files with keypoints of the same annotations; and notes on captions, panoptic
    segments and lists of pictures, which are not read."""
    outlines: Contents = []
    keypoints: Contents = []
    others: Contents = []
    for file, content in contents:
        if _lacks(content) or _is_of_another_kind(content):
            others.append((file, content))
        elif any(isinstance(one, dict) and "keypoints" in one for one in _few(content["categories"])):
            keypoints.append((file, content))
        else:
            outlines.append((file, content))
    if not outlines:
        outlines, keypoints = keypoints, []
    for file, content in others:
        if _has_outlines(content) or not (outlines or faults):
            why = f"the key '{_lacks(content)}' is missing" if _lacks(content) else "its annotations have no outlines"
            faults.append(
                f"{file}: {why}, so this is no file of COCO's instances; export the labels as COCO's JSON, or move the "
                "file out."
            )
    if not (outlines or faults):
        faults.append(f"{root}: no JSON file in COCO's format (keys images, annotations and categories).")
    left = [relative(root, file) for file, content in others if not _has_outlines(content)]
    notes = []
    if keypoints:
        files = some([relative(root, file) for file, _ in keypoints], 3)
        notes.append(f"{files}: keypoints of the annotations with the same id in the files of outlines.")
    if left and outlines:
        notes.append(f"{some(left, 3)}: no outlines, so not read.")
    return outlines, keypoints, notes


def _no_picture(root: Path, reading: CocoReading) -> str:
    """Why the files label no picture."""
    if reading.listed:
        listed = [entry.partition(": ")[2] for entry in reading.unmatched.missing]
        if not listed:
            first = next(iter(reading.unmatched.ambiguous)).partition(": ")[2]
            return f"each of its names may mean several pictures, such as {first}; write paths instead of names."
        return (
            f"none of the {reading.listed} pictures it lists ({some(listed, 2)}) is in {root}; put them there, in "
            "any folder, under these names."
        )
    first = next(iter(reading.unmatched.missing), "it is empty")
    return f"its list of images names no picture ({first}); export the annotations again."


def _lacks(content: Any) -> str:
    """The first key of a file of instances that this file lacks, or empty."""
    keys = content.keys() if isinstance(content, dict) else ()
    return next((key for key in KEYS if key not in keys), "")


def _few(found: Any, limit: int = 100) -> list[Any]:
    """The first entries of a list, or of an object by id."""
    return list(found.values() if isinstance(found, dict) else found if isinstance(found, list) else ())[:limit]


def _keys(content: Any) -> set[str]:
    """The keys of the first annotations."""
    annotations = _few(content.get("annotations")) if isinstance(content, dict) else []
    return {key for one in annotations if isinstance(one, dict) for key in one}


def _is_panoptic(content: Any) -> bool:
    """Whether annotations are segments of label maps (Kirillov et al. 2019) rather than outlines."""
    return "segments_info" in _keys(content)


def _is_of_another_kind(content: Any) -> bool:
    """Whether annotations are captions, segments or others that have neither an outline nor a category."""
    keys = _keys(content)
    return bool(keys) and keys.isdisjoint({"segmentation", "bbox", "category_id"})


def _has_outlines(content: Any) -> bool:
    return not _keys(content).isdisjoint({"segmentation", "bbox"})


def _notes(root: Path, files: list[Path], reading: CocoReading, drawings: Mapping[str, Drawing]) -> list[str]:
    if not files:
        return []
    order = "classes.txt" if (root / "classes.txt").is_file() else "their ids"
    shapes = [shape for drawing in drawings.values() for shape in drawing.shapes]
    boxes = sum(isinstance(shape.region, Box) for shape in shapes)
    bare = sum(not drawing.shapes for drawing in drawings.values())
    notes = [
        f"{some([relative(root, file) for file in files], 3)}: {len(shapes) - boxes} outlines on {len(drawings)} "
        f"pictures{f', {bare} of them without any object, which show background' if bare else ''}.",
        f"Category ids {some(list(reading.categories), 3)} become the classes from 1 on in the order of {order}; 0 is "
        "background, which no outline covers.",
    ]
    if boxes:
        notes.append(f"{boxes} annotations have a box but no outline; pixels in it that no outline covers are void.")
    return notes + reading.keypoints.notes([shape.keypoints for shape in shapes if shape.keypoints is not None])


def write(export: Export, out: Path) -> list[str]:
    """`images/` and `annotations/instances_SPLIT.json`, every outline as a compressed run-length encoding.

    An annotation is an object or, if objects are not known, a connected region of one class; if they are known, pixels
    outside them are a crowd. Objects without an outline have only a box. Class 0 is where there is no annotation, and
    void is the category `__ignore__`. Difficult objects are written as crowds, because programs that do not know
    difficult objects leave crowds out, and have the additional key `difficult`. Joints are written with their object.
    """
    joints = export.dataset.coding.joints if isinstance(export.dataset.coding, ShapeCoding) else None
    jointed: set[int] = set()
    export.copy_pictures(out / "images")
    (out / "annotations").mkdir()
    written, image_id = 0, 0
    contents: dict[str, dict[str, Any]] = {}
    void = difficult = 0
    for split, records in export.by_split().items():
        images, annotations = [], []
        for record, sample in export.samples(records):
            image_id += 1
            height, width = sample.image.shape[:2]
            images.append({"id": image_id, "file_name": export.picture(record), "height": height, "width": width})
            for part in export.parts(sample, connected=sample.instances is None, whole=True):
                void += part.class_id == VOID
                difficult += part.difficult
                written += 1
                if part.keypoints is not None:
                    jointed.add(part.class_id)
                crowd = part.crowd or part.difficult or (sample.instances is not None and not part.is_object)
                annotations.append(
                    {
                        "id": written,
                        "image_id": image_id,
                        "category_id": len(export.dataset.class_names) if part.class_id == VOID else part.class_id,
                        **(_box(part.box) if part.box is not None else _outline(part.patch, height, width)),
                        "iscrowd": int(crowd),
                        **({"difficult": 1} if part.difficult else {}),
                        **({} if part.keypoints is None else entry_of(part.keypoints)),
                    }
                )
        contents[split] = {"images": images, "annotations": annotations}
    names = [*export.dataset.class_names[1:], *([IGNORE] if void else [])]
    categories = [
        {"id": number, "name": name, **(names_of(joints) if joints is not None and number in jointed else {})}
        for number, name in enumerate(names, start=1)
    ]
    for split, content in contents.items():
        file = out / "annotations" / (f"instances_{split}.json" if split else "instances.json")
        file.write_text(json.dumps({**content, "categories": categories}), encoding="utf-8")
    notes = [f"Void is written as the category {IGNORE}, which other programs read as a class."] if void else []
    if difficult:
        notes.append(f"{difficult} difficult objects are written as crowds (iscrowd), with the key 'difficult' added.")
    return notes


def _box(box: Box) -> dict[str, Any]:
    sides = box.right - box.left, box.bottom - box.top
    return {"bbox": [box.left, box.top, *sides], "area": sides[0] * sides[1]}


def _outline(patch: Patch, height: int, width: int) -> dict[str, Any]:
    """The encoding of a region with its area and box (x, y, width, height)."""
    whole = np.zeros((height, width), bool)
    whole[patch.window] = patch.mask
    return {
        "segmentation": {"size": [height, width], "counts": rle.compress(rle.encode(whole))},
        "area": int(np.count_nonzero(patch.mask)),
        "bbox": [patch.left, patch.top, patch.mask.shape[1], patch.mask.shape[0]],
    }
