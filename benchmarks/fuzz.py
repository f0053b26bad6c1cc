"""Damages small datasets, recipes and model files at random, and counts the outcomes.

    python benchmarks/fuzz.py --attempts 10000 --seed 0

An attempt copies one of the datasets below, damages up to three of its files (bits flipped, cut short, values of JSON
and cells of tables replaced by junk, other pictures, no bytes at all, another name, a copy), and then checks the copy,
opens it, and reads every labelled picture. A result, findings, and an error of one sentence (`UserError`) are allowed.
Everything else is a failure, including a warning from numpy, a changed file, and an attempt of more than `LIMIT`
seconds. Failures are printed with the seed that repeats them.
"""

from __future__ import annotations

import argparse
import copy
import csv
import io
import json
import logging
import shutil
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import yaml
from PIL import Image

import pixelwise
from pixelwise.catalog import create_model, load_model
from pixelwise.data.doctor import examine
from pixelwise.data.formats import open_dataset
from pixelwise.data.pictures import PictureFormat
from pixelwise.errors import UserError
from pixelwise.models.spec import ModelSpec, save_model
from pixelwise.training import recipes

LIMIT = 10.0
"""Seconds per attempt."""
HEIGHT, WIDTH = 24, 32
MEAN, STD = (127.0,) * 3, (60.0,) * 3
JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 3, 1.5, 1e308, -1e308, float("nan"), float("inf"), 10**30, "", "x", "7", "p1.png",
    "\ud800", [], [[]], [1], [[1, 2]], [[[1, 2], [3, 4]]], ["x", None], {}, {"size": [6, 8], "counts": "~"}, {"x": [1]},
)  # fmt: skip
CELLS = ("", "nan", "-1", "1 2 3", "1 0", "9" * 30, "x", "[1, 2]", '"', "p1.png", "\x00", "1,2", ";", "\t", "é", "48 1")


def picture(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    return np.kron(rng.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3)), np.ones((4, 4, 1))).astype(np.uint8)


def mask(number: int) -> np.ndarray:
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[4 : 12 + number, 4:20], ids[16:20, 22:30] = 1, 2
    return ids


