"""The files of a suggestion: a ranked table, overlays, and label files that are prepared for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pixelwise.active.candidates import Candidate
from pixelwise.active.pool import pixels_of
from pixelwise.data.draw import to_rgb
from pixelwise.data.listing import counted
from pixelwise.data.pictures import write_png
from pixelwise.data.record import Record
from pixelwise.inference.many import write_rows
from pixelwise.inference.rasters import open_raster
from pixelwise.inference.writer import output_names
from pixelwise.models.spec import ModelSpec
from pixelwise.report.boxes import write_label
from pixelwise.tasks.base import Task
from pixelwise.tasks.labelling import Asked

TABLE, OVERLAYS, TO_LABEL = "suggested.csv", "overlays", "to_label"
COLUMNS = {
    "pictures": ("picture", "rank", "score", "reason"),
    "regions": ("picture", "rank", "score", "x0", "y0", "x1", "y1", "area", "reason"),
    "pixels": ("picture", "rank", "score", "x", "y", "reason"),
}
"""Unit -> the columns of the table. A region's place is its box (`xyxy` in pixels) and its area in pixels."""
COLOUR = (255, 0, 255)
RIMMED = (((255, 255, 255), 2), (COLOUR, 0))
"""Lines are drawn twice, with a white rim of one pixel on each side, so that they show on every colour."""


@dataclass(frozen=True, slots=True, eq=False)
class Suggested:
    """Something that a person is asked to label.

    Attributes:
        rank: from 1.
        picture: the name in the table.
        score: what the strategy measured, in its units; NaN for the strategy `random`.
        reason: in words.
    """

    rank: int
    record: Record
    picture: str
    candidate: Candidate
    score: float
    reason: str

    def row(self) -> list[object]:
        """The row of the table."""
        place: list[object] = []
        if self.candidate.region is not None:
            ys, xs = self.candidate.region.window
            place = [xs.start, ys.start, xs.stop, ys.stop, np.count_nonzero(self.candidate.region.mask)]
        elif self.candidate.pixel is not None:
            place = list(self.candidate.pixel)
        score = "" if np.isnan(self.score) else f"{self.score:.6g}"
        return [self.picture, self.rank, score, *place, self.reason]


def write_suggestions(
    suggested: Sequence[Suggested],
    by_picture: Sequence[Sequence[Suggested]],
    unit: str,
    task: Task,
    spec: ModelSpec,
    out: Path,
) -> list[str]:
    """Writes `suggested.csv`, `overlays/` and `to_label/` into a folder.

    Args:
        suggested: in the order of their ranks.
        by_picture: the same, grouped by picture.

    Returns:
        What was suggested and what to do with it, in sentences.
    """
    write_rows(out / TABLE, COLUMNS[unit], [each.row() for each in suggested])
    names = _names(by_picture)
    asked, covered, pixels = [], 0, 0
    for members, name in zip(by_picture, names, strict=True):
        picture = pixels_of(members[0].record)
        with open_raster(picture) as raster:
            size = raster.height, raster.width
            regions = [each.candidate.region for each in members if each.candidate.region is not None]
            points = [each.candidate.pixel for each in members if each.candidate.pixel is not None]
            if regions or points:
                drawn = out / OVERLAYS / f"{name}.png"
                drawn.parent.mkdir(parents=True, exist_ok=True)
                write_png(drawn, drawn_over(raster.read(0, size[0], 0, size[1]), members))
        covered += sum(int(np.count_nonzero(region.mask)) for region in regions) + len(points)
        pixels += size[0] * size[1]
        asked.append(
            Asked(
                picture,
                name,
                size,
                regions if unit == "regions" else None,
                np.array(points, np.int64).reshape(-1, 2) if unit == "pixels" else None,
            )
        )
    advice = task.prepare_labels(asked, spec, out / TO_LABEL)
    what = counted(len(suggested), unit.removesuffix("s"), unit)
    where = ""
    if unit != "pictures":
        where = f" in {counted(len(asked), 'picture', 'pictures')}, {100 * covered / pixels:.2g} % of their pixels"
    return [f"{what} suggested{where}.", *advice]


def drawn_over(image: np.ndarray, members: Sequence[Suggested]) -> np.ndarray:
    """(H, W, 3) uint8: a picture with the outlines and ranks of the suggested regions, or circles around the pixels."""
    picture = np.ascontiguousarray(to_rgb(image))
    line = max(1, round(max(picture.shape[:2]) / 300))
    for each in members:
        region, pixel = each.candidate.region, each.candidate.pixel
        if region is not None:
            whole = np.zeros(picture.shape[:2], np.uint8)
            whole[region.window] = region.mask
            contours, _ = cv2.findContours(whole, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            for colour, width in RIMMED:
                cv2.drawContours(picture, contours, -1, colour, line + width)
        if pixel is not None:
            for colour, width in RIMMED:
                cv2.circle(picture, pixel, 3 * line + 1, colour, line + width, cv2.LINE_AA)
    for each in reversed(members):
        region = each.candidate.region
        if region is not None:
            top = region.left + int(region.mask[0].argmax())
            picture = write_label(picture, str(each.rank), (top, region.top), COLOUR)
    return picture


def _names(by_picture: Sequence[Sequence[Suggested]]) -> list[str]:
    """A name without suffix for each picture's files: the path below the pool, with the position if there is one."""
    paths = [Path(members[0].picture.replace("#", "-")) for members in by_picture]
    return output_names(paths, Path())
