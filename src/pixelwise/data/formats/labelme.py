"""LabelMe's files (Wada, labelme): one JSON a picture, beside it or in a folder of their own.

    x.jpg + x.json           images/x.jpg + annotations/x.json

Shapes are polygons, rectangles, circles, and masks: PNGs in base64 with the box in which they lie. Labels get their ids
by classes.txt, else in alphabetical order; `__ignore__` is void and `_background_` class 0.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

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
    survey_of,
)
from pixelwise.data.formats.export import Export, parts_of
from pixelwise.data.formats.survey import Survey
from pixelwise.data.listing import Found, Names, Unmatched, counted
from pixelwise.data.pictures import open_image
from pixelwise.data.shapes import Disc, Drawing, Patch, Polygons, Region, Shape, fill
from pixelwise.errors import UserError


def detect(root: Path) -> bool:
    return any(_may_be_labelme(file) for file in files_below(root, ".json")) and not has_masks(root)


def survey(root: Path) -> Survey:
    """The pictures that have a file, labelled even if it holds no shape, and all others without labels.

    Raises:
        UserError: broken JSON, a missing key, a shape that is none, or a picture that lies nowhere but in the JSON.
    """
    pictures = pictures_of(root)
    finder = Names(record.name for record in pictures.records)
    found: dict[str, tuple[Path, tuple[int, int] | None, list[tuple[str, Shape]]]] = {}
    labels: dict[str, str] = {}
    unmatched = Unmatched()
    flat: Counter[str] = Counter()
    for file in files_below(root, ".json"):
        if not _may_be_labelme(file):
            continue
        content = read_json(file)
        shapes = []
        for number, entry in enumerate(need(content, "shapes", list, str(file)), start=1):
            where = f"{file}, shape {number}"
            label = need(entry, "label", str, where)
            region = _region(entry, where, flat)
            if region is not None:
                labels.setdefault(label, where)
                shapes.append((label, Shape(0, region, entry=f"shape {number}")))
        own = _picture_of(root, file, content, finder)
        names = own.names
        if not names:
            if content.get("imageData"):
                raise UserError(
                    f"{file}: its picture {content.get('imagePath')} is not in the folder, only inside of the JSON; "
                    "write it to a file beside (labelme_export_json does) so that it can be read."
                )
            unmatched.note(relative(root, file), str(content.get("imagePath")), own)
        for name in names:
            if name in found:
                raise UserError(
                    f"{file}: its picture {name} has the labels {found[name][0]} already; remove one of both."
                )
            found[name] = (file, _size(content, file), shapes)
    if not found:
        raise UserError(f"{root}: no JSON file of LabelMe's (key shapes) that belongs to a picture here.")
    class_names, ids, said = class_table(dict(sorted(labels.items())), read_classes(root))
    drawings = {
        name: Drawing(file, tuple(Shape(ids[label], shape.region, entry=shape.entry) for label, shape in shapes), size)
        for name, (file, size, shapes) in found.items()
    }
    order = "classes.txt" if (root / "classes.txt").is_file() else "alphabetical order"
    files = {file for file, _, _ in found.values()}
    notes = [
        f"{sum(len(drawing.shapes) for drawing in drawings.values())} shapes in {len(files)} "
        f"files; labels have their ids by {order}, background is 0."
    ]
    if flat:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(flat.items()))
        notes.append(f"{counted(flat.total(), 'shape has', 'shapes have')} no area and are not read ({kinds}).")
    return survey_of(
        root,
        "labelme",
        pictures,
        drawings,
        class_names=class_names,
        by_file={},
        unmatched=unmatched,
        notes=(*notes, *said),
    )


def _may_be_labelme(file: Path) -> bool:
    content = file.read_bytes()
    return b'"shapes"' in content or b'"imagePath"' in content


def _picture_of(root: Path, file: Path, content: Any, finder: Names) -> Found:
    """The picture of the file's own name, else the one that its `imagePath` means."""
    beside, path = relative(root, file.parent), content.get("imagePath")
    own = finder.find(relative(root, file.with_suffix("")), beside=beside)
    return finder.find(path, beside=beside) if own == Found() and isinstance(path, str) and path else own


def _size(content: Any, file: Path) -> tuple[int, int] | None:
    if content.get("imageHeight") is None or content.get("imageWidth") is None:
        return None
    return need(content, "imageHeight", int, str(file)), need(content, "imageWidth", int, str(file))


def _region(entry: Any, where: str, flat: Counter[str]) -> Region | None:
    """The pixels of a shape; None for points and lines, which are counted in `flat`.

    Raises:
        UserError: points that do not make such a shape, or a type that is unknown.
    """
    kind = entry.get("shape_type") or "polygon"
    if kind in FLAT:
        flat[kind] += 1
        return None
    if kind not in REGIONS:
        raise UserError(f"{where}: the shape_type '{kind}' is unknown; known: {', '.join([*REGIONS, *FLAT])}.")
    points = need(entry, "points", list, where)
    return REGIONS[kind](points, entry, where)


