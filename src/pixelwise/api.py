"""The Python API of pixelwise. The command line is a thin layer over it."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.progress import Progress

from pixelwise.active.curves import simulation_page
from pixelwise.active.simulation import Plan, Simulation
from pixelwise.active.suggest import PASSES, Settings, check_strategy
from pixelwise.active.suggest import suggest as active_suggest
from pixelwise.catalog import load_model, task_of
from pixelwise.data.dataset import Dataset
from pixelwise.data.doctor import Diagnosis, examine
from pixelwise.data.foreign import named
from pixelwise.data.formats import open_dataset
from pixelwise.data.formats.completion import unread_files
from pixelwise.data.formats.convert import convert as write_copy
from pixelwise.data.formats.yolo_config import home_of
from pixelwise.data.listing import Faults, picture_files, some
from pixelwise.data.order import Order
from pixelwise.data.pictures import PICTURE_SUFFIXES
from pixelwise.distributed import rank
from pixelwise.errors import NotFinite, UserError
from pixelwise.inference.predictor import Predictor
from pixelwise.models.spec import ModelSpec, read_spec
from pixelwise.recipe.recipe import Recipe
from pixelwise.report.blocks import Block
from pixelwise.report.page import write_page
from pixelwise.tasks.base import Task
from pixelwise.tasks.sampling import SampleRequest
from pixelwise.terminal import console, show
from pixelwise.training import parts, recipes, stages, variants
from pixelwise.training.finish import evaluate_split, finish, finish_variants
from pixelwise.training.lock import locked
from pixelwise.training.loop import Interrupted
from pixelwise.training.moved import check_places, move_data
from pixelwise.training.opening import Data, default_recipe, open_data, open_recipe_data
from pixelwise.training.progress import Display, Silent, make_display
from pixelwise.training.run import Run, check_free, model_file, open_run
from pixelwise.training.session import Session, diverged, engine, execute, restart, start

PathLike = str | os.PathLike[str]
Baselines = Callable[[Session], Mapping[str, float | None]]
"""Session -> the headline score of each baseline by name, which the report shows next to the network's score."""
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


def list_recipes() -> list[str]:
    """The names of the recipes that come with the package."""
    return recipes.recipe_names()


def check(data: PathLike, layout: str = "auto", *, rle_order: Order = "columns") -> Diagnosis:
    """Examines a dataset and lists everything that is wrong, with files and fixes; see `pixelwise.data.doctor`."""
    return examine(Path(data), layout, rle_order)


def convert(
    data: PathLike,
    *,
    to: str,
    out: PathLike,
    splits: Sequence[str] = (),
    layout: str = "auto",
    rle_order: Order = "columns",
    points_per_picture: int | None = None,
) -> list[str]:
    """Writes a dataset in another label format: folder, voc, coco, rle_csv, points, labelme,
    voc_xml, yolo or labelmap; see `data.formats.convert`.

    Returns:
        What was done, in sentences.

    Raises:
        UserError: an unknown format or split, a folder that is not empty, or data that cannot be read.
    """
    return write_copy(
        Path(data),
        to,
        Path(out),
        splits=splits,
        layout=layout,
        rle_order=rle_order,
        points_per_picture=points_per_picture,
    )


def train(
    recipe: PathLike | None = None,
    *,
    data: PathLike | None = None,
    layout: str | None = None,
    unlabelled: PathLike | None = None,
    minutes: float | None = None,
    epochs: float | None = None,
    out: PathLike | None = None,
    seed: int | None = None,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    progress: bool = False,
    baselines: Baselines | None = None,
) -> Run:
    """Plans, trains, measures on the validation split, and writes the report.

    Args:
        recipe: a model's name, a recipe's name, or a YAML file; None for the default recipe for the labels.
        data: folder of the data, if the recipe does not name it.
        layout: layout of the data, if it is not the recipe's.
        unlabelled: folder of additional pictures, for methods that learn from pictures without labels.
        minutes, epochs: the budget, one of the two, if it is neither the recipe's nor the default. Minutes cover the
            whole call, from reading the data to the report. Each variant of a recipe gets the whole budget.
        out: the folder of the run, which must be new or empty; `runs/RECIPE-DATA` by default.
        overrides: `section.key=value` strings, or a mapping of such keys to values.
        baselines: see `Baselines`.

    Raises:
        UserError: recipe, data, weights or folders that cannot work; raised before anything is written.
        KeyboardInterrupt: on Ctrl-C, after the state was saved.
    """
    begun = time.monotonic()
    if minutes is not None and epochs is not None:
        raise UserError("--minutes and --epochs are both given; a run has one budget, so leave one out.")
    settings = list(overrides.items() if isinstance(overrides, Mapping) else recipes.parse_overrides(overrides))
    if minutes is not None or epochs is not None:
        settings += [("train.minutes", minutes), ("train.epochs", epochs)]
    for key, folder in (("data.path", data), ("data.unlabelled", unlabelled)):
        if folder is not None:
            settings.append((key, os.fspath(folder)))
    if layout is not None:
        settings.append(("data.layout", layout))
    if seed is not None:
        settings.append(("train.seed", seed))
    target = None if out is None else os.fspath(out)
    name = _usual(dict(settings)) if recipe is None else os.fspath(recipe)
    planned = _asked(name, dict(settings), target)
    if planned.stages or planned.variants:
        run, opened, notes = parts.begin(planned, name=name, out=target)
        if progress and rank() == 0:
            for note in notes:
                make_display().say(note)
        with locked(run):
            return _run_parts(run, progress, baselines, opened, begun)
    session = start(planned, name=name, out=target, begun=begun)
    with locked(session.run):
        return _run_to_the_end(session, progress, baselines)


