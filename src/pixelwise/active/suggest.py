"""Suggests what to label next in a pool of pictures, with a trained network."""

from __future__ import annotations

import math
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixelwise.active.candidates import Candidate, of_picture, of_pixels, of_regions
from pixelwise.active.observer import Observation, Observer
from pixelwise.active.output import Suggested, write_suggestions
from pixelwise.active.pool import Pool, open_pool, pixels_of
from pixelwise.active.selection import Measured, Selected
from pixelwise.active.strategies import DEFAULT, STRATEGIES, Strategy
from pixelwise.catalog import load_model, task_of
from pixelwise.data.dataset import Dataset
from pixelwise.data.listing import counted
from pixelwise.data.pictures import convert
from pixelwise.data.record import Record
from pixelwise.errors import UserError, unknown
from pixelwise.inference.predictor import Progress
from pixelwise.inference.rasters import open_raster
from pixelwise.models.spec import ModelSpec
from pixelwise.tasks.base import Task
from pixelwise.tasks.labelling import UNITS
from pixelwise.training.opening import open_recipe_data
from pixelwise.training.run import model_file, open_run

PASSES = 20
"""Passes with Monte Carlo dropout."""
PER_PICTURE = 4
"""How many times its share of the budget a picture may get of regions or pixels."""
MAX_PIXELS = 50_000_000
"""Pixels of a picture in which regions or pixels can be suggested."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for.

    Attributes:
        budget: how many pictures, regions or pixels to suggest, in all.
        unit: a word of `tasks.labelling.UNITS`; None for the task's default.
        strategy: a name in `STRATEGIES`.
        passes: with Monte Carlo dropout.
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
        UserError: as `api.suggest`.
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
    compared = _compared(strategy, unit, labelled)
    whole = len(pool.records) + len(compared)
    measuring = _Measuring(observer, spec, strategy, unit, settings, pool)
    candidates = measuring.candidates(lambda number: progress(number / whole))
    if len(candidates) < settings.budget:
        raise _beyond(settings.budget, unit, len(candidates), pool, measuring.notes())
    points = [
        observed.mean_features
        for observed in observer.observe(pixels_of(record) for record in compared)
        if isinstance(observed, Observation)
    ]
    progress(1.0)
    chosen = strategy.select(_measured(candidates, points), settings.budget, settings.seed)
    suggested = _suggested(candidates, chosen, strategy, pool, "labelled or chosen one" if points else "chosen one")
    done = _written(suggested, unit, task, spec, out)
    return [*notes, *pool.notes, *measuring.notes(), *done]


def _checked(run: Path, task: Task, spec: ModelSpec, settings: Settings) -> tuple[Strategy, str]:
    """The strategy and the unit.

    Raises:
        UserError: settings that cannot work with the network's task.
    """
    if settings.strategy not in STRATEGIES:
        raise unknown("strategy", settings.strategy, STRATEGIES)
    if settings.unit is not None and settings.unit not in UNITS:
        raise unknown("unit", settings.unit, UNITS)
    if not task.label_units:
        raise UserError(
            f"{run}: a {spec.model} was trained for the task '{task.name}', for which there are no strategies; give a "
            "run of a network that labels pixels or classifies pictures."
        )
    unit = settings.unit or task.label_units[0]
    if unit not in task.label_units:
        raise UserError(
            f"--unit {unit}: a {spec.model} of the task '{task.name}' predicts whole pictures; choose "
            f"{' or '.join(task.label_units)}."
        )
    if settings.budget < 1 or settings.passes < 1:
        raise UserError(
            f"--budget {settings.budget} and --passes {settings.passes}: both are at least 1; give larger numbers."
        )
    strategy = STRATEGIES[settings.strategy]
    if strategy.whole and len(task.label_units) > 1:
        raise UserError(
            f"--strategy {settings.strategy}: measures networks with one prediction per picture, but {spec.model} "
            "predicts every pixel; choose sensitivity, or another strategy."
        )
    if strategy.distance is not None and unit != "pictures":
        raise UserError(
            f"--strategy {settings.strategy}: measures whole pictures, not {unit}; choose --unit pictures, or a "
            "strategy such as entropy."
        )
    return strategy, unit


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


def _compared(strategy: Strategy, unit: str, labelled: Dataset | None) -> list[Record]:
    """The labelled pictures whose features count as chosen; regions and pixels are only compared with each other."""
    if not strategy.features or unit != "pictures" or labelled is None:
        return []
    return [record for record in labelled.split("train") if record.labelled]


class _Measuring:
    """Measures a pool picture by picture and keeps only what could be labelled, in bounded memory.

    Attributes:
        failed: the sentences of pictures that could not be measured.
    """

    def __init__(
        self, observer: Observer, spec: ModelSpec, strategy: Strategy, unit: str, settings: Settings, pool: Pool
    ) -> None:
        self._observer, self._spec, self._strategy, self._settings = observer, spec, strategy, settings
        self._unit, self._pool = unit, pool
        self._limit = math.ceil(PER_PICTURE * settings.budget / len(pool.records))
        self.failed: list[str] = []
        self._small = 0

    def candidates(self, progress: Callable[[int], None]) -> list[Candidate]:
        """Everything that could be labelled.

        Args:
            progress: called with the number of pictures that are measured.
        """
        found: list[Candidate] = []
        pictures = (pixels_of(record) for record in self._pool.records)
        for number, observed in enumerate(self._observer.observe(pictures)):
            try:
                if isinstance(observed, UserError):
                    raise observed
                found += self._of(number, observed)
            except UserError as error:
                self.failed.append(str(error))
            progress(number + 1)
        return found

    def _of(self, number: int, observed: Observation) -> list[Candidate]:
        if self._unit == "pictures":
            return [of_picture(number, observed)]
        record = self._pool.records[number]
        height, width = observed.size
        if height * width > MAX_PIXELS:
            raise UserError(
                f"{record.picture}: {width:,} x {height:,} pixels, and {self._unit} are suggested in pictures of at "
                f"most {MAX_PIXELS:,} pixels; cut it into smaller pictures."
            )
        random = np.random.default_rng((self._settings.seed, number))
        scores = observed.scores
        if scores is None:  # any region or pixel is as good as another, until they are compared with each other
            scores = random.random((height, width), np.float32)
        if self._unit == "pixels":
            return of_pixels(number, observed, scores, self._limit, random)
        with open_raster(pixels_of(record)) as raster:
            image = convert(raster.read(0, height, 0, width), self._spec.form, raster.name)
        regions = of_regions(number, observed, image, scores, self._limit)
        self._small += not regions
        return regions

    def notes(self) -> list[str]:
        """Sentences on pictures of which nothing is suggested."""
        notes = []
        if self.failed:
            notes.append(
                f"{counted(len(self.failed), 'picture', 'pictures')} could not be measured and cannot be suggested: "
                f"{' '.join(self.failed[:3])}{' ...' if len(self.failed) > 3 else ''}"
            )
        if self._small:
            notes.append(
                f"{counted(self._small, 'picture is', 'pictures are')} too small or too plain to be divided into "
                "regions; suggest --unit pictures or pixels for such pictures."
            )
        return notes


def _beyond(budget: int, unit: str, found: int, pool: Pool, notes: Sequence[str] = ()) -> UserError:
    apart = "" if unit == "pictures" else " that are far enough apart"
    return UserError(
        f"--budget {budget}: {pool.root} offers {found} {unit} without labels{apart}; give a smaller budget or more "
        f"pictures.{''.join(f' {note}' for note in notes)}"
    )


def _measured(candidates: list[Candidate], labelled: list[np.ndarray]) -> Measured:
    scores = np.array([each.score for each in candidates], np.float64)
    if candidates[0].features is None:
        return Measured(scores)
    features = np.stack([each.features for each in candidates if each.features is not None])
    return Measured(scores, features, np.stack(labelled) if labelled else None)


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
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        done = write_suggestions(suggested, list(by_picture.values()), unit, task, spec, partial)
        if out.exists():
            out.rmdir()
        os.rename(partial, out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return done
