"""Suggests what to label next in a pool of pictures, with a trained network."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelwise.active.candidates import Candidate
from pixelwise.active.measuring import Measuring, labelled_features, measured
from pixelwise.active.observer import Observer
from pixelwise.active.output import Suggested, write_suggestions
from pixelwise.active.pool import Pool, open_pool
from pixelwise.active.selection import Selected
from pixelwise.active.strategies import DEFAULT, STRATEGIES, Strategy
from pixelwise.atomic import new_folder
from pixelwise.catalog import load_model, task_of
from pixelwise.data.dataset import Dataset
from pixelwise.data.record import Record
from pixelwise.data.sample import VOID
from pixelwise.errors import UserError, unknown
from pixelwise.inference.predictor import Progress
from pixelwise.models.spec import ModelSpec
from pixelwise.tasks.base import Task
from pixelwise.tasks.labelling import UNITS
from pixelwise.training.opening import open_recipe_data
from pixelwise.training.run import model_file, open_run

PASSES = 20
"""Passes with Monte Carlo dropout."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for.

    Attributes:
        budget: how many pictures, regions or pixels to suggest, in all.
        unit: a word of `tasks.labelling.UNITS`; None for the task's default.
        strategy: a name in `STRATEGIES`.
        passes: number of passes with Monte Carlo dropout.
    """

    budget: int
    unit: str | None = None
    strategy: str = DEFAULT
    seed: int = 0
    passes: int = PASSES


def suggest(
    run: Path, folder: Path, out: Path, settings: Settings, progress: Progress = lambda done: None
) -> list[str]:
    """Measures the pictures of a pool, chooses what to label, and writes a table, overlays and label files.

    Returns:
        What was done, in sentences.

    Raises:
        UserError: as in `api.suggest`.
    """
    network, spec = load_model(model_file(run))
    task = task_of(spec)
    strategy, unit = _checked(run, task, spec, settings)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists already; give a new folder for the suggestions.")
    labelled, notes = _labelled_data(run)
    pool = open_pool(folder, labelled, task.needs, spec.class_names)
    if unit == "pictures" and settings.budget > len(pool.records):
        raise _beyond(settings.budget, unit, len(pool.records), pool)
    observer = Observer(network, spec, task, strategy, passes=settings.passes, seed=settings.seed)
    compared = [] if labelled is None or not strategy.features else _labelled_records(labelled)
    whole = len(pool.records) + len(compared)
    measuring = Measuring(observer, spec.form, unit, pool.records, budget=settings.budget, seed=settings.seed)
    candidates = measuring.candidates(lambda number: progress(number / whole))
    if len(candidates) < settings.budget:
        raise _beyond(settings.budget, unit, len(candidates), pool, measuring.notes())
    points = labelled_features(observer, compared, unit, lambda number: _labelled_pixels(labelled, compared[number]))
    progress(1.0)
    chosen = strategy.select(measured(candidates, points), settings.budget, settings.seed)
    suggested = _suggested(candidates, chosen, strategy, pool, "labelled or chosen one" if points else "chosen one")
    done = _written(suggested, unit, task, spec, out)
    return [*notes, *pool.notes, *measuring.notes(), *done]


def _checked(run: Path, task: Task, spec: ModelSpec, settings: Settings) -> tuple[Strategy, str]:
    """The strategy and the unit.

    Raises:
        UserError: settings that cannot work with the network's task.
    """
    if settings.budget < 1 or settings.passes < 1:
        raise UserError(
            f"--budget {settings.budget} and --passes {settings.passes}: both are at least 1; give larger numbers."
        )
    unit = check_strategy(settings.strategy, settings.unit, task, f"{run} ({spec.model})")
    return STRATEGIES[settings.strategy], unit


def check_strategy(name: str, unit: str | None, task: Task, where: str) -> str:
    """The unit; the task's default if it is None.

    Args:
        name: name of the strategy.
        where: the run or the data, for messages.

    Raises:
        UserError: an unknown strategy or unit, or one that the networks of the task do not have.
    """
    if name not in STRATEGIES:
        raise unknown("strategy", name, STRATEGIES)
    if unit is not None and unit not in UNITS:
        raise unknown("unit", unit, UNITS)
    if not task.label_units:
        raise UserError(
            f"{where}: there are no strategies for the task '{task.name}'; give a network that labels pixels or "
            "classifies pictures."
        )
    unit = unit or task.label_units[0]
    if unit not in task.label_units:
        raise UserError(
            f"--unit {unit}: networks of the task '{task.name}' predict whole pictures; choose "
            f"{' or '.join(task.label_units)}."
        )
    strategy = STRATEGIES[name]
    if strategy.whole and len(task.label_units) > 1:
        raise UserError(
            f"--strategy {name}: measures networks with one prediction per picture, but those of the task "
            f"'{task.name}' predict every pixel; choose sensitivity, or another strategy."
        )
    if strategy.distance is not None and unit != "pictures":
        raise UserError(
            f"--strategy {name}: measures whole pictures, not {unit}; choose --unit pictures, or a strategy "
            "such as entropy."
        )
    return unit


def _labelled_data(run: Path) -> tuple[Dataset | None, list[str]]:
    """The data of a run, and a sentence if it is not known."""
    if not run.is_dir():
        return None, [
            f"{run}: a model file does not hold its data, so labelled pictures in the pool are not recognised."
        ]
    try:
        return open_recipe_data(open_run(run).planned), []
    except UserError as error:
        return None, [
            f"The data of the run cannot be read, so labelled pictures in the pool are not recognised: {error}"
        ]


def _labelled_records(labelled: Dataset) -> list[Record]:
    """The labelled pictures whose features count as chosen."""
    return [record for record in labelled.split("train") if record.labelled]


def _labelled_pixels(labelled: Dataset | None, record: Record) -> np.ndarray | None:
    """(H, W) bool, where a picture is labelled; None if it is labelled everywhere."""
    return None if labelled is None else labelled.load_mask(record) != VOID


def _beyond(budget: int, unit: str, found: int, pool: Pool, notes: Sequence[str] = ()) -> UserError:
    apart = "" if unit == "pictures" else " that are far enough apart"
    return UserError(
        f"--budget {budget}: {pool.root} offers {found} {unit} without labels{apart}; give a smaller budget or more "
        f"pictures.{''.join(f' {note}' for note in notes)}"
    )


def _suggested(
    candidates: list[Candidate], chosen: Selected, strategy: Strategy, pool: Pool, compared: str
) -> list[Suggested]:
    """The chosen candidates in the order of their ranks.

    Args:
        compared: what their features were compared with.
    """
    suggested = []
    for rank, index in enumerate(chosen.indices.tolist(), start=1):
        candidate = candidates[index]
        value = float(chosen.values[rank - 1])
        measured = -value if strategy.distance is not None else value
        reasons = [strategy.phrase.format(measured)] if strategy.phrase else []
        if chosen.distances is not None:
            distance = float(chosen.distances[rank - 1])
            near = f"{distance:.3g} from the nearest {compared}"
            reasons.append(near if math.isfinite(distance) else "nearest to the mean of all features")
        record = pool.records[candidate.picture]
        suggested.append(Suggested(rank, record, pool.name(record), candidate, measured, ", ".join(reasons)))
    return suggested


def _written(suggested: list[Suggested], unit: str, task: Task, spec: ModelSpec, out: Path) -> list[str]:
    """Writes everything into a new folder, which appears when it is complete."""
    by_picture: dict[str, list[Suggested]] = defaultdict(list)
    for each in suggested:
        by_picture[each.picture].append(each)
    with new_folder(out) as partial:
        return write_suggestions(suggested, list(by_picture.values()), unit, task, spec, partial)
