"""Writes masks in which all is void except what is labelled, and prepares label files for what is to be labelled."""

from __future__ import annotations

import csv
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelwise.data.dataset import Dataset
from pixelwise.data.draw import background_class, palette
from pixelwise.data.formats.outlines import joined_ring
from pixelwise.data.formats.points import COLUMNS, TABLE
from pixelwise.data.pictures import write_png
from pixelwise.data.regions import Patch
from pixelwise.data.sample import VOID
from pixelwise.data.shapes import IGNORE
from pixelwise.tasks.labelling import Asked, Known

TO_PAINT = 254
"""The id of pixels that are to be painted. No class has it, so that a mask that is not finished cannot be read."""
TO_PAINT_COLOUR = (255, 0, 255)


def prepare_masks(asked: Sequence[Asked], class_names: Sequence[str], out: Path) -> list[str]:
    """Writes pictures, classes.txt, and a table of points, or a mask and a LabelMe file per picture.

    - `points.csv`, if pixels are asked for: a row per pixel, with an empty column for the class.
    - `masks/NAME.png` is a palette PNG of class ids: `TO_PAINT` where the picture is to be labelled, else void.
    - `labelme/NAME.json` has a shape for each region above one for the whole picture. All are void (`__ignore__`) until
      a person gives a region the name of its class, or draws further shapes on it.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
    files = [each.copy_picture(out / "images") for each in asked]
    if asked[0].pixels is not None:
        _write_points(asked, files, out)
        return [f"Write the class of each pixel into the last column of {out.name}/{TABLE}."]
    for each, file in zip(asked, files, strict=True):
        _write_mask(each, class_names, out / "masks" / f"{each.name}.png")
        _write_labelme(each, file, out / "labelme" / f"{each.name}.json")
    return [
        f"Paint what has the id {TO_PAINT} (magenta) in {out.name}/masks/ with class ids; the rest stays {VOID}, void.",
        f"Or open {out.name}/labelme/ with LabelMe, give each region its class instead of {IGNORE}, and remove masks/.",
    ]


def _write_points(asked: Sequence[Asked], files: Sequence[Path], out: Path) -> None:
    with (out / TABLE).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for each, file in zip(asked, files, strict=True):
            assert each.pixels is not None
            name = file.relative_to(out / "images").as_posix()
            writer.writerows((name, x, y, "") for x, y in each.pixels.tolist())


def _write_mask(asked: Asked, class_names: Sequence[str], target: Path) -> None:
    ids = np.full(asked.size, TO_PAINT if asked.regions is None else VOID, np.uint8)
    for region in asked.regions or ():
        ids[region.window][region.mask] = TO_PAINT
    colours = palette(len(class_names), background_class(class_names))
    colours[TO_PAINT] = TO_PAINT_COLOUR
    image = Image.fromarray(ids)
    image.putpalette(colours.tobytes())
    target.parent.mkdir(parents=True, exist_ok=True)
    image.save(target, format="PNG")


def _write_labelme(asked: Asked, picture: Path, target: Path) -> None:
    height, width = asked.size
    content: dict[str, Any] = {
        "version": "5.5.0",
        "flags": {},
        "shapes": [_shape(_whole(height, width), None), *map(_region_shape, asked.regions or (), itertools.count(1))],
        "imagePath": Path(os.path.relpath(picture, target.parent)).as_posix(),
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _whole(height: int, width: int) -> np.ndarray:
    return np.array([[0, 0], [width, 0], [width, height], [0, height]])


def _region_shape(region: Patch, number: int) -> dict[str, Any]:
    return _shape(joined_ring(region), number)


def _shape(ring: np.ndarray, number: int | None) -> dict[str, Any]:
    description = "the rest of the picture, which is void" if number is None else f"region {number}: to be labelled"
    return {
        "label": IGNORE,
        "points": ring.tolist(),
        "group_id": None,
        "description": description,
        "shape_type": "polygon",
        "flags": {},
    }


def write_masks(dataset: Dataset, splits: Mapping[str, Sequence[Known]], out: Path) -> str:
    """Writes the layout `folder` with lists of the splits: pixels whose class is not known are void."""
    out.mkdir(parents=True)
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in dataset.class_names), encoding="utf-8")
    (out / "masks").mkdir()
    for split, members in splits.items():
        names = [f"{split}_{number:06d}" for number in range(len(members))]
        for name, known in zip(names, members, strict=True):
            known.place_picture(dataset, out / "images" / name)
            mask = dataset.load_mask(known.record)
            write_png(
                out / "masks" / f"{name}.png", mask if known.pixels is None else np.where(known.pixels, mask, VOID)
            )
        (out / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return "folder"
