"""What a classifier says of many pictures, as one table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from pixelwise.inference.class_predictor import ClassPredictor
from pixelwise.inference.many import complain, each, refuse_to_overwrite, write_table

NAME = "predictions.csv"
RANKS = 5


def write_classes(
    predictor: ClassPredictor, files: Sequence[Path], root: Path, out: Path, progress: Callable[[float], None]
) -> Path:
    """Writes `out/predictions.csv`: a line for each picture, relative to `root`, its most probable classes and their
    probabilities in falling order.

    Raises:
        UserError: the table exists already, or pictures that could not be read, once all others are written.
    """
    table = out / NAME
    refuse_to_overwrite([table])
    ranks = min(RANKS, len(predictor.class_names))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    more = [f"{word}_{rank}" for rank in range(2, ranks + 1) for word in ("class", "probability")]
    writer.writerow(["picture", "class", "probability", *more])

    def write(number: int, file: Path) -> None:
        best = predictor(file).top(ranks)
        cells = [cell for name, probability in best for cell in (name, f"{probability:.6f}")]
        writer.writerow([file.relative_to(root.absolute()).as_posix(), *cells])

    failed = each(files, write, progress)
    write_table(table, text.getvalue())
    complain(failed, len(files))
    return table
