"""LabelMe's files (Wada, labelme): one JSON per picture, next to it or in a separate folder.

    x.jpg + x.json           images/x.jpg + annotations/x.json

Shapes are polygons, rectangles, circles, and masks: PNGs in base64 with the box in which they lie. Shapes with the same
label and the same `group_id` are one object. Labels get their ids by classes.txt, else in alphabetical order;
`__ignore__` is void and `_background_` class 0.
"""

from __future__ import annotations

import base64
import io
import json
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from PIL import Image

from pixelwise.data.class_table import read_classes
from pixelwise.data.formats import entries
from pixelwise.data.formats.annotations import (
    files_below,
    has_masks,
    label_table,
    misnamed_files,
    picture_of,
    pictures_of,
    survey_of,
)
from pixelwise.data.formats.export import Export, LabelledPart
from pixelwise.data.formats.labelme_shapes import BOX, CROWD, DIFFICULT, Shapes, read_shapes
from pixelwise.data.formats.outlines import outline
from pixelwise.data.formats.sources import Source, Sources
from pixelwise.data.formats.survey import Survey
from pixelwise.data.formats.texts import Encodings, files_with, read_json
from pixelwise.data.listing import Faults, counted, relative, some
from pixelwise.data.names import Finder, Found, Unmatched
from pixelwise.data.regions import Patch
from pixelwise.errors import UserError

KEYS = ("shapes", "imagePath")


def detect(root: Path) -> bool:
    return bool(candidates(root)) and not has_masks(root)


def survey(root: Path) -> Survey:
    """The pictures that have a file, labelled even if it holds no shape, and all others without labels.

    An invalid shape is a broken shape of its picture, and a file that cannot be read is a fault.

    Raises:
        UserError: lists that cannot be read, or more than 255 classes.
    """
    faults, encodings, unmatched = Faults(), Encodings(), Unmatched()
    pictures = pictures_of(root)
    finder = Finder(root, pictures.records)
    sources, tally = Sources(root, add_up=False), Shapes()
    files: list[Path] = []
    labels: set[str] = set()
    misnamed: list[str] = []
    for file in candidates(root):
        name = relative(root, file)
        content = faults.attempt(partial(_read, file, name, encodings, finder), None)
        if content is None:
            continue
        found, other = picture_of(file, content.get("imagePath"), finder)
        unmatched.note(name, _called(content), found)
        shapes = read_shapes(content["shapes"])
        misnamed += [name] if other.names else []
        files += [file] if found.names else []
        if found.names:
            tally.count(shapes, name)
        for picture in found.names:
            labels |= {shape.label for shape in shapes.labelled if shape.label}
            size = entries.size(content, "imageHeight", "imageWidth")
            sources.add(picture, Source(file, size=size, shapes=shapes.labelled))
    if not (files or faults):
        faults.append(_no_file(root, unmatched))
    table = label_table(sorted(labels), faults.attempt(partial(read_classes, root), None))
    merged = sources.merged(table.ids, table.refused)
    return survey_of(
        root,
        "labelme",
        pictures,
        merged.drawings,
        class_names=table.names,
        by_file={},
        unmatched=unmatched,
        notes=(*_notes(root, files, tally, merged.drawings), *merged.notes, *table.notes),
        faults=(*faults, *merged.faults),
        guesses=(
            *encodings.guesses(),
            *merged.guesses,
            *table.guesses,
            *_guesses(tally),
            *misnamed_files(misnamed, "imagePath"),
        ),
    )


def candidates(root: Path) -> list[Path]:
    """JSON files that contain a key of LabelMe's."""
    return files_with(files_below(root, ".json"), KEYS)


def _read(file: Path, name: str, encodings: Encodings, finder: Finder) -> dict[str, Any] | None:
    """The content of a LabelMe file; None for a file of another kind that contains the same words.

    A file that has neither shapes nor a picture of its name or path is of another kind.

    Raises:
        UserError: the file is not JSON, or its shapes are not a list.
    """
    content = read_json(file, name, encodings)
    if not isinstance(content, dict) or content.keys().isdisjoint(KEYS):
        return None
    if not isinstance(content.get("shapes"), list):
        if "imagePath" not in content and finder.namesake(file) == Found():
            return None
        raise UserError(f"{file}: 'shapes' is {entries.short(content.get('shapes'))}, expected a list.")
    return content