def _polygon(points: list[Any], entry: Any, where: str) -> Region:
    return Polygons(((ring_of(points, where),),))


def _rectangle(points: list[Any], entry: Any, where: str) -> Region:
    (x0, y0), (x1, y1) = _two(points, "rectangle", where)
    return Polygons(((np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]),),))


def _circle(points: list[Any], entry: Any, where: str) -> Region:
    centre, rim = _two(points, "circle", where)
    return Disc(float(centre[0]), float(centre[1]), float(np.hypot(*(rim - centre))))


def _mask(points: list[Any], entry: Any, where: str) -> Region:
    """A PNG of what lies between the two points, both of them included."""
    corner, opposite = _two(points, "mask", where)
    try:
        png = base64.b64decode(need(entry, "mask", str, where), validate=True)
        with open_image(io.BytesIO(png)) as image:
            mask = np.array(image.convert("L")) > 0
    except (binascii.Error, UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{where}: the mask is no PNG in base64 ({error}).") from None
    left, top = np.rint(corner).astype(int).tolist()
    width, height = (np.rint(opposite).astype(int) - (left, top) + 1).tolist()
    if mask.shape != (height, width):
        raise UserError(
            f"{where}: the mask is {mask.shape[1]} x {mask.shape[0]}, but its box {width} x {height} (width x height)."
        )
    return Patch(top, left, mask)


def _two(points: list[Any], kind: str, where: str) -> np.ndarray:
    try:
        two = np.array(points, np.float64)
    except (ValueError, TypeError):
        two = np.zeros(0)
    if two.shape != (2, 2) or not np.isfinite(two).all():
        raise UserError(f"{where}: a {kind} needs two points, found {str(points)[:40]}.")
    return two


REGIONS: dict[str, Callable[[list[Any], Any, str], Region]] = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "circle": _circle,
    "mask": _mask,
}
FLAT = frozenset({"point", "points", "line", "linestrip"})


FINENESS = 3
"""Outlines are drawn on a grid this many times finer than the pixels, so that they run between pixels' centres."""


def write(export: Export, out: Path) -> list[str]:
    """`images/` with a JSON beside each labelled picture, and lists.

    A shape is an object, or where objects are not known, a connected region of one class: a polygon where it has no
    hole and the polygon covers exactly its pixels, else a mask. Class 0 is what no shape covers, void is `__ignore__`.
    """
    export.copy_pictures(out / "images")
    for record, sample in export.samples(export.records):
        assert sample.mask is not None
        shapes = [
            {"label": export.label(part.class_id), **_shape(part.patch), "group_id": None, "flags": {}}
            for part in parts_of(sample.mask, sample.instances, connected=True)
        ]
        content = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": PurePosixPath(export.picture(record)).name,
            "imageData": None,
            "imageHeight": sample.mask.shape[0],
            "imageWidth": sample.mask.shape[1],
        }
        file = out / "images" / f"{export.names[record.name]}.json"
        file.write_text(json.dumps(content, indent=1), encoding="utf-8")
    export.write_lists(out, "images/")
    return []


def _shape(patch: Patch) -> dict[str, Any]:
    """The keys that say where a region lies."""
    ring = outline(patch)
    if ring is not None:
        return {"shape_type": "polygon", "points": ring.tolist()}
    png = io.BytesIO()
    Image.fromarray(patch.mask.astype(np.uint8) * 255).save(png, format="PNG")
    height, width = patch.mask.shape
    corners = [[patch.left, patch.top], [patch.left + width - 1, patch.top + height - 1]]
    return {"shape_type": "mask", "points": corners, "mask": base64.b64encode(png.getvalue()).decode()}


def outline(patch: Patch) -> np.ndarray | None:
    """The polygon (N, 2) of fewest corners, among a few tried, that covers exactly these pixels; None if none does."""
    fine = np.kron(np.pad(patch.mask, 1), np.ones((FINENESS, FINENESS), bool)).astype(np.uint8)
    contours, _ = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if len(contours) != 1:  # holes, or more than one part
        return None
    for tolerance in (2.0, 1.0, 0.0):  # in cells of the fine grid
        ring = cv2.approxPolyDP(contours[0], tolerance, True)[:, 0].astype(np.float64)
        ring = np.round((ring + 0.5) / FINENESS - 1 + (patch.left, patch.top), 3)
        if len(ring) < 3:
            continue
        height, width = patch.mask.shape
        if np.array_equal(fill([ring - (patch.left, patch.top)], height, width), patch.mask):
            return ring
    return None
