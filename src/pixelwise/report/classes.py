"""Sections for tasks that predict classes of pixels or of whole pictures: confusion and calibration."""

from __future__ import annotations

from pixelwise.metrics import Calibration, ConfusionMatrix
from pixelwise.report import figures
from pixelwise.report.blocks import Block, Column, Figure, Figures, Heading, Section, Table, Text, Tile
from pixelwise.report.cells import Bar, Number, Percent
from pixelwise.report.pictures import svg
from pixelwise.report.run_page import missing
from pixelwise.report.values import number, sortable

MAX_CLASSES = 32
"""With more classes, the most frequent errors replace the confusion matrix."""
CALIBRATION_ERROR = "calibration error (0 is best)"
ABSENT, NOT_PREDICTED, NOT_TRUE = "in neither truth nor prediction", "never predicted", "not in the truth"


def calibration_tile(calibration: Calibration, unit: str) -> Tile:
    """The expected calibration error as a large number.

    Args:
        unit: what has a confidence: `pixel`, `picture`.
    """
    return Tile(CALIBRATION_ERROR, calibration.ece(), f"no {unit} was counted")


def calibration_definition(unit: str) -> dict[str, str]:
    """The definition for a page that shows a calibration error."""
    return {
        "calibration error": f"The expected calibration error: {unit}s are binned by confidence. It is the distance "
        f"between the accuracy and the mean confidence of a bin, averaged over {unit}s (Guo et al. 2017)."
    }


def calibration_section(calibration: Calibration | None, unit: str) -> Section:
    """The reliability diagram, and how to read it.

    Args:
        calibration: calibration of the confidences on the evaluated split; None if they were not kept.
        unit: what has a confidence: `pixel`, `picture`.
    """
    if calibration is None:
        return Section("calibration", "Calibration", [missing("Confidences were not kept in this run.")])
    how_to_read = Text(
        f"Of the {unit}s with a confidence of 80 %, eight in ten should be right. Bars below the dashed line mean that "
        "the model is overconfident, bars above it that the model is underconfident."
    )
    error = Text(
        (
            "The expected calibration error is ",
            Number(calibration.ece(), "nothing was counted"),
            f": confidence and accuracy differ by this much, on average over {unit}s.",
        )
    )
    diagram = Figure(svg(figures.reliability_figure(calibration, unit), "reliability diagram"))
    return Section("calibration", "Calibration", [Figures([diagram, (how_to_read, error)])])


def confusion_section(confusion: ConfusionMatrix, unit: str, *, errors: bool = False) -> Section:
    """The section that shows which class each class was predicted as.

    Args:
        unit: what was counted: `pixel`, `picture`.
        errors: whether to list the most frequent errors. With more than `MAX_CLASSES` classes they are listed in any
            case, instead of the matrix.
    """
    few = confusion.num_classes <= MAX_CLASSES
    blocks: list[Block] = []
    if few:
        how_to_read = (
            f"Each row is a true class; its numbers show, in percent, which classes its {unit}s were predicted as. A "
            "perfect model has 100 on the diagonal."
        )
        matrix = svg(figures.confusion_figure(confusion), "confusion matrix")
        figure = Figure(matrix, form="wide matrix" if confusion.num_classes > 8 else "matrix")
        blocks = [Text(how_to_read, soft=True), figure]
    if errors or not few:
        rows = confused(confusion)
        columns = (
            Column("class"), Column("predicted as"), Column(f"{unit}s", right=True),
            Column("share of the class", right=True),
        )  # fmt: skip
        if rows:
            table = Table(
                columns, [(truth, taken, Number(count), Percent(share)) for truth, taken, count, share in rows]
            )
            blocks += [Heading("The most frequent errors"), table]
        else:
            blocks.append(missing(f"No {unit} was predicted as another class."))
    return Section("confusion", "Confusion", blocks)


def confused(confusion: ConfusionMatrix, most: int = 15) -> list[tuple[str, str, int, float]]:
    """(true class, predicted class, count, share of the true class) of the `most` most frequent errors."""
    counts = confusion.counts.clone()
    counts.fill_diagonal_(0)
    order = counts.flatten().argsort(descending=True, stable=True)[:most].tolist()
    rows = []
    for index in order:
        truth, predicted = divmod(index, confusion.num_classes)
        count = int(counts[truth, predicted])
        if count:
            names = confusion.class_names[truth], confusion.class_names[predicted]
            rows.append((*names, count, count / int(confusion.true_pixels[truth])))
    return rows


def class_scores_section(confusion: ConfusionMatrix, unit: str, *, without: int | None = None) -> Section:
    """The section with recall, precision and F1 of each class, best recall first, undefined last.

    Args:
        unit: what was counted: `pixel`, `picture`.
        without: a class id that the table leaves out.
    """
    columns = (
        Column("class"), Column("recall", right=True), Column(width=30), Column("precision", right=True),
        Column("F1", right=True), Column(f"{unit}s", right=True),
    )  # fmt: skip
    scores = zip(
        confusion.class_names,
        confusion.recall().tolist(),
        confusion.precision().tolist(),
        confusion.dice().tolist(),
        confusion.true_pixels.tolist(),
        strict=True,
    )
    kept = [row for class_id, row in enumerate(scores) if class_id != without]
    rows = [
        (name, Number(recall, NOT_TRUE), Bar(recall), Number(precision, NOT_PREDICTED), Number(f1, ABSENT), Number(n))
        for name, recall, precision, f1, n in sorted(kept, key=lambda row: -sortable(row[1]))
    ]
    return Section("classes", "Classes", [Table(columns, rows), Text("Best first.", soft=True)])


def counted(what: int, unit: str) -> str:
    """A sentence on how much was counted."""
    return f"{number(what)} {unit}s counted."