def _usual(settings: Mapping[str, Any]) -> str:
    """The name of the default recipe for the data in the settings.

    Raises:
        UserError: as in `opening.default_recipe`.
    """
    given = {key.removeprefix("data."): value for key, value in settings.items() if key.startswith("data.")}
    return default_recipe(recipes.data_section(given))


def _asked(name: str, settings: Mapping[str, Any], out: str | None) -> Recipe:
    """Loads the recipe, and reports all mistakes together: in the recipe, missing data, a run folder that is not empty.

    Raises:
        UserError: any of these.
    """
    faults = Faults()
    planned = faults.attempt(lambda: recipes.load_recipe(name, settings), None)
    for key in ("path", "unlabelled"):
        folder = settings.get(f"data.{key}") if planned is None else getattr(planned.data, key)
        if folder is not None and not Path(str(folder)).exists():
            faults.append(f"{folder}: no such folder.")
    if out is not None:
        faults.attempt(lambda: check_free(out), None)
    if planned is None or faults:
        raise UserError(faults[0] if len(faults) == 1 else "\n  ".join([f"{len(faults)} mistakes:", *faults]))
    return planned


def resume(
    run: PathLike, *, data: PathLike | None = None, unlabelled: PathLike | None = None, progress: bool = False
) -> Run:
    """Continues a stopped run to the end. With a budget of epochs, the result is the same as without the stop.

    Args:
        data, unlabelled: the new folders of the run's data, if it was moved; they are written into the run.

    Raises:
        UserError: not a run, changed recipe or data, missing data, or a run that another process is training.
    """
    existing = open_run(Path(run)).whole
    engine()
    with locked(existing):
        given = {"path": data, "unlabelled": unlabelled}
        folders = {key: Path(folder) for key, folder in given.items() if folder is not None}
        if folders:
            move_data(existing, folders)
        if existing.finished:
            return existing
        check_places(existing)
        if existing.stages_file.exists() or existing.variants_file.exists():
            return _run_parts(existing, progress)
        return _run_to_the_end(restart(existing), progress)


def _run_parts(
    run: Run,
    progress: bool,
    baselines: Baselines | None = None,
    opened: Data | None = None,
    begun: float | None = None,
) -> Run:
    compared = run.variants_file.exists()
    for words, session in (variants if compared else stages).sessions(run, opened, begun):
        if progress and rank() == 0:
            make_display().say(words)
        _run_to_the_end(session, progress, baselines)
    if compared and rank() == 0:
        variants.measure_references(run, make_display().say if progress else Silent().say)
        finish_variants(run)
    return run


def _run_to_the_end(session: Session, progress: bool, baselines: Baselines | None = None) -> Run:
    display = make_display() if progress and rank() == 0 else Silent()
    if progress:
        _announce(session, display)
    try:
        execute(session, display)
        if rank() == 0:
            finish(session, display, baselines(session) if baselines else None)
    except Interrupted:
        raise KeyboardInterrupt(
            f"stopped; everything is saved. Continue with: `{session.run.resume_command}`"
        ) from None
    except NotFinite as error:
        raise diverged(session, error) from None
    return session.run


def _announce(session: Session, display: Display) -> None:
    recipe, facts, network = session.recipe, session.data.facts, session.method.network
    count = sum(parameter.numel() for parameter in network.parameters())
    for note in (*session.data.dataset.notes, *getattr(network, "notes", ())):
        display.say(note)
    for guess in session.data.dataset.guesses:
        display.say(f"warning: {guess}")
    if session.weights:
        display.say(session.weights)
    unlabelled = facts.pictures.get("unlabelled", 0)
    display.say(
        f"{facts.pictures['train']} pictures to train on, {facts.pictures['val']} to validate, "
        + (f"{unlabelled} without labels, " if unlabelled else "")
        + (f"{len(facts.class_names)} classes; " if session.spec.class_names else "")
        + f"{recipe.model.name} with {count / 1e6:.1f} million parameters"
    )
    display.say(f"plan: {shlex.quote(str(session.run.recipe_file))}")


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


