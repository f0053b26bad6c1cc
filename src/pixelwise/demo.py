"""The demo: all steps on embedded data (check, train, measure, predict a large picture, report), and a lesson."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from pixelwise import api
from pixelwise.baselines import ColourClassifier, always_background
from pixelwise.data.dataset import Dataset
from pixelwise.data.digits import write_digits
from pixelwise.data.loader import prefetch
from pixelwise.data.pictures import read_ids, write_png
from pixelwise.data.scenes import large_scene, write_scenes
from pixelwise.errors import UserError
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.training.recipes import load_recipe
from pixelwise.training.run import Run
from pixelwise.training.session import Session

LARGE = (2048, 3072)
"""Height and width of the scene that is predicted in tiles."""


def prepare(out: Path) -> Path:
    """Writes the scenes to `out/scenes`, and returns that folder.

    Raises:
        UserError: `out` is not empty.
    """
    _check_empty(out)
    write_scenes(out / "scenes")
    return out / "scenes"


def _check_empty(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists already; give another --out, or remove it.")
    out.mkdir(parents=True, exist_ok=True)


def overfitting(out: Path, minutes: float | None = None) -> Run:
    """Trains the variants of the recipe `overfitting` in `out/run`, on ten digits of each class in `out/digits`.

    Args:
        minutes: minutes for all runs together; None for the recipe's number of epochs.

    Raises:
        UserError: `out` is not empty.
    """
    _check_empty(out)
    write_digits(out / "digits")
    each = None if minutes is None else minutes / len(load_recipe("overfitting").variants)
    return api.train("overfitting", data=out / "digits", minutes=each, out=out / "run", progress=True)


def train(data: Path, out: Path, minutes: float) -> tuple[Run, Mapping[str, float | None]]:
    """Trains the recipe `scenes-unet` in `out/run`; returns the run and the mean IoU of both baselines."""
    measured: dict[str, float | None] = {}

    def measure(session: Session) -> Mapping[str, float | None]:
        measured.update(baselines(session))
        return measured

    run = api.train("scenes-unet", data=data, minutes=minutes, out=out / "run", progress=True, baselines=measure)
    return run, measured


def baselines(session: Session) -> Mapping[str, float | None]:
    """The mean IoU of both baselines on the validation pictures: background everywhere, and a classifier of colours."""
    dataset = session.data.dataset
    training = (
        (sample.image, sample.mask)
        for sample in prefetch(dataset.load, dataset.split("train"))
        if sample.mask is not None
    )
    colour = ColourClassifier().fit(training)
    return {
        "always background": _mean_iou(dataset, always_background),
        "colour of the pixel alone": _mean_iou(dataset, colour.predict),
    }


def _mean_iou(dataset: Dataset, predict: Callable[[np.ndarray], np.ndarray]) -> float:
    matrix = ConfusionMatrix(len(dataset.class_names), dataset.class_names)
    for sample in prefetch(dataset.load, dataset.split("val")):
        assert sample.mask is not None
        matrix.update(predict(sample.image), sample.mask)
    return matrix.mean_iou()


def predict_large(run: Run, out: Path) -> tuple[Path, float]:
    """Predicts one large scene in tiles into `out/large`; returns the folder and the mean IoU of the scene."""
    folder = out / "large"
    sample = large_scene(1, LARGE)
    write_png(folder / "scene.png", sample.image)
    predictor = api.load(run.best, tile=1024)
    mask = predictor.predict_file(folder / "scene.png", folder / "scene_mask.png", overlay=folder / "scene_overlay.png")
    matrix = ConfusionMatrix(len(predictor.class_names), predictor.class_names)
    assert sample.mask is not None
    matrix.update(read_ids(mask), sample.mask)
    return folder, matrix.mean_iou()
