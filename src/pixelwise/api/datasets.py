"""Checks and converts datasets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pixelwise.data.doctor import Diagnosis, examine
from pixelwise.data.formats.convert import convert as write_copy
from pixelwise.data.listing import PathLike
from pixelwise.data.order import Order


def check(data: PathLike, layout: str = "auto", *, rle_order: Order = "columns") -> Diagnosis:
    """Examines a dataset and lists everything that is wrong, with files and fixes; see `pixelwise.data.doctor`."""
    return examine(Path(data), layout, rle_order)


def convert(
    data: PathLike,
    *,
    to: str,
    out: PathLike,
    splits: Sequence[str] = (),
    layout: str = "auto",
    rle_order: Order = "columns",
    points_per_picture: int | None = None,
) -> list[str]:
    """Writes a dataset in another label format: folder, voc, coco, rle_csv, points, labelme,
    voc_xml, yolo or labelmap; see `data.formats.convert`.

    Returns:
        What was done, in sentences.

    Raises:
        UserError: an unknown format or split, a folder that is not empty, or data that cannot be read.
    """
    return write_copy(
        Path(data),
        to,
        Path(out),
        splits=splits,
        layout=layout,
        rle_order=rle_order,
        points_per_picture=points_per_picture,
    )
