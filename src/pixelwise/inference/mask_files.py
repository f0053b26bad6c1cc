"""What a network that labels pixels says of many pictures, a mask for each."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from skimage.measure import regionprops_table

from pixelwise.data.pictures import read_ids
from pixelwise.errors import UserError, unknown
from pixelwise.inference.instances import INSTANCES, label_objects
from pixelwise.inference.many import complain, each, refuse_to_overwrite, write_table
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.writer import MaskWriter, output_names

TABLE = "instances.csv"
COLUMNS = ("picture", "instance", "class", "pixels", "x0", "y0", "x1", "y1", "centre_x", "centre_y")
MOST = np.iinfo(np.uint16).max
LARGEST = 50_000_000
"""Pixels of a mask in which objects are told apart; some 3 GB of memory."""


def write_masks(
    predictor: Predictor,
    files: Sequence[Path],
    root: Path,
    out: Path,
    progress: Callable[[float], None],
    *,
    overlay: bool = False,
    boundaries: bool = False,
    instances: str | None = None,
) -> list[Path]:
    """Writes `out/NAME.png` for each picture (TIFF for huge ones), named by its place below `root`.

    Args:
        overlay, boundaries, instances: see `api.predict`.

    Returns:
        The masks.

    Raises:
        UserError: an unknown way to instances, two results of one name, or one that exists already (before anything is
            written), or pictures that failed, once all others are written.
    """
    if instances is not None and instances not in INSTANCES:
        raise unknown("way to instances", instances, INSTANCES)
    names = output_names(files, root)
    masks = {name.lower() for name in names}
    extras: dict[str, tuple[str, ...]] = {}  # suffixes that the writer may choose from
    if overlay:
        extras["overlay"] = (".png",)
    if boundaries:
        extras["boundaries"] = (".png", ".tif")
    if instances is not None:
        extras["instances"] = (".png",)
        refuse_to_overwrite([out / TABLE])
    for name in names:
        for option in extras:
            if f"{name}_{option}".lower() in masks:
                raise UserError(
                    f"{name}_{option}: the {option} of '{name}' and the mask of another picture would both be called "
                    f"so; predict the two into different folders, or leave out --{option}."
                )
        results = [f"{name}.png", f"{name}.tif"]
        results += [f"{name}_{option}{suffix}" for option, suffixes in extras.items() for suffix in suffixes]
        refuse_to_overwrite(out / result for result in results)
    written = []
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)

    def write(number: int, file: Path) -> None:
        name = names[number]
        mask = predictor.predict_file(
            file,
            out / name,
            overlay=out / f"{name}_overlay.png" if overlay else None,
            boundaries=out / f"{name}_boundaries" if boundaries else None,
            progress=lambda done: progress((number + done) / len(files)),
        )
        written.append(mask)
        if instances is not None:
            rows = _write_instances(mask, out / f"{name}_instances.png", predictor.class_names, instances)
            table.writerows((file.relative_to(root.absolute()).as_posix(), *row) for row in rows)

    failed = each(files, write, progress)
    if instances is not None:
        write_table(out / TABLE, text.getvalue())
    complain(failed, len(files))
    return written


def _write_instances(mask_file: Path, out: Path, class_names: Sequence[str], way: str) -> list[tuple[object, ...]]:
    """Writes the label map of a mask's objects, and gives what the table says of each, all but the picture.

    Raises:
        UserError: a mask too large to be looked at as a whole, or more objects than 16 bits can number.
    """
    mask = read_ids(mask_file)
    height, width = mask.shape
    if mask.size > LARGEST:
        raise UserError(
            f"{mask_file}: written, but {width:,} x {height:,} pixels are too many to tell objects apart in, which "
            f"looks at a mask as a whole, {LARGEST:,} at most; take parts of the picture."
        )
    labels, classes = label_objects(mask, INSTANCES[way])
    if len(classes) > MOST:
        raise UserError(
            f"{mask_file}: written, but has {len(classes):,} objects; a label map of 16 bits holds {MOST:,}."
        )
    with MaskWriter(out, height, width, np.uint16) as writer:
        writer.write(labels)
    found = regionprops_table(labels, properties=("label", "area", "bbox", "centroid"))
    top, left, bottom, right = (found[f"bbox-{side}"].tolist() for side in range(4))
    y, x = ([f"{where + 0.5:.2f}" for where in found[f"centroid-{axis}"]] for axis in range(2))  # of pixel centres
    named = [class_names[class_id] for class_id in classes]
    areas = found["area"].astype(int).tolist()
    return list(zip(found["label"].tolist(), named, areas, left, top, right, bottom, x, y, strict=True))
