"""Simulates active learning on labelled data: buys labels round by round, trains, and measures on other pictures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.active.candidates import Candidate
from pixelwise.active.labels import Labels
from pixelwise.active.measuring import Measuring, labelled_features, measured
from pixelwise.active.observer import Observation, Observer
from pixelwise.active.selection import random
from pixelwise.active.strategies import STRATEGIES
from pixelwise.active.suggest import PASSES, check_strategy
from pixelwise.atomic import write_text
from pixelwise.catalog import load_model
from pixelwise.data.dataset import Dataset
from pixelwise.data.record import Record
from pixelwise.errors import UserError
from pixelwise.inference.many import write_rows
from pixelwise.inference.rasters import open_raster
from pixelwise.tasks.base import Task
from pixelwise.tasks.labelling import Known

TABLE, SETTINGS = "simulation.csv", "simulation.json"
COLUMNS = ("strategy", "seed", "round", "labels", "share", "score")
FULL = "all labels"
"""The name of the runs with every label, in the column `strategy`."""

Train = Callable[[Path, str, Path, int], Path]
"""(folder of the data, its layout, new folder of the run, seed) -> the model file of a finished run."""
Score = Callable[[Path, Path, str], float]
"""(model file, folder of the data, its layout) -> the first headline score on all pictures of the folder."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated.

    Attributes:
        data: the dataset's folder.
        unit: a word of `tasks.labelling.UNITS`.
        start: how many labels are bought at random before the first round; the same ones for every strategy.
        budget: how many labels are bought per round.
        training: how the networks are trained, for the comparison with a simulation that is resumed.
    """

    data: str
    strategies: tuple[str, ...]
    unit: str
    start: int
    budget: int
    rounds: int
    seeds: int
    training: Mapping[str, Any]
    passes: int = PASSES

    @property
    def fixed(self) -> dict[str, Any]:
        """The settings that a resumed simulation must share; strategies, rounds and seeds may be added."""
        settings: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {key: value for key, value in settings.items() if key not in ("strategies", "rounds", "seeds")}


@dataclass(frozen=True, slots=True)
class Point:
    """One trained network: a row of `simulation.csv`.

    Attributes:
        labels: how many pictures, regions or pixels were bought until then.
        share: the labelled part of the training pictures, or of their pixels, 0 to 1.
        score: the first headline of the task, on pictures that are used neither for training nor for validation.
    """

    strategy: str
    seed: int
    round: int
    labels: int
    share: float
    score: float


class Simulation:
    """The rounds of all strategies and seeds, each in a separate folder, so that a stopped simulation can continue.

    Args:
        out: the folder of the results.
        say: called with a sentence after each training run.

    Raises:
        UserError: a dataset or a plan that cannot work, or the folder of another simulation.
    """

    def __init__(
        self,
        plan: Plan,
        dataset: Dataset,
        task: Task,
        out: Path,
        train: Train,
        score: Score,
        say: Callable[[str], None],
    ) -> None:
        self._plan, self._dataset, self._task, self._out = plan, dataset, task, out
        self._train, self._score, self._say = train, score, say
        self._pool = [record for record in dataset.split("train") if record.labelled]
        self._validation, self._held_out = _held_out(dataset)
        self._check()

    def _check(self) -> None:
        plan, sizes = self._plan, len(self._pool)
        for name in plan.strategies:
            check_strategy(name, plan.unit, self._task, str(plan.data))
        if min(plan.start, plan.budget, plan.rounds, plan.seeds) < 1:
            raise UserError("--start, --budget, --rounds and --seeds are numbers of at least 1; give larger ones.")
        total = plan.start + plan.rounds * plan.budget
        if plan.unit == "pictures" and total > sizes:
            raise UserError(
                f"--rounds {plan.rounds}: {total} pictures would be labelled, but {plan.data} has {sizes} to train on; "
                "give fewer rounds or a smaller budget."
            )
        file = self._out / SETTINGS
        if file.exists():
            before = json.loads(file.read_text(encoding="utf-8"))
            differing = [key for key, value in plan.fixed.items() if before.get(key) != value]
            if differing:
                key = differing[0]
                raise UserError(
                    f"{self._out}: holds a simulation with {key} {before.get(key)}, now it is {plan.fixed[key]}; give "
                    "another --out, or the same settings to continue it."
                )
        elif self._out.exists() and any(self._out.iterdir()):
            raise UserError(f"{self._out}: holds other files; give a new folder for the simulation.")

    def run(self) -> list[Point]:
        """Trains what is not trained yet, and writes `simulation.csv` after every run.

        Raises:
            UserError: labels that a training run cannot use, such as those of a single class.
        """
        self._out.mkdir(parents=True, exist_ok=True)
        write_text(self._out / SETTINGS, json.dumps(self._plan.fixed, indent=1) + "\n")
        held_out = self._out / "held_out"
        if not (held_out / "complete").exists():
            shutil.rmtree(held_out, ignore_errors=True)
            layout = self._task.write_known(
                self._dataset, {"test": [Known(r) for r in self._held_out]}, held_out / "data"
            )
            write_text(held_out / "complete", layout)
        points: list[Point] = []
        for seed in range(self._plan.seeds):
            for point in self._of_seed(seed):
                points.append(point)
                write_rows(self._out / TABLE, COLUMNS, [list(asdict(each).values()) for each in points])
        return points

    def _of_seed(self, seed: int) -> Iterator[Point]:
        home = self._out / f"seed-{seed}"
        everything = Labels.everything(len(self._pool))
        yield self._point(home / "all", FULL, seed, 0, lambda: everything)
        shutil.rmtree(home / "all" / "run", ignore_errors=True)
        first = self._point(home / "start", "start", seed, 0, lambda: self._started(seed))
        for name in self._plan.strategies:
            yield replace(first, strategy=name)
            before = home / "start"
            for number in range(1, self._plan.rounds + 1):
                folder = home / name / f"round-{number}"
                chosen = _Choice(self, name, before, seed, number)
                yield self._point(folder, name, seed, number, chosen)
                if before != home / "start":
                    shutil.rmtree(before / "run", ignore_errors=True)
                before = folder

    def _point(self, folder: Path, name: str, seed: int, number: int, choose: Callable[[], Labels]) -> Point:
        """The result in a folder; if there is none, labels are chosen, and a network is trained and measured."""
        result = folder / "result.json"
        if result.exists():
            return Point(**json.loads(result.read_text(encoding="utf-8")))
        labels = Labels.read(folder / "labels.npz") if (folder / "labels.npz").exists() else choose()
        labels.write(folder / "labels.npz")
        for part in ("data", "run"):
            shutil.rmtree(folder / part, ignore_errors=True)
        train = [Known(self._pool[index], labels.pixels(index)) for index in labels.pictures]
        splits = {"train": train, "val": [Known(record) for record in self._validation]}
        layout = self._task.write_known(self._dataset, splits, folder / "data")
        model = self._train(folder / "data", layout, folder / "run", seed)
        held_out = self._out / "held_out"
        score = self._score(model, held_out / "data", (held_out / "complete").read_text())
        shutil.rmtree(folder / "data")
        point = Point(
            name, seed, number, labels.count, labels.share([self._dataset.size(r) for r in self._pool]), score
        )
        write_text(result, json.dumps(asdict(point)) + "\n")
        self._say(f"{name}, seed {seed}, round {number}: {point.labels} labels, {point.share:.3%}: {score:.4f}")
        return point

    def _started(self, seed: int) -> Labels:
        """Labels drawn at random, without a network."""
        return self._bought(Labels(len(self._pool)), _Unmeasured(), "random", self._plan.start, (seed, 0))

    def choose(self, name: str, before: Path, seed: int, number: int) -> Labels:
        """The labels of the round before and those that a strategy buys with its network."""
        network, spec = load_model(before / "run" / "best.safetensors")
        strategy = STRATEGIES[name]
        key = (seed, number)
        observer = Observer(network, spec, self._task, strategy, passes=self._plan.passes, seed=_mixed(key))
        return self._bought(Labels.read(before / "labels.npz"), observer, name, self._plan.budget, key)

    def _bought(
        self, labels: Labels, observer: Observer | _Unmeasured, name: str, budget: int, key: tuple[int, int]
    ) -> Labels:
        unit, strategy = self._plan.unit, STRATEGIES[name]
        left = [index for index in range(len(self._pool)) if unit != "pictures" or index not in labels.pictures]
        measuring = Measuring(
            observer,
            self._dataset.form,
            unit,
            [self._pool[index] for index in left],
            budget=budget,
            seed=_mixed(key),
            taken=lambda number: labels.pixels(left[number]),
        )
        candidates = measuring.candidates(lambda number: None)
        if len(candidates) < budget:
            raise UserError(
                f"round {key[1]}: {len(candidates)} {unit} are left to buy, fewer than the budget of {budget}; give "
                "fewer --rounds or a smaller --budget."
            )
        points = []
        if isinstance(observer, Observer) and strategy.features:
            known = labels.pictures
            points = labelled_features(
                observer, [self._pool[index] for index in known], unit, lambda number: labels.pixels(known[number])
            )
        select = random if isinstance(observer, _Unmeasured) else strategy.select
        chosen = select(measured(candidates, points), budget, _mixed(key))
        bought: list[Candidate] = [candidates[index] for index in chosen.indices.tolist()]
        for each in bought:
            index = left[each.picture]
            labels = labels.adding(index, each, self._dataset.size(self._pool[index]))
        return labels


@dataclass(frozen=True, slots=True)
class _Choice:
    """Chooses the labels of a round, only if they are needed."""

    simulation: Simulation
    name: str
    before: Path
    seed: int
    number: int

    def __call__(self) -> Labels:
        return self.simulation.choose(self.name, self.before, self.seed, self.number)


class _Unmeasured:
    """Observes nothing but the sizes of pictures."""

    def observe(self, pictures: Any) -> Any:
        for picture in pictures:
            with open_raster(picture) as raster:
                yield Observation((raster.height, raster.width), None)


def _held_out(dataset: Dataset) -> tuple[list[Record], list[Record]]:
    """The pictures on which the best weights are chosen, and those on which they are measured.

    These are the splits `val` and `test`, or every other picture of `val`. So the score that is reported is not the one
    by which weights were chosen.

    Raises:
        UserError: a single picture.
    """
    val = [record for record in dataset.split("val") if record.labelled]
    test = [record for record in dataset.split("test") if record.labelled] if "test" in dataset.splits else []
    if test:
        return val, test
    if len(val) < 2:
        raise UserError(
            f"{dataset.root}: one picture is held out, but two are needed, one to choose the best weights and one "
            "to measure them; hold out more in val.txt."
        )
    return val[::2], val[1::2]


def _mixed(key: Sequence[int]) -> int:
    """A seed from several numbers."""
    return int(np.random.SeedSequence(tuple(key)).generate_state(1)[0])