def save(file: Path, array: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".tif":
        tifffile.imwrite(file, array, extratags=[(274, 3, 1, 1, True)])
    else:
        Image.fromarray(array).save(file)


def with_masks(root: Path) -> None:
    for number, suffix in enumerate(("png", "jpg", "tif", "png")):
        save(root / f"images/p{number}.{suffix}", picture(number))
        save(root / f"masks/p{number}.{'tif' if number == 2 else 'png'}", mask(number))
    (root / "classes.txt").write_text("background 0 0 0\ncat 255 0 0\ndog 0 255 0\n")
    (root / "train.txt").write_text("p0\np1\n")
    (root / "val.txt").write_text("p2\np3\n")
    (root / "groups.csv").write_text("picture,group\np0,a\np1,a\np2,b\np3,b\n")


def with_palette(root: Path) -> None:
    for number in range(4):
        save(root / f"JPEGImages/p{number}.jpg", picture(number))
        image = Image.fromarray(mask(number))
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        (root / "SegmentationClass").mkdir(exist_ok=True)
        image.save(root / f"SegmentationClass/p{number}.png")


def with_coco(root: Path) -> None:
    outlines: list[Any] = [[[1, 1, 9, 1, 9, 9, 1, 9]], {"size": [HEIGHT, WIDTH], "counts": [10, 5, 753]}, []]
    content = {
        "images": [{"id": n, "file_name": f"p{n}.png", "height": HEIGHT, "width": WIDTH} for n in range(4)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": [
            {"id": n, "image_id": n % 4, "category_id": (1, 7)[n % 2], "segmentation": outlines[n % 3],
             "bbox": [2, 2, 5, 5], "iscrowd": n % 2}
            for n in range(6)
        ],
    }  # fmt: skip
    for number in range(4):
        save(root / f"images/p{number}.png", picture(number))
    (root / "annotations.json").write_text(json.dumps(content))


def with_labelme(root: Path) -> None:
    for number in range(4):
        save(root / f"p{number}.png", picture(number))
        shapes = [
            {"label": "cat", "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon", "group_id": 1},
            {"label": "cat", "points": [[12, 1], [19, 1], [19, 9]], "shape_type": "polygon", "group_id": 1},
            {"label": "dog", "points": [[20, 12], [24, 12]], "shape_type": "circle", "group_id": None},
        ]
        content = {"shapes": shapes, "imagePath": f"p{number}.png", "imageHeight": HEIGHT, "imageWidth": WIDTH}
        (root / f"p{number}.json").write_text(json.dumps(content))


def with_xml(root: Path) -> None:
    for number in range(4):
        save(root / f"JPEGImages/p{number}.jpg", picture(number))
        box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"
        text = (
            f"<annotation><filename>p{number}.jpg</filename><size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
            f"<object><name>cat</name><difficult>{number % 2}</difficult>{box}</object></annotation>"
        )
        (root / "Annotations").mkdir(exist_ok=True)
        (root / f"Annotations/p{number}.xml").write_text(text)


def with_lines(root: Path) -> None:
    (root / "labels").mkdir()
    for number in range(4):
        save(root / f"images/p{number}.png", picture(number))
        (root / f"labels/p{number}.txt").write_text("0 0.5 0.5 0.2 0.4\n1 0.1 0.1 0.9 0.1 0.9 0.9\n")
    (root / "data.yaml").write_text("path: .\ntrain: images\nnames: {0: cat, 1: dog}\n")


def with_runs(root: Path) -> None:
    for number in range(4):
        save(root / f"images/p{number}.png", picture(number))
    (root / "train.csv").write_text(
        "ImageId,ClassId,EncodedPixels\np0.png,1,3 4 33 4\np0.png,2,100 9\np1.png,1,\np2.png,2,1 1\np3.png,1,50 20\n"
    )


def with_classes(root: Path) -> None:
    for number in range(8):
        save(root / ("cat", "dog")[number % 2] / f"x{number}.png", picture(number))
    (root / "classes.txt").write_text("cat\ndog\n")


def with_values(root: Path) -> None:
    for number in range(4):
        save(root / f"images/p{number}.png", picture(number))
        save(root / f"depth/p{number}.tif", mask(number).astype(np.float32) / 3)
    (root / "values.txt").write_text("scale 0.5\nunit m\n")


def with_idx(root: Path) -> None:
    images = np.stack([picture(number)[:, :, 0] for number in range(6)])
    head = b"\0\0\x08\x03" + b"".join(side.to_bytes(4, "big") for side in images.shape)
    (root / "train-images-idx3-ubyte").write_bytes(head + images.tobytes())
    (root / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x06" + bytes([0, 1, 2, 0, 1, 2]))


DATASETS: dict[str, Callable[[Path], None]] = {
    "pictures and masks": with_masks,
    "Pascal VOC": with_palette,
    "COCO": with_coco,
    "LabelMe": with_labelme,
    "Pascal VOC's XML": with_xml,
    "YOLO's txt": with_lines,
    "tables of run lengths": with_runs,
    "sorted pictures": with_classes,
    "maps of values": with_values,
    "idx": with_idx,
}


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the keys that lead to every value in nested dicts and lists."""
    if above:
        yield above
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*above, key))


def with_junk(content: Any, rng: np.random.Generator) -> Any:
    """Returns a copy in which one value is replaced by junk, removed, or repeated."""
    content = copy.deepcopy(content)
    found = list(places(content))
    if not found:
        return JUNK[rng.integers(len(JUNK))]
    *path, last = found[rng.integers(len(found))]
    here = content
    for key in path:
        here = here[key]
    what = rng.integers(10)
    if what == 0:
        del here[last]
    elif what == 1 and isinstance(here, list):
        here.append(copy.deepcopy(here[last]))
    else:
        here[last] = copy.deepcopy(JUNK[rng.integers(len(JUNK))])
    return content


def spoilt_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Returns the bytes with bits flipped, cut short, with four bytes overwritten, or with a part repeated."""
    changed = bytearray(content)
    what = rng.integers(4)
    if not changed or what == 0:
        return bytes(changed[: int(rng.integers(0, len(changed) + 1))])
    if what == 1:
        for place in rng.integers(0, min(len(changed), 600), rng.integers(1, 9)):
            changed[place] ^= 1 << int(rng.integers(8))
    elif what == 2:
        start = int(rng.integers(0, min(len(changed), 300)))
        changed[start : start + 4] = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\1\0\0\0")[rng.integers(4)]
    else:
        start = int(rng.integers(0, len(changed)))
        changed[start:start] = changed[start : start + int(rng.integers(1, 64))]
    return bytes(changed)


def spoilt_text(file: Path, rng: np.random.Generator) -> bytes:
    """Returns a JSON, YAML or text file with junk in one place, in one of several encodings."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".json":
        text = json.dumps(with_junk(json.loads(text), rng))
    elif file.suffix == ".yaml":
        text = yaml.safe_dump(with_junk(yaml.safe_load(text), rng))
    else:
        rows = list(csv.reader(io.StringIO(text))) or [[""]]
        row = rows[rng.integers(len(rows))] or [""]
        row[rng.integers(len(row))] = CELLS[rng.integers(len(CELLS))]
        text = "".join(f"{','.join(cells)}\n" for cells in rows)
    encoding = ("utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252")[rng.integers(5)]
    return text.encode(encoding, "replace")


def odd_picture(suffix: str, rng: np.random.Generator) -> bytes:
    """Returns a picture file with another size, bit depth or number of channels."""
    shape = [(1, 1), (HEIGHT, WIDTH), (1, 500), (HEIGHT, WIDTH, 3), (HEIGHT, WIDTH, 4), (3, HEIGHT, WIDTH)][
        rng.integers(6)
    ]
    stream = io.BytesIO()
    if suffix == ".tif":
        dtype = (np.uint8, np.uint16, np.int16, np.float32, np.float64, np.bool_)[rng.integers(6)]
        array = (rng.normal(0, 1e3, shape)).astype(dtype)
        if array.dtype.kind == "f":
            array.flat[0] = (np.nan, np.inf, -9999, -3.4e38)[rng.integers(4)]
        tifffile.imwrite(stream, array)
    else:
        array = rng.integers(0, 256, shape if shape[0] != 3 else (HEIGHT, WIDTH)).astype(np.uint8)
        Image.fromarray(array).save(stream, ("PNG", "JPEG", "GIF")[rng.integers(3)] if array.ndim < 3 else "PNG")
    return stream.getvalue()


def spoil(root: Path, rng: np.random.Generator) -> None:
    """Damages up to three files of a dataset."""
    files = sorted(file for file in root.rglob("*") if file.is_file())
    for file in rng.choice(np.array(files, object), min(len(files), int(rng.integers(1, 4))), replace=False):
        what = rng.integers(12)
        if what == 0:
            file.write_bytes(b"")
        elif what == 1:
            file.unlink()
        elif what == 2:
            file.with_name(f"copy_{file.name}").write_bytes(file.read_bytes())
        elif what == 3:
            file.rename(file.with_name(f"{file.stem} (1){file.suffix}"))
        elif what < 6 or (file.suffix in (".json", ".csv", ".txt") and what < 10):
            is_text = file.suffix in (".json", ".csv", ".txt")
            file.write_bytes(spoilt_text(file, rng) if is_text else odd_picture(file.suffix, rng))
        else:
            file.write_bytes(spoilt_bytes(file.read_bytes(), rng))


def contents(root: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}


def read_dataset(root: Path) -> str:
    """Checks and reads a dataset; returns `a result`, `findings` or `a sentence`.

    Raises:
        RuntimeError: opening refuses a dataset in which the check found no error, or a file was changed.
    """
    before = contents(root)
    diagnosis = examine(root)
    outcome = "findings" if any(finding.severity != "note" for finding in diagnosis.findings) else "a result"
    try:
        dataset = open_dataset(root)
        for record in dataset.records:
            if record.labelled:
                dataset.load(record)
    except UserError as error:
        outcome = one_sentence(error)
        if diagnosis.ok:
            raise RuntimeError("the check finds the data ready for training, but opening it fails") from error
    if contents(root) != before:
        raise RuntimeError("a file was changed")
    return outcome


def one_sentence(error: UserError) -> str:
    if "\n" in str(error):
        raise RuntimeError("an error message of several lines")
    return "a sentence"


def read_file(load: Callable[[Path], object], file: Path) -> str:
    before = file.read_bytes()
    try:
        load(file)
        outcome = "a result"
    except UserError as error:
        outcome = one_sentence(error)
    if file.read_bytes() != before:
        raise RuntimeError("the file was changed")
    return outcome


class Fuzz:
    """Keeps intact inputs in a folder, and makes attempts on damaged copies of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, build in DATASETS.items():
            (folder / name).mkdir(parents=True)
            build(folder / name)
        options = {"encoder": None, "width": 4, "in_channels": 3, "num_classes": 2}
        spec = ModelSpec(
            model="unet", options=options, class_names=("background", "cat"), form=PictureFormat(), mean=MEAN, std=STD
        )
        save_model(folder / "model.safetensors", create_model("unet", **options).state_dict(), spec)
        self.recipes = sorted((Path(pixelwise.__file__).parent / "recipes").glob("*.yaml"))
        self.kinds = (*DATASETS, "recipes", "model files")

    def attempt(self, kind: str, seed: int) -> str:
        """Makes one attempt and returns its outcome."""
        rng = np.random.default_rng(seed)
        target = self.folder / "attempt"
        shutil.rmtree(target, ignore_errors=True)
        if kind in DATASETS:
            shutil.copytree(self.folder / kind, target)
            spoil(target, rng)
            return read_dataset(target)
        target.mkdir()
        if kind == "recipes":
            file = target / "recipe.yaml"
            intact = self.recipes[rng.integers(len(self.recipes))]
            file.write_bytes(spoilt_text(intact, rng) if rng.random() < 0.7 else spoilt_bytes(intact.read_bytes(), rng))
            return read_file(recipes.load_recipe, file)
        file = target / "model.safetensors"
        file.write_bytes(spoilt_bytes((self.folder / file.name).read_bytes(), rng))
        return read_file(load_model, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", RuntimeWarning)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # as the command line does
    counts: dict[str, Counter[str]] = {}
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(Path(folder))
        for number in range(arguments.attempts):
            kind, seed = fuzz.kinds[number % len(fuzz.kinds)], arguments.seed + number
            start = time.perf_counter()
            try:
                outcome = fuzz.attempt(kind, seed)
            except Exception:
                outcome = "FAILURE"
                print(f"{kind}, seed {seed}:\n{traceback.format_exc()}")
            seconds = time.perf_counter() - start
            slowest = max(slowest, seconds)
            if seconds > LIMIT:
                outcome = "FAILURE"
                print(f"{kind}, seed {seed}: {seconds:.0f} s")
            counts.setdefault(kind, Counter())[outcome] += 1
    outcomes = ("a result", "findings", "a sentence", "FAILURE")
    print(f"| damaged | {' | '.join(outcomes)} |\n|---|{'---:|' * len(outcomes)}")
    for kind, found in counts.items():
        print(f"| {kind} | {' | '.join(f'{found[outcome]:,}' for outcome in outcomes)} |")
    print(f"slowest attempt {slowest:.1f} s")


if __name__ == "__main__":
    main()
