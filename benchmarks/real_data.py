"""U-Nets on real data: the scores that each recipe reaches in its minutes of training.

Data and weights are read from $PIXELWISE_SHARED (default ../shared): `data/camvid`, `data/nuclei`, `data/membrane`, and
`weights/mobilenet_v2_imagenet.safetensors`. Finished rows are kept, and a stopped row is resumed, so the table can be
filled bit by bit. Run one row at a time, on an otherwise idle machine.

    python benchmarks/real_data.py [ROW ...] [--out runs/real_data]
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from pixelwise import api, hardware
from pixelwise.errors import UserError
from pixelwise.training.run import Run

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))
WEIGHTS = str(SHARED / "weights" / "mobilenet_v2_imagenet.safetensors")


@dataclass(frozen=True)
class Row:
    """One run: a recipe on a dataset for some minutes."""

    recipe: str
    data: str
    minutes: float
    overrides: dict[str, object] = field(default_factory=dict)


ROWS = {
    "camvid-pretrained": Row("camvid-unet", "camvid", 20, {"model.weights": WEIGHTS}),
    "camvid-random": Row("camvid-unet", "camvid", 20, {"model.weights": "none"}),
    "membrane-original": Row("membrane-unet_original", "membrane", 8),
    "nuclei": Row("nuclei-unet", "nuclei", 5, {"model.weights": WEIGHTS}),
}


def train(name: str, out: Path) -> Run:
    """Trains a row, resumes it, or returns its finished run."""
    row = ROWS[name]
    if (out / name / "recipe.yaml").exists():
        return api.resume(out / name, progress=True)
    data = SHARED / "data" / row.data
    if not data.is_dir():
        raise UserError(f"{data}: no such data; set PIXELWISE_SHARED.")
    return api.train(row.recipe, data=data, minutes=row.minutes, out=out / name, overrides=row.overrides, progress=True)


def table_row(name: str, run: Run) -> str:
    """The row of the table: minutes, crops and scores."""
    metrics, log = run.metrics, run.log()
    last = log[-1]
    crops = last["step"] * run.planned.train.batch_size
    text = (
        f"| {name} | {ROWS[name].minutes:g} | {crops} | {metrics['mean_iou']:.4f} | {metrics['pixel_accuracy']:.4f} |"
    )
    objects = metrics.get("objects")
    if not objects:
        return text + " |"
    told = f"by {objects['separation']}: F1 at 0.5 {objects['f1_50']:.3f}, DSB 2018 {objects['dsb_score']:.3f}"
    return f"{text} {told} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"one of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--out", type=Path, default=Path("runs/real_data"))
    arguments = parser.parse_args()
    facts = hardware.describe()
    lines = [
        f"{time.strftime('%Y-%m-%d')}, {facts['processor']}, {facts['threads']} threads, {facts['precision']}",
        "",
        "| row | minutes | crops | mean IoU | pixel accuracy | objects |",
        "|---|---|---|---|---|---|",
    ]
    for name in arguments.rows or ROWS:
        lines.append(table_row(name, train(name, arguments.out)))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
