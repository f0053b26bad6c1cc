"""`pixelwise demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.process import prepare_for_networks
from pixelwise.errors import unknown


def demo(
    lesson: Annotated[
        str,
        typer.Argument(
            metavar="LESSON",
            help="scenes shows all steps from data to report; overfitting shows what overfitting is and what helps.",
        ),
    ] = "scenes",
    minutes: Annotated[
        float | None,
        typer.Option(metavar="MINUTES", min=0.05, help="Time for training and measuring; about 3 minutes by default."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for all results; by default it is named after the lesson."),
    ] = None,
) -> None:
    """Show all steps on embedded data: check, train, measure, predict a large picture, report."""
    if lesson not in LESSONS:
        raise unknown("lesson", lesson, LESSONS)
    prepare_for_networks()
    LESSONS[lesson](minutes, out)


def _scenes(minutes: float | None, out: Path | None) -> None:
    from pixelwise import api
    from pixelwise import demo as steps
    from pixelwise.cli.tables import number, print_result
    from pixelwise.data.doctor import render
    from pixelwise.terminal import show

    out = out or Path("demo")
    data = steps.prepare(out)
    print(f"scenes of handwritten digits on photographs: {data}")
    show(render(api.check(data)))
    run, baselines = steps.train(data, out, minutes or 3.0)
    folder, score = steps.predict_large(run, out)
    print_result(run)
    print(f"large:  {folder} (a scene of {steps.LARGE[1]} x {steps.LARGE[0]} pixels in tiles, mean IoU {score:.4f})\n")
    print("mean IoU over the 11 classes, on the same held-out scenes:")
    for name, value in {"this network": run.metrics["mean_iou"], **baselines}.items():
        print(f"  {number(value)}  {name}")


def _overfitting(minutes: float | None, out: Path | None) -> None:
    from pixelwise import demo as steps
    from pixelwise.cli.train import print_variants

    print_variants(steps.overfitting(out or Path("demo-overfitting"), minutes))


LESSONS = {"overfitting": _overfitting, "scenes": _scenes}
"""The lessons by name."""
