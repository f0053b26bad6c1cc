"""Annotation files damaged at random: whatever stands in them, a sentence or a finding comes out, never a traceback."""

from __future__ import annotations

import base64
import copy
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelwise.data import rle
from pixelwise.data.doctor import examine
from pixelwise.data.formats import open_dataset
from pixelwise.errors import UserError

HEIGHT, WIDTH = 6, 8
NAMES = ("a", "b", "c")
JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 3, 1.5, 1e308, -1e308, float("nan"), float("inf"), 10**30, "", "x", "7", "a.png",
    "\ud800", [], [[]], [1], [[1, 2]], [[[1, 2], [3, 4]]], ["x", None], {}, {"size": [6, 8], "counts": "~"}, {"x": [1]},
)  # fmt: skip
"""A value of every JSON type, and those of each that are near to what is expected."""


def coco() -> dict[str, Any]:
    square, whole = [[1, 1, 5, 1, 5, 4, 1, 4]], np.eye(HEIGHT, WIDTH)
    outlines = [
        square,
        {"size": [HEIGHT, WIDTH], "counts": rle.compress(rle.encode(whole))},
        {"size": [HEIGHT, WIDTH], "counts": rle.encode(whole).tolist()},
        [],
    ]
    return {
        "images": [
            {"id": number, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH}
            for number, name in enumerate(NAMES)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {
                "id": number,
                "image_id": number % 3,
                "category_id": 1 + number % 2,
                "segmentation": outline,
                "bbox": [1, 1, 2, 3],
                "iscrowd": 0,
            }
            for number, outline in enumerate(outlines)
        ],
    }


def labelme() -> dict[str, Any]:
    stream = io.BytesIO()
    Image.fromarray(np.ones((2, 3), bool)).save(stream, format="PNG")
    kinds: list[tuple[str, list[list[float]]]] = [
        ("polygon", [[1, 1], [5, 1], [5, 4]]),
        ("rectangle", [[1, 1], [5, 4]]),
        ("circle", [[3, 3], [4, 3]]),
        ("mask", [[1, 1], [3, 2]]),
        ("point", [[1, 1]]),
        ("polygon", [[6, 1], [7, 1], [7, 4]]),
    ]
    return {
        "version": "5.4.1",
        "shapes": [
            {
                "label": "cat",
                "shape_type": kind,
                "points": points,
                "group_id": 1 if kind == "polygon" else None,
                "mask": base64.b64encode(stream.getvalue()).decode(),
            }
            for kind, points in kinds
        ],
        "imagePath": "a.png",
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }


TABLE = "ImageId,ClassId,EncodedPixels\na.png,1,3 4 13 2\na.png,2,20 3\nb.png,1,\nc.png,2,1 1\n"
CELLS = ("", "nan", "-1", "1 2 3", "1 0", "9" * 30, "x", "[1, 2]", '"', "a.png", "\x00", "1,2", ";", "1e3", "é", "48 1")


XML = (
    "<annotation><filename>a.png</filename><size><width>8</width><height>6</height><depth>3</depth></size>"
    "<object><name>cat</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>5</xmax><ymax>6</ymax>"
    "</bndbox></object><object><name>dog</name><polygon><x1>1</x1><y1>1</y1><x2>5</x2><y2>1</y2><x3>5</x3><y3>4</y3>"
    "</polygon></object></annotation>"
)
LINES = "0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.9 0.1 0.9 0.8\n0 0.25 0.25 0.5 0.5\n"
YAML = "train: [.]\nval: images/val\nkpt_shape: [2, 3]\nnames:\n  0: cat\n  1: dog\n"
WORDS = ("", "nan", "inf", "-1", "1e308", "9" * 400, "x", "0", "1.5", "<", "&", "é", "\x00", "</object>", "\n", "# 0")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything in nested lists and objects."""
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def changed(content: Any, rng: np.random.Generator) -> Any:
    """One value replaced by junk, removed, or there twice."""
    content = copy.deepcopy(content)
    found = list(places(content))
    *above, key = found[rng.integers(len(found))]
    holder = content
    for step in above:
        holder = holder[step]
    what = rng.integers(10)
    if what == 0:
        del holder[key]
    elif what == 1 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    else:
        holder[key] = copy.deepcopy(JUNK[rng.integers(len(JUNK))])
    return content


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut off, or with some bits flipped."""
    if rng.random() < 0.3:
        return content[: rng.integers(len(content))]
    found = bytearray(content)
    for place in rng.integers(len(found), size=rng.integers(1, 4)):
        found[place] ^= 1 << int(rng.integers(8))
    return bytes(found)


def changed_table(rng: np.random.Generator) -> bytes:
    """A table with one cell replaced, or damaged."""
    if rng.random() < 0.3:
        return damaged(TABLE.encode(), rng)
    rows = [line.split(",") for line in TABLE.splitlines()]
    row = rows[rng.integers(0 if rng.random() < 0.1 else 1, len(rows))]
    row[rng.integers(len(row))] = CELLS[rng.integers(len(CELLS))]
    return "".join(f"{','.join(row)}\n" for row in rows).encode()


def changed_words(content: str, words: str, rng: np.random.Generator) -> bytes:
    """A text with one word replaced, or damaged."""
    if rng.random() < 0.3:
        return damaged(content.encode(), rng)
    places = [match.span() for match in re.finditer(words, content)]
    start, stop = places[rng.integers(len(places))]
    return (content[:start] + WORDS[rng.integers(len(WORDS))] + content[stop:]).encode()


def changed_json(make: Callable[[], dict[str, Any]], rng: np.random.Generator) -> bytes:
    if rng.random() < 0.3:
        return damaged(json.dumps(make()).encode(), rng)
    return json.dumps(changed(make(), rng)).encode()


@pytest.mark.parametrize(
    ("file", "layout", "make"),
    [
        ("x.json", "coco", lambda rng: changed_json(coco, rng)),
        ("a.json", "labelme", lambda rng: changed_json(labelme, rng)),
        ("x.csv", "rle_csv", changed_table),
        ("a.xml", "voc_xml", lambda rng: changed_words(XML, r"(?<=>)[^<>]+(?=</)", rng)),
        ("a.txt", "yolo", lambda rng: changed_words(LINES, r"\S+", rng)),
        ("data.yaml", "yolo", lambda rng: changed_words(YAML, r"[^\s:]+", rng)),
    ],
)
def test_only_sentences_and_findings_come_out(
    tmp_path: Path, file: str, layout: str, make: Callable[[np.random.Generator], bytes]
) -> None:
    for number, name in enumerate(NAMES):
        pixels = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    if layout == "labelme":
        for name in NAMES[1:]:
            (tmp_path / f"{name}.json").write_text(json.dumps({**labelme(), "imagePath": f"{name}.png"}))
    for name in NAMES if layout in ("voc_xml", "yolo") else ():
        (tmp_path / f"{name}.xml").write_text(XML if layout == "voc_xml" else "")
        (tmp_path / f"{name}.txt").write_text(LINES if layout == "yolo" else "")
    rng = np.random.default_rng(13)
    opened = 0
    for _ in range(150):
        (tmp_path / file).write_bytes(make(rng))
        try:
            dataset = open_dataset(tmp_path, layout)
        except UserError:
            pass
        else:
            opened += 1
            for record in dataset.records:
                with suppress(UserError):
                    dataset.load(record)
        diagnosis = examine(tmp_path)
        json.dumps(diagnosis.to_dict()).encode()
        "".join(finding.sentence for finding in diagnosis.findings).encode()
    assert opened > 50
