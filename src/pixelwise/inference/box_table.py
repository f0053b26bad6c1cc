"""What a network finds in many pictures, as one table of boxes, and drawn."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from pixelwise.atomic import write_text
from pixelwise.data.pictures import write_png
from pixelwise.errors import UserError
from pixelwise.inference.box_predictor import BoxPredictor
from pixelwise.inference.writer import output_names

NAME = "boxes.csv"


def write_boxes(
    predictor: BoxPredictor,
    files: Sequence[Path],
    root: Path,
    out: Path,
    progress: Callable[[float], None],
    *,
    overlay: bool = False,
) -> Path:
    """Writes `out/boxes.csv`: a line for each box, with the picture (relative to `root`), the class, the confidence and
    the edges in the picture's own pixels. A picture without a box has no line.

    Args:
        overlay: also write `NAME_overlay.png` for each picture, with its boxes drawn.

    Raises:
        UserError: a result exists already, or pictures that could not be read, once all others are written.
    """
    drawn = [out / f"{name}_overlay.png" for name in output_names(files, root)]
    table = out / NAME
    for taken in [table, *(drawn if overlay else [])]:
        if taken.exists():
            raise UserError(f"{taken}: exists already and would be overwritten; give another --out, or remove it.")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["picture", "class", "confidence", "x0", "y0", "x1", "y1"])
    failed = []
    for number, (file, picture) in enumerate(zip(files, drawn, strict=True), 1):
        try:
            found = predictor(file)
            name = file.relative_to(root.absolute()).as_posix()
            for box, class_id, confidence in zip(
                found.boxes.tolist(), found.classes.tolist(), found.confidences.tolist(), strict=True
            ):
                edges = [f"{edge:.2f}" for edge in box]
                writer.writerow([name, found.class_names[class_id], f"{confidence:.6f}", *edges])
            if overlay:
                picture.parent.mkdir(parents=True, exist_ok=True)
                write_png(picture, found.overlay())
        except UserError as error:
            failed.append(str(error))
        progress(number / len(files))
    out.mkdir(parents=True, exist_ok=True)
    write_text(table, text.getvalue())
    if failed:
        done = len(files) - len(failed)
        raise UserError(f"{done} of {len(files)} pictures predicted; these failed:\n  " + "\n  ".join(failed))
    return table