def _predictor(path: PathLike, given: Mapping[str, Any]) -> Predictor[Any]:
    file = model_file(path)
    task = task_of(read_spec(file))
    options = _options(path, given)
    model, spec = load_model(file)
    return Predictor(task.inference(model, spec, options))


def _options(path: PathLike, given: Mapping[str, Any]) -> Any:
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
    completed = _options(run, given)
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
    with bar("measuring", progress) as advance:
        folder = model_file(run).parent
        evaluation = evaluate_split(predictor, task, dataset, split, folder, completed, advance)
    compared = {}
    if against is not None:
        others = open_dataset(Path(against), labels=False, to_measure=True)
        others = replace(others, splits={"other": tuple(record.name for record in others.records)})
        with bar("measuring the other pictures", progress) as advance:
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
    translated picture. A classifier
    writes one table, `predictions.csv`: the picture, its class, the probability, and the next best classes with their
    probabilities. A network that finds objects writes `boxes.csv`: the picture, the class, the confidence, and the
    edges x0, y0, x1, y1 of the box in pixels of the picture. Bad pictures do not stop the others; they are listed at
    the end.

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
    with bar("predicting", progress) as advance:
        return predictor.write_all(files, root, Path(out), advance)


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
    with bar("measuring", progress) as advance:
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
    name = os.fspath(recipe) if recipe is not None else _usual({"data.path": os.fspath(data), "data.layout": layout})
    planned = recipes.load_recipe(name, {**settings, "data.path": os.fspath(data), "data.layout": layout})
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
    return [asdict(point) for point in points]


def not_read(pictures: PathLike | Iterable[PathLike]) -> str:
    """A sentence about pictures below folders whose formats cannot be read; empty if there are none."""
    given = [pictures] if isinstance(pictures, str | os.PathLike) else list(pictures)
    folders = [Path(os.fspath(path)) for path in given if Path(os.fspath(path)).is_dir()]
    files = [file for folder in folders for file in unread_files(folder)]
    if not files:
        return ""
    return f"Files of formats that cannot be read: {named(files)} ({some(files, 3)}); save them as PNG or TIFF."


def sample(
    run: PathLike,
    out: PathLike,
    *,
    count: int = 64,
    seed: int = 0,
    temperature: float = 1.0,
    complete: PathLike | None = None,
    keep: str = "top-half",
    interpolate: tuple[PathLike, PathLike] | None = None,
    arithmetic: tuple[PathLike, PathLike, PathLike] | None = None,
    progress: bool = False,
) -> list[Path]:
    """Makes pictures with a generative network: one sheet, and one file per picture.

    Args:
        out: the folder for the results, which must not exist there yet.
        count, seed, temperature, complete, keep, interpolate, arithmetic: see `SampleRequest`.
        progress: whether to print how to read the sheet.

    Returns:
        The sheet, then the single pictures.

    Raises:
        UserError: the network cannot make such pictures, a given picture cannot be read, a result exists already, or
            more than one of `complete`, `interpolate` and `arithmetic` is given.
    """
    if sum(given is not None for given in (complete, interpolate, arithmetic)) > 1:
        raise UserError("give at most one of complete, interpolate and arithmetic.")
    if count < 1 or not temperature > 0:
        raise UserError(f"found count {count} and temperature {temperature:g}; both must be above 0.")
    request = SampleRequest(
        count,
        seed,
        temperature,
        None if complete is None else Path(complete),
        keep,
        None if interpolate is None else (Path(interpolate[0]), Path(interpolate[1])),
        None if arithmetic is None else (Path(arithmetic[0]), Path(arithmetic[1]), Path(arithmetic[2])),
    )
    model, spec = load_model(model_file(run))
    task = task_of(spec)
    if request.kind not in task.samples:
        others = f"it can make {' and '.join(sorted(task.samples))}" if task.samples else "give a generative network"
        raise UserError(
            f"{run}: {spec.model} was trained for the task '{task.name}' and makes no {request.kind}; {others}."
        )
    files, words = task.write_samples(model, spec, Path(out), request)
    if progress and words:
        show(words)
    return files


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


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Parses `name=value` strings into keywords; values are read as YAML.

    Raises:
        UserError: no equals sign, or a value that is not YAML.
    """
    return dict(recipes.parse_overrides(texts, flag="--option"))


def parse_scales(text: str) -> tuple[float, ...]:
    """Parses `0.75,1,1.25` into numbers.

    Raises:
        UserError: the text is not a list of numbers.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--scales {text}: expected numbers separated by commas, such as 0.75,1,1.25") from None


@contextmanager
def bar(title: str, wanted: bool) -> Iterator[Callable[[float], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    stream = console(stderr=True)
    if not (wanted and stream.is_terminal):
        yield lambda done: None
        return
    with Progress(console=stream, transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda done: bar.update(task, completed=done)
