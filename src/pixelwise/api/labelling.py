"""Chooses what to label next, and simulates such choices."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pixelwise.active.curves import falls, simulation_page
from pixelwise.active.simulation import Plan, Simulation
from pixelwise.active.suggest import PASSES, Settings, check_strategy
from pixelwise.active.suggest import suggest as active_suggest
from pixelwise.api.evaluation import evaluate
from pixelwise.api.training import train, usual_recipe
from pixelwise.data.listing import PathLike
from pixelwise.errors import UserError
from pixelwise.models.spec import ModelSpec, read_spec
from pixelwise.report.page import write_page
from pixelwise.terminal import progress_bar
from pixelwise.training import recipes
from pixelwise.training.opening import open_data
from pixelwise.training.progress import Silent, make_display


def suggest(
    run: PathLike,
    pool: PathLike,
    out: PathLike,
    *,
    budget: int,
    unit: str | None = None,
    strategy: str = "mixed",
    seed: int = 0,
    passes: int = PASSES,
    progress: bool = False,
) -> list[str]:
    """Suggests which pictures of a pool to label next, which regions of them, or which pixels.

    Writes `suggested.csv` (picture, rank, score, where, reason), `overlays/` with the regions or pixels drawn, and
    `to_label/`, a dataset in which everything is void except what is to be labelled.

    Args:
        pool: a folder with pictures. Pictures that have labels there or in the run's data are left out, with a note.
        out: a new or empty folder.
        budget: how many pictures, regions or pixels, in all.
        unit: `pictures`, or, for networks that label pixels, `regions` or `pixels`; None for pictures.
        strategy: a name in `active.strategies.STRATEGIES`.
        seed: seed of everything random; the same seed gives the same suggestions.
        passes: number of forward passes with Monte Carlo dropout, for the strategies that use it.

    Returns:
        What was done, in sentences.

    Raises:
        UserError: an unknown unit or strategy, a run of a task without strategies, a strategy or unit that the network
            does not have, a pool without unlabelled pictures, a budget beyond it, or an `out` that holds files.
    """
    settings = Settings(budget, unit, strategy, seed, passes)
    with progress_bar("measuring", progress) as advance:
        return active_suggest(Path(run), Path(pool), Path(out), settings, advance)


def simulate(
    data: PathLike,
    out: PathLike,
    *,
    budget: int,
    strategies: Sequence[str] = ("random", "mixed"),
    unit: str | None = None,
    start: int | None = None,
    rounds: int = 5,
    seeds: int = 3,
    recipe: PathLike | None = None,
    layout: str = "auto",
    epochs: float | None = None,
    minutes: float | None = None,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Simulates active learning on a labelled dataset, and compares strategies.

    Each strategy starts with the same labels, drawn at random, trains a network, buys more labels with it, trains a new
    network, and so on. Networks are measured on the split `test`, or on every other picture of `val` if there is none;
    the best weights are chosen on the other pictures of `val`. Writes `simulation.csv` and `report.html`. A simulation
    that was stopped continues where it was if it is started again with the same `out`.

    Args:
        budget: how many pictures, regions or pixels each strategy buys per round.
        start: how many are bought at random before the first round; by default as many as per round.
        recipe, layout, epochs, minutes, overrides: settings of every training run, as for `train`.

    Returns:
        The rows of `simulation.csv`.

    Raises:
        UserError: data, strategies or settings that cannot work, an `out` with another simulation, or labels that a
            training run cannot use.
        KeyboardInterrupt: on Ctrl-C; finished training runs are kept.
    """
    if not strategies:
        raise UserError("--strategies: no name given; choose at least one, such as random,mixed.")
    settings = dict(overrides.items() if isinstance(overrides, Mapping) else recipes.parse_overrides(overrides))
    training = {
        "recipe": None if recipe is None else os.fspath(recipe),
        "epochs": epochs,
        "minutes": minutes,
        **settings,
    }
    place = {"data.path": os.fspath(data), "data.layout": layout}
    name = os.fspath(recipe) if recipe is not None else usual_recipe(place)
    planned = recipes.load_recipe(name, {**settings, **place})
    opened = open_data(planned)
    task = opened.task

    def train_on(folder: Path, its_layout: str, run: Path, seed: int) -> Path:
        done = train(recipe if recipe is not None else name, data=folder, layout=its_layout, epochs=epochs,
                     minutes=minutes, out=run, seed=seed, overrides=settings)  # fmt: skip
        return done.best

    def score_on(model: Path, folder: Path, its_layout: str) -> float:
        summary = evaluate(model, data=folder, layout=its_layout, split="all")
        return float(summary[task.scores(read_spec(model), model.parent).headlines[0].key])

    chosen = check_strategy(strategies[0], unit, task, os.fspath(data))
    plan = Plan(
        os.fspath(data),
        tuple(dict.fromkeys(strategies)),
        chosen,
        budget if start is None else start,
        budget,
        rounds,
        seeds,
        training,
    )
    display = make_display() if progress else Silent()
    simulation = Simulation(plan, opened.dataset, task, Path(out), train_on, score_on, display.say)
    try:
        points = simulation.run()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; what is finished is saved. Run the same command to continue.") from None
    headline = task.scores(
        ModelSpec("", {}, opened.dataset.class_names, opened.dataset.form, (), ()), Path(out)
    ).headlines[0]
    write_page(Path(out) / "report.html", simulation_page(points, plan, headline))
    for note in falls(points, plan.unit, headline):
        display.say(note)
    return [asdict(point) for point in points]
