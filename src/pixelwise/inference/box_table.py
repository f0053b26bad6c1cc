"""What a network finds in many pictures, as one table of boxes, and drawn."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from pixelwise.data.pictures import write_png
from pixelwise.inference.box_predictor import BoxPredictor
from pixelwise.inference.many import complain, each, refuse_to_overwrite, write_table
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
    refuse_to_overwrite([table, *(drawn if overlay else [])])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["picture", "class", "confidence", "x0", "y0", "x1", "y1"])

    def write(number: int, file: Path) -> None:
        found = predictor(file)
        name = file.relative_to(root.absolute()).as_posix()
        for box, class_id, confidence in zip(
            found.boxes.tolist(), found.classes.tolist(), found.confidences.tolist(), strict=True
        ):
            edges = [f"{edge:.2f}" for edge in box]
            writer.writerow([name, found.class_names[class_id], f"{confidence:.6f}", *edges])
        if overlay:
            drawn[number].parent.mkdir(parents=True, exist_ok=True)
            write_png(drawn[number], found.overlay())

    failed = each(files, write, progress)
    write_table(table, text.getvalue())
    complain(failed, len(files))
    return table
