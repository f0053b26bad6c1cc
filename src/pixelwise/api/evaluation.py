"""Measures trained networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pixelwise.api.prediction import inference_options
from pixelwise.catalog import load_model, task_of
from pixelwise.data.dataset import Dataset
from pixelwise.data.formats import open_dataset
from pixelwise.data.formats.yolo_config import home_of
from pixelwise.data.listing import PathLike
from pixelwise.data.order import Order
from pixelwise.errors import UserError
from pixelwise.inference.predictor import Predictor
from pixelwise.models.spec import read_spec
from pixelwise.report.blocks import Block
from pixelwise.tasks.base import Task
from pixelwise.terminal import progress_bar
from pixelwise.training.finish import evaluate_split
from pixelwise.training.opening import open_recipe_data
from pixelwise.training.run import model_file, open_run


def evaluate(
    run: PathLike,
    *,
    data: PathLike | None = None,
    layout: str | None = None,
    split: str = "val",
    flips: str = "none",
    scales: Sequence[float] = (1.0,),
    refine: str = "none",
    instances: str | None = None,
    rle_order: Order | None = None,
    against: PathLike | None = None,
    progress: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Measures a trained network on labelled pictures, and returns scores as in `metrics.json`.

    Args:
        run: a run folder or a model file.
        data: folder of the data; by default the data of the run. Its classes are matched by name with the network's.
        layout: layout of the data; by default the layout in the run's recipe.
        split: a split of the data, or `all` labelled pictures.
        flips, scales, refine, options: as for `load`.
        instances: how objects are separated in order to compare them with those of the data: a name in
            `tasks.segment.instances.INSTANCES`, or `best` for the one with the highest F1. None means `best` if all
            labels are objects, otherwise objects are not compared.
        rle_order: order in which run lengths count the pixels, for data other than the run's; None for the run's order.
        against: a folder of other pictures; the summary then says how well the scores of single pictures separate
            them from the measured ones. For networks that give pictures a probability.

    Returns:
        The summary of the scores. If the data is not the run's data, `notes` holds sentences on how it was read.

    Raises:
        UserError: nothing to measure, classes that the network was not trained on, labels of a different kind than the
            network predicts, or a model file without `data`.
    """
    given = {"flips": flips, "scales": tuple(scales), "refine": refine, "instances": instances, **options}
    completed = inference_options(run, given)
    model, spec = load_model(model_file(run))
    task = task_of(spec)
    dataset, own = _evaluation_data(run, task, data, layout, rle_order)
    if split == "all":
        dataset = replace(dataset, splits={**dataset.splits, "all": tuple(record.name for record in dataset.records)})
    if against is not None and not task.compares:
        raise UserError(
            f"{run}: {spec.model} gives pictures no probability, so `against` has nothing to compare; leave it out."
        )
    if not task.needs <= dataset.knows:
        raise UserError(
            f"{dataset.root}: {spec.model} was trained for the task '{task.name}', and the labels do not show what it "
            "predicts; give other data."
        )
    if not own:
        dataset = task.arranged(dataset, spec.options)
    completed = task.evaluation_options(dataset, completed)
    predictor = Predictor(task.inference(model, spec, completed))
    with progress_bar("measuring", progress) as advance:
        folder = model_file(run).parent
        evaluation = evaluate_split(predictor, task, dataset, split, folder, completed, advance)
    compared = {}
    if against is not None:
        others = open_dataset(Path(against), labels=False, to_measure=True)
        others = replace(others, splits={"other": tuple(record.name for record in others.records)})
        with progress_bar("measuring the other pictures", progress) as advance:
            other = evaluate_split(predictor, task, others, "other", folder, completed, advance)
        compared = task.against(evaluation, other)
    notes = () if own else (*evaluation.dataset.notes, *(f"warning: {guess}" for guess in dataset.guesses))
    return {**evaluation.summary, **compared, **({"notes": list(notes)} if notes else {})}


def _evaluation_data(
    run: PathLike, task: Task, data: PathLike | None, layout: str | None, rle_order: Order | None
) -> tuple[Dataset, bool]:
    """The dataset that a run or a model file is measured on, and whether it is the run's dataset with the same splits.

    Raises:
        UserError: no data was given, or it is missing.
    """
    settings = open_run(Path(run)).planned if Path(run).is_dir() else None
    path = data if data is not None or settings is None else settings.data.path
    if path is None:
        raise UserError(f"{run}: a model file does not hold the folder of its data; give --data.")
    if data is None and not home_of(Path(path)).is_dir():
        raise UserError(f"{path}: the data of the run {run} is no longer there; give its new place with --data.")
    if settings is None:
        path, order = Path(path), rle_order or "columns"
        return _measured_data(task, path, layout or "auto", order), False
    order = rle_order or settings.data.rle_order
    own = Path(path).resolve() == Path(settings.data.path or "").resolve()
    if own and layout in (None, settings.data.layout) and order == settings.data.rle_order:
        return open_recipe_data(settings), True
    try:
        return _measured_data(task, Path(path), layout or settings.data.layout, order), False
    except UserError as error:
        if layout is not None or settings.data.layout == "auto":
            raise
        raise UserError(
            f"{error} (It was read as '{settings.data.layout}', the layout of the run's data; --layout sets another, "
            "and --layout auto recognises the layout.)"
        ) from None


def _measured_data(task: Task, path: Path, layout: str, order: Order) -> Dataset:
    """Data that a network is measured on and was not trained on."""
    return open_dataset(path, layout, labels=bool(task.needs), rle_order=order, to_measure=True, preferred=task.layouts)


def tables(run: PathLike, summary: Mapping[str, Any]) -> list[Block]:
    """The summary of an evaluation of a run or a model file as tables for printing."""
    return task_of(read_spec(model_file(run))).tables(summary)