def _called(content: dict[str, Any]) -> str:
    """The picture's name in the file."""
    called = entries.short(content.get("imagePath")).strip("'")
    return (
        f"{called} (which is embedded in the JSON: write it to a file next to it)"
        if content.get("imageData")
        else called
    )


def _no_file(root: Path, unmatched: Unmatched) -> str:
    if any("embedded in the JSON" in entry for entry in unmatched.missing):
        return (
            f"{root}: the pictures are embedded in LabelMe's JSON files; write them to files next to these "
            "(labelme_export_json does) so that they can be read."
        )
    return f"{root}: no LabelMe JSON file (key shapes) that belongs to a picture here."


def _notes(root: Path, files: list[Path], tally: Shapes, drawings: dict[str, Any]) -> list[str]:
    if not files:
        return []
    order = "classes.txt" if (root / "classes.txt").is_file() else "alphabetical order"
    count = sum(len(drawing.shapes) for drawing in drawings.values())
    notes = [f"{count} shapes in {len(files)} files; class ids follow {order}, background is 0."]
    if tally.flat:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(tally.flat.items()))
        counts = counted(tally.flat.total(), "shape has no area and is", "shapes have no area and are")
        notes.append(f"{counts} not read ({kinds}).")
    if tally.groups:
        notes.append(
            f"{tally.parts} shapes are parts of {counted(tally.groups, 'object', 'objects')}, by their label and "
            "group_id."
        )
    return notes


def _guesses(tally: Shapes) -> list[str]:
    return [
        f"{counted(len(where), 'shape is', 'shapes are')} of the type {kind}, which LabelMe does not have; the points "
        f"are read as the corners of a polygon ({some(where, 3)}). If they mean something else, draw a polygon instead."
        for kind, where in tally.corners.items()
    ]


def write(export: Export, out: Path) -> list[str]:
    """`images/` with a JSON next to each labelled picture, and lists.

    A shape is a connected part of an object or, if objects are not known, a connected region of one class. It is a
    polygon if it has no hole and the polygon covers exactly its pixels, else a mask. The parts of one object share a
    `group_id`. An object without an outline is a rectangle with the flag `box`; crowds and difficult objects have flags
    of these names. Class 0 is where there is no shape, and void is `__ignore__`.
    """
    export.copy_pictures(out / "images")
    for record, sample in export.samples(export.records):
        shapes = [
            shape
            for number, part in enumerate(export.parts(sample, connected=True, whole=True), start=1)
            for shape in _shapes(part, export.label(part.class_id), number)
        ]
        content = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": PurePosixPath(export.picture(record)).name,
            "imageData": None,
            "imageHeight": sample.image.shape[0],
            "imageWidth": sample.image.shape[1],
        }
        file = out / "images" / f"{export.names[record.name]}.json"
        file.write_text(json.dumps(content, indent=1), encoding="utf-8")
    export.write_lists(out, "images/")
    return []


def _shapes(part: LabelledPart, label: str, number: int) -> list[dict[str, Any]]:
    """One shape per connected part (8 neighbours), with the number as `group_id` if there are several."""
    flags = {name: True for name, there in ((CROWD, part.crowd), (DIFFICULT, part.difficult)) if there}
    if part.box is not None:
        left, top, right, bottom = part.edges
        outlines = [{"shape_type": "rectangle", "points": [[left, top], [right, bottom]]}]
        flags[BOX] = True
    else:
        count, components = cv2.connectedComponents(part.patch.mask.astype(np.uint8), connectivity=8)
        outlines = [_shape(_cropped(part.patch, components == component)) for component in range(1, count)]
    group = number if len(outlines) > 1 else None
    return [{"label": label, **outline, "group_id": group, "flags": flags} for outline in outlines]


def _cropped(patch: Patch, mask: np.ndarray) -> Patch:
    """Some of a patch's pixels, as a patch that just contains them."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return Patch(patch.top + top, patch.left + left, mask[top : top + height, left : left + width])


def _shape(patch: Patch) -> dict[str, Any]:
    """The keys that describe the region's position."""
    ring = outline(patch)
    if ring is not None:
        return {"shape_type": "polygon", "points": ring.tolist()}
    png = io.BytesIO()
    Image.fromarray(patch.mask.astype(np.uint8) * 255).save(png, format="PNG")
    height, width = patch.mask.shape
    corners = [[patch.left, patch.top], [patch.left + width - 1, patch.top + height - 1]]
    return {"shape_type": "mask", "points": corners, "mask": base64.b64encode(png.getvalue()).decode()}
