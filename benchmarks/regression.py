"""Regression per pixel on nuclei: distances to the borders of cells, and the cells found from the distances.

    python benchmarks/regression.py [--minutes 6]

The label maps are converted to maps of distances (`data.distances.write_distance_maps`), and a U-Net learns them. Its
predictions for the held-out pictures are turned into cells in two ways: the connected components of all pixels that are
not background, and the hills of the distances (`tasks.regress.objects`). Cells that touch are one component, but two
hills. Data is read from $PIXELWISE_SHARED (default ../shared).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import cv2
import numpy as np

from pixelwise import api, hardware
from pixelwise.data.distances import write_distance_maps
from pixelwise.data.formats import open_dataset
from pixelwise.errors import UserError
from pixelwise.metrics.instances import InstanceScore
from pixelwise.tasks.regress.objects import objects_of_distances

SHARED = Path(os.environ.get("PIXELWISE_SHARED", Path(__file__).parents[2] / "shared"))
MIN_DISTANCE = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--run", type=Path, help="a finished run on such maps, instead of a new one")
    arguments = parser.parse_args()
    nuclei = SHARED / "data" / "nuclei"
    if not nuclei.is_dir():
        raise UserError(f"{nuclei}: no such data; set PIXELWISE_SHARED.")
    with tempfile.TemporaryDirectory() as folder:
        maps = Path(folder) / "distances"
        write_distance_maps(nuclei, maps)
        path = arguments.run
        if path is None:
            run = api.train(
                "unet",
                data=maps,
                minutes=arguments.minutes,
                out=Path(folder) / "run",
                overrides={"model.weights": "none", "augment.flip": "both"},
                progress=True,
            )
            path = run.path
        metrics = api.evaluate(path, data=maps)
        components, hills = InstanceScore(), InstanceScore()
        dataset, predict = open_dataset(nuclei), api.load(path)
        stems = {Path(name).name for name in open_dataset(maps).splits["val"]}
        for record in dataset.records:
            if not stems & {Path(record.name).name, record.picture.stem}:
                continue
            sample = dataset.load(record)
            assert sample.instances is not None
            assert sample.instances.ids is not None
            distances = predict(sample.image).values
            found = cv2.connectedComponents((distances > MIN_DISTANCE).astype(np.uint8), connectivity=8)[1]
            components.update(found, sample.instances.ids)
            hills.update(objects_of_distances(distances, least=MIN_DISTANCE), sample.instances.ids)
    print(f"{hardware.describe()['processor']}, {hardware.describe()['threads']} threads")
    print(f"MAE {metrics['mae']:.3f} px, RMSE {metrics['rmse']:.3f} px, R2 {metrics['r2']:.3f}")
    print("\n| cells from distances | F1 at IoU 0.5 | DSB score | aggregated Jaccard |\n|---|---|---|---|")
    for name, score in (("connected components", components), ("hills (watershed)", hills)):
        print(f"| {name} | {score.f1(0.5):.3f} | {score.dsb_score():.3f} | {score.aggregated_jaccard():.3f} |")


if __name__ == "__main__":
    main()
