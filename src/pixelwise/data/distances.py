"""Distance maps of objects: regression targets that are largest in the middle of an object and smallest at its border.

A watershed of the predicted map separates touching nuclei (Naylor et al., IEEE TMI 2019), which connected components of
a mask cannot do.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pixelwise.data.dataset import UNLABELLED
from pixelwise.data.formats import open_dataset
from pixelwise.data.formats.export import Export, plain_names
from pixelwise.data.sample import Instances
from pixelwise.data.values import STATEMENTS, write_map
from pixelwise.errors import UserError


def distance_map(ids: np.ndarray, *, normalised: bool = False) -> np.ndarray:
    """For each pixel of an object, the Euclidean distance in pixels to the nearest pixel centre outside that object.

    Pixels along an object's border have 1, and pixels of no object have 0. Neighbouring objects and everything beyond
    the picture's edge count as outside, like the background.

    Args:
        ids: (H, W) label map, 0 where there is no object.
        normalised: divide each object's distances by their maximum, so that its middle has 1 whatever its size.

    Returns:
        (H, W) float32.
    """
    objects = Instances.from_label_map(ids)
    assert objects.ids is not None
    distances = np.zeros(ids.shape, np.float32)
    for number, box in enumerate(objects.boxes.astype(int).tolist(), start=1):
        left, top, right, bottom = box
        here = objects.ids[top:bottom, left:right] == number
        framed = np.pad(here, 1).astype(np.uint8)
        inside = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
        # OpenCV's square root differs in its last bit from run to run; the squared distances are whole numbers.
        inside = np.sqrt(np.rint(inside * inside))
        if normalised:
            inside /= inside.max()
        distances[top:bottom, left:right][here] = inside[here]
    return distances


def write_distance_maps(data: Path | str, out: Path | str, *, normalised: bool = False, layout: str = "auto") -> None:
    """Writes the distance maps of a dataset's objects, with copies of its pictures: the layout `values`.

    `images/`, `distance/` (float TIFF), `values.txt` and the lists of the splits; pictures without labels are left out.

    Args:
        data: a dataset whose labels are objects: label maps, one mask per object, outlines or run lengths.
        out: a new or empty folder.
        normalised: as for `distance_map`.
        layout: the layout of `data`, or `auto`.

    Raises:
        UserError: `out` holds files, data that cannot be read, or labels without objects.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists already; give a new folder for the distance maps.")
    dataset = open_dataset(data, layout)
    if dataset.coding.kind not in ("objects", "shapes"):
        raise UserError(
            f"{data}: its labels are {dataset.coding.kind}, and distance maps need objects; give label maps with one "
            "number per object, one mask per object, or outlines."
        )
    records = tuple(record for record in dataset.records if record.labels)
    splits = {split: dataset.split(split) for split in dataset.splits if split != UNLABELLED}
    export = Export(dataset, records, plain_names(records), splits)
    export.copy_pictures(out / "images")
    for record, sample in export.samples(records):
        assert sample.instances is not None
        if sample.instances.ids is None:
            raise UserError(f"{record.labels[0]}: its objects are boxes without outlines; distance maps need outlines.")
        write_map(
            out / "distance" / f"{export.names[record.name]}.tif",
            distance_map(sample.instances.ids, normalised=normalised),
        )
    write_statements(out, unit="" if normalised else "px")
    export.write_lists(out, "images/")


def write_statements(out: Path, *, unit: str) -> None:
    """Writes the values.txt of a dataset of distances."""
    lines = ["name distance", *([f"unit {unit}"] if unit else [])]
    (out / STATEMENTS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
