"""`pixelwise demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    minutes: Annotated[float, typer.Option(min=0.05, help="Minutes of training.")] = 3.0,
    out: Annotated[Path, typer.Option(help="Folder for everything it makes.")] = Path("demo"),
) -> None:
    """Show the whole path on embedded data: check, train, measure, predict a large picture, report."""
    from rich.console import Console

    from pixelwise import api
    from pixelwise import demo as steps
    from pixelwise.cli.tables import number, print_result
    from pixelwise.data.doctor import render

    data = steps.prepare(out)
    print(f"scenes of handwritten digits on photographs: {data}")
    Console().print(render(api.check(data)))
    run, yardsticks = steps.train(data, out, minutes)
    folder, score = steps.predict_large(run, out)
    print_result(run)
    print(f"large:  {folder} (a scene of {steps.LARGE[1]} x {steps.LARGE[0]} pixels by tiles, mean IoU {score:.4f})\n")
    print("mean IoU over the 11 classes, on the same held-out scenes:")
    for name, value in {"this network": run.metrics["mean_iou"], **yardsticks}.items():
        print(f"  {number(value)}  {name}")
