"""Loads trained networks, and predicts pictures with them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pixelwise.catalog import load_model, task_of
from pixelwise.data.foreign import named
from pixelwise.data.formats.completion import unread_files
from pixelwise.data.listing import PathLike, picture_files, some
from pixelwise.data.pictures import PICTURE_SUFFIXES
from pixelwise.errors import UserError
from pixelwise.inference.predictor import Predictor
from pixelwise.models.spec import read_spec
from pixelwise.terminal import progress_bar
from pixelwise.training import recipes
from pixelwise.training.run import model_file

NEUTRAL: Mapping[str, Any] = {
    "flips": "none",
    "scales": (1.0,),
    "refine": "none",
    "tile": None,
    "device": "auto",
    "precision": "auto",
    "overlay": False,
    "boundaries": False,
    "instances": None,
    "heatmap": None,
}
"""Default values of options of prediction. They may be given even if a network does not have the option."""


def load(
    path: PathLike,
    *,
    flips: str = "none",
    scales: Sequence[float] = (1.0,),
    refine: str = "none",
    tile: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    **options: Any,
) -> Predictor[Any]:
    """Loads the predictor of a run folder, or of a model file such as its `best.safetensors`.

    `predictor(picture)` returns the prediction of the network's task: `.mask`, (H, W) class ids, for a network that
    labels pixels; `.class_name` for a classifier; `.boxes`, (M, 4) in pixels, for a network that finds objects;
    `.values`, (H, W) numbers, for a regression; `.picture`, (H, W, C), for a translator.

    Args:
        flips, scales, refine, tile, device, precision, options: see the task's `InferenceOptions`; options that its
            networks do not have must keep their defaults.

    Raises:
        UserError: a folder that is not a run, a run that has not reached its first validation, or options that the
            network's task does not have.
    """
    given = {"flips": flips, "scales": tuple(scales), "refine": refine, "tile": tile, "device": device,
             "precision": precision, **options}  # fmt: skip
    return _predictor(path, given)


def predict(
    run: PathLike,
    pictures: PathLike | Iterable[PathLike],
    out: PathLike,
    *,
    overlay: bool = False,
    boundaries: bool = False,
    instances: str | None = None,
    flips: str = "none",
    scales: Sequence[float] = (1.0,),
    refine: str = "none",
    tile: int | None = None,
    heatmap: str | None = None,
    progress: bool = False,
    **options: Any,
) -> list[Path]:
    """Predicts files, or all pictures below folders, in bounded memory, and writes the results of the network's task.

    A network that labels pixels writes one mask per picture, a regression one float TIFF per picture, a translator the
    translated picture. A classifier writes one table, `predictions.csv`: the picture, its class, the probability, and
    the next best classes with their probabilities. A network that finds objects writes `boxes.csv`: the picture, the
    class, the confidence, and the edges x0, y0, x1, y1 of the box in pixels of the picture. Bad pictures do not stop
    the others; they are listed at the end.

    Args:
        overlay: also write NAME_overlay.png, the prediction drawn over the picture.
        boundaries: also write NAME_boundaries, 255 on both sides of an edge between classes, else 0.
        instances: also separate the objects of all classes but 0, with a method of `tasks.segment.instances`:
            NAME_instances.png is a 16-bit label map, and `instances.csv` has one row per object, with its class, its
            area in pixels, and its box and centre in pixels of the picture.
        heatmap: for a classifier, the name of a class. The classifier is slid over each picture instead:
            NAME_heat.tif holds the probability of the class in each window, NAME_heat.png shows it over the picture.
        flips, scales, refine, tile, options: as for `load`.

    Returns:
        The files written: masks of class ids as PNG, or as TIFF for huge pictures; or the table; or the heat maps.

    Raises:
        UserError: no picture, a result that exists already (raised before anything is written), options that the
            network's task does not have, or pictures that failed.
    """
    given = [pictures] if isinstance(pictures, str | os.PathLike) else list(pictures)
    files, root = _pictures(Path(os.fspath(path)) for path in given)
    wanted = {"flips": flips, "scales": tuple(scales), "refine": refine, "tile": tile, "overlay": overlay,
              "boundaries": boundaries, "instances": instances, "heatmap": heatmap, **options}  # fmt: skip
    predictor = _predictor(run, wanted)
    with progress_bar("predicting", progress) as advance:
        return predictor.write_all(files, root, Path(out), advance)


def _predictor(path: PathLike, given: Mapping[str, Any]) -> Predictor[Any]:
    file = model_file(path)
    task = task_of(read_spec(file))
    options = inference_options(path, given)
    model, spec = load_model(file)
    return Predictor(task.inference(model, spec, options))


def inference_options(path: PathLike, given: Mapping[str, Any]) -> Any:
    """The task's options of prediction, from the options that the user gave.

    Raises:
        UserError: an option that the task does not have, or a value that the option does not take.
    """
    spec = read_spec(model_file(path))
    task = task_of(spec)
    wanted = {name: value for name, value in given.items() if name not in NEUTRAL or value != NEUTRAL[name]}
    for name in wanted:
        if name not in task.options.model_fields:
            raise UserError(
                f"{path}: {spec.model}, trained for the task '{task.name}', has no option --{name}; leave "
                f"it out (it has {', '.join(sorted(task.options.model_fields))})."
            )
    try:
        return task.options(**wanted)
    except ValidationError as error:
        raise UserError(f"{path}: {recipes.explain_error(error, task.options)}") from None


def _pictures(paths: Iterable[Path]) -> tuple[list[Path], Path]:
    """All picture files, and the folder that the names of results are relative to."""
    files: list[Path] = []
    roots: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = [path / name for name in picture_files(path)]
            if not found:
                known = ", ".join(sorted(PICTURE_SUFFIXES))
                raise UserError(f"{path}: no pictures in this folder ({known}). {not_read(path)}".rstrip())
            files += found
            roots.append(path)
        elif path.exists():
            files.append(path)
            roots.append(path.parent)
        else:
            raise UserError(f"{path}: no such picture or folder.")
    if not files:
        raise UserError("no pictures given.")
    # Not resolved, so that a link keeps the name that the user gave.
    root = Path(os.path.commonpath([os.path.abspath(root) for root in roots]))
    return list(dict.fromkeys(Path(os.path.abspath(file)) for file in files)), root


def not_read(pictures: PathLike | Iterable[PathLike]) -> str:
    """A sentence about pictures below folders whose formats cannot be read; empty if there are none."""
    given = [pictures] if isinstance(pictures, str | os.PathLike) else list(pictures)
    folders = [Path(os.fspath(path)) for path in given if Path(os.fspath(path)).is_dir()]
    files = [file for folder in folders for file in unread_files(folder)]
    if not files:
        return ""
    return f"Files of formats that cannot be read: {named(files)} ({some(files, 3)}); save them as PNG or TIFF."
