"""What a user does with pixelwise from Python; the command line is a thin layer over this."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelwise.distributed import rank
from pixelwise.errors import UserError
from pixelwise.inference.box_predictor import BoxPredictor
from pixelwise.inference.class_predictor import ClassPredictor
from pixelwise.inference.predictor import Predictor
from pixelwise.models.catalog import MODELS
from pixelwise.models.spec import ModelSpec, read_spec
from pixelwise.results import finish, finish_variants
from pixelwise.training import parts, stages, variants
from pixelwise.training import recipe as recipes
from pixelwise.training.loop import Interrupted
from pixelwise.training.progress import Display, Silent, make_display
from pixelwise.training.run import Run, open_run
from pixelwise.training.session import Data, Session, execute, open_recipe_data, restart, start

if TYPE_CHECKING:
    from pixelwise.data.doctor import Diagnosis

PathLike = str | os.PathLike[str]
Yardsticks = Callable[[Session], Mapping[str, float | None]]
"""Gives mean IoUs by name, to print and draw beside the network's."""


def list_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return recipes.recipe_names()


def check(data: PathLike, layout: str = "auto") -> Diagnosis:
    """Examines a dataset: everything that is wrong with it, with files and fixes; see `pixelwise.data.doctor`."""
    from pixelwise.data.doctor import examine

    return examine(Path(data), layout)


def convert(data: PathLike, *, to: str, out: PathLike, splits: Sequence[str] = (), layout: str = "auto") -> list[str]:
    """Writes a dataset in another label format: folder, voc, coco, rle_csv or labelme; see `data.formats.convert`.

    Returns:
        What was done, in sentences.

    Raises:
        UserError: an unknown format or split, a folder that holds files already, or data that cannot be read.
    """
    from pixelwise.data.formats.convert import convert as write_copy

    return write_copy(Path(data), to, Path(out), splits=splits, layout=layout)


def train(
    recipe: PathLike = "unet",
    *,
    data: PathLike | None = None,
    minutes: float | None = None,
    epochs: float | None = None,
    out: PathLike | None = None,
    seed: int | None = None,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    progress: bool = False,
    yardsticks: Yardsticks | None = None,
) -> Run:
    """Plans, trains, measures on the validation split, and writes the report.

    Args:
        recipe: a model's name, a recipe's, or a YAML file.
        data: folder of the data, if the recipe does not name it.
        minutes, epochs: the budget, if not the recipe's or the default; one of the two. Each variant of a recipe has
            all of it.
        out: the run's folder; it must not exist or be empty. Default `runs/RECIPE-DATA`.
        overrides: `section.key=value`, or a mapping of such keys to values.
        yardsticks: gives mean IoUs by name to print and draw beside the network's.

    Raises:
        UserError: anything about recipe, data, weights or folders that cannot work, before anything is written.
        KeyboardInterrupt: on Ctrl-C, after the state was saved.
    """
    if minutes is not None and epochs is not None:
        raise UserError("--minutes and --epochs are both given; a training has one budget, so leave one out.")
    settings = list(overrides.items() if isinstance(overrides, Mapping) else recipes.parse_overrides(overrides))
    if minutes is not None or epochs is not None:
        settings += [("train.minutes", minutes), ("train.epochs", epochs)]
    if data is not None:
        settings.append(("data.path", os.fspath(data)))
    if seed is not None:
        settings.append(("train.seed", seed))
    planned = recipes.load_recipe(os.fspath(recipe), dict(settings))
    name, folder = os.fspath(recipe), None if out is None else os.fspath(out)
    if planned.stages or planned.variants:
        run, opened = parts.begin(planned, name=name, out=folder)
        return _run_parts(run, progress, yardsticks, opened)
    return _run_to_the_end(start(planned, name=name, out=folder), progress, yardsticks)


def resume(run: PathLike, *, progress: bool = False) -> Run:
    """Goes on with a stopped run, to what it would have become without the stop.

    Raises:
        UserError: not a run, or its recipe or data changed.
    """
    existing = open_run(Path(run)).whole
    if existing.finished:
        return existing
    if existing.stages_file.exists() or existing.variants_file.exists():
        return _run_parts(existing, progress)
    return _run_to_the_end(restart(existing), progress)


def _run_parts(run: Run, progress: bool, yardsticks: Yardsticks | None = None, opened: Data | None = None) -> Run:
    compared = run.variants_file.exists()
    for words, session in (variants if compared else stages).sessions(run, opened):
        if progress and rank() == 0:
            make_display().say(words)
        _run_to_the_end(session, progress, yardsticks)
    if compared and rank() == 0:
        finish_variants(run)
    return run


def _run_to_the_end(session: Session, progress: bool, yardsticks: Yardsticks | None = None) -> Run:
    display = make_display() if progress and rank() == 0 else Silent()
    if progress:
        _announce(session, display)
    try:
        execute(session, display)
    except Interrupted:
        raise KeyboardInterrupt(f"stopped; everything is saved. Go on with: {session.run.resume_command}") from None
    if rank() == 0:
        finish(session, display, yardsticks(session) if yardsticks else None)
    return session.run


def _announce(session: Session, display: Display) -> None:
    recipe, facts = session.recipe, session.facts
    count = sum(parameter.numel() for parameter in session.method.network.parameters())
    for note in (*session.dataset.notes, *getattr(session.method.network, "notes", ())):
        display.say(note)
    display.say(
        f"{facts.pictures['train']} pictures to train on, {facts.pictures['val']} to validate, "
        f"{len(facts.class_names)} classes; {recipe.model.name} with {count / 1e6:.1f} million parameters"
    )
    display.say(f"plan: {session.run.recipe_file}")


def load(
    path: PathLike,
    *,
    flips: str = "none",
    scales: Sequence[float] = (1.0,),
    refine: str = "none",
    tile: int | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> Predictor | ClassPredictor | BoxPredictor:
    """What predicts with a run folder, or with a model file such as its `best.safetensors`.

    Of a network that labels pixels a `Predictor`: `predictor(picture).mask` is (H, W) class ids. Of a classifier a
    `ClassPredictor`: `classifier(picture).class_name`; it takes no scales, refinement or tiles. Of a network that finds
    objects a `BoxPredictor`: `finder(picture).boxes` is (M, 4) in pixels; it takes no flips either.

    Raises:
        UserError: not a run, one whose training has not yet reached its first validation, or options that the kind of
            network does not have.
    """
    file = _model_file(path)
    spec = read_spec(file)
    task = _task(spec)
    if task == "segment":
        return Predictor.from_file(
            file, flips=flips, scales=scales, refine=refine, tile=tile, device=device, precision=precision
        )
    what = "a classifier of whole pictures" if task == "classify" else "a network that finds objects"
    for option, given in (
        ("scales", tuple(scales) != (1.0,)),
        ("refine", refine != "none"),
        ("tile", tile is not None),
        ("flips", task == "detect" and flips != "none"),
    ):
        if given:
            raise UserError(f"{path}: {what}, for which there is no --{option}; leave it out.")
    if task == "detect":
        return BoxPredictor.from_file(file, device=device, precision=precision)
    return ClassPredictor.from_file(file, flips=flips, device=device, precision=precision)


def _model_file(path: PathLike) -> Path:
    """The model file of a run folder, or the file itself."""
    file = Path(path)
    if file.is_dir():
        run = open_run(file)
        file = run.best
        if run.variants_file.exists():
            raise UserError(f"{path}: several variants; give one of them: {run.path / 'variants' / 'NAME'}.")
        if not file.exists():
            raise UserError(f"{path}: no best.safetensors yet; go on with: {Run(Path(path)).resume_command}")
    return file


def _task(spec: ModelSpec) -> str:
    """`classify`, `detect` or `segment`."""
    if spec.model in MODELS:
        return MODELS[spec.model].task
    return "segment" if spec.view is None else "classify"


def evaluate(
    run: PathLike,
    *,
    data: PathLike | None = None,
    split: str = "val",
    flips: str = "none",
    scales: Sequence[float] = (1.0,),
    refine: str = "none",
    instances: str | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Scores of a trained network on labelled pictures, as in `metrics.json`.

    Args:
        run: a run folder or a model file.
        data: default the data the run was trained on.
        split: a split of the data, or `all` labelled pictures.
        scales, refine: as for `load`.
        instances: how objects are told apart, to be compared with those of the data: a name in
            `pixelwise.inference.instances.INSTANCES`; None for `components` where all labels are objects, else none.

    Raises:
        UserError: nothing to measure, other classes, or a model file without `data`.
    """
    from pixelwise.data.formats import open_dataset
    from pixelwise.inference.evaluate import evaluate_split
    from pixelwise.inference.evaluate_boxes import evaluate_boxes
    from pixelwise.inference.evaluate_classes import evaluate_classes

    predictor = load(run, flips=flips, scales=scales, refine=refine)
    settings = open_run(Path(run)).recipe if Path(run).is_dir() else None
    path = data if data is not None or settings is None else settings.data.path
    if path is None:
        raise UserError(f"{run}: a model file does not say where its data is; give --data.")
    if settings is not None and Path(path).resolve() == Path(settings.data.path or "").resolve():
        dataset = open_recipe_data(settings)  # split exactly as it was for the training
    else:
        dataset = open_dataset(Path(path))
    if split == "all":
        dataset = replace(dataset, splits={**dataset.splits, "all": tuple(record.name for record in dataset.records)})
    task = _task(predictor.spec)
    if (task == "classify") != (dataset.task == "classify"):
        what = "pictures sorted into classes" if dataset.task == "classify" else "pictures with masks"
        raise UserError(f"{dataset.root}: {what}, but {predictor.spec.model} is there to {task}; give other data.")
    if instances is not None and task != "segment":
        raise UserError(f"{run}: {predictor.spec.model} gives no masks with objects in them; leave out --instances.")
    with _bar("measuring", progress) as advance:
        if isinstance(predictor, ClassPredictor):
            return evaluate_classes(predictor, dataset, split, advance).summary
        if isinstance(predictor, BoxPredictor):
            return evaluate_boxes(predictor, dataset, split, advance).summary
        return evaluate_split(predictor, dataset, split, advance, instances=instances).summary


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
) -> list[Path]:
    """Predicts files, or all pictures below folders, in bounded memory, and writes a mask for each.

    A classifier writes one table, `predictions.csv`: the picture, its class, the probability, and those of the next
    best classes. A network that finds objects writes one, too, `boxes.csv`: the picture, the class, the confidence, and
    the edges x0, y0, x1, y1 of the box in the picture's own pixels. One bad picture does not stop the others; they are
    named at the end.

    Args:
        overlay: also write NAME_overlay.png, the mask or the boxes drawn over the picture.
        boundaries: also write NAME_boundaries, 255 on both sides of an edge between classes, else 0.
        instances: also tell single objects apart, of all classes but 0, by a way of `inference.instances.INSTANCES`:
            NAME_instances.png is a 16-bit label map, and `instances.csv` has a line for each object, with its class,
            its area in pixels, and its box and its centre in the picture's own pixels.
        heatmap: of a classifier, the name of a class: it is slid over each picture instead, and NAME_heat.tif holds the
            probability of the class in each window, NAME_heat.png shows it over the picture.

    Returns:
        The files written: masks as PNG, or TIFF for huge pictures, of class ids; or the table; or the heat maps.

    Raises:
        UserError: no picture, a result that exists already (before anything is written), options that the kind of
            network does not have, or pictures that failed.
    """
    from pixelwise.inference.box_table import write_boxes
    from pixelwise.inference.class_table import write_classes
    from pixelwise.inference.mask_files import write_masks

    given = [pictures] if isinstance(pictures, str | os.PathLike) else list(pictures)
    files, root = _pictures(Path(os.fspath(path)) for path in given)
    out = Path(out)
    predictor = load(run, flips=flips, scales=scales, refine=refine, tile=tile)
    if heatmap is not None:
        more = flips != "none" or overlay or boundaries or instances is not None
        return _heat_maps(predictor, run, heatmap, files, root, out, more, progress)
    if isinstance(predictor, ClassPredictor):
        for option, wanted in (("overlay", overlay), ("boundaries", boundaries), ("instances", instances)):
            if wanted:
                raise UserError(f"{run}: a classifier of whole pictures draws nothing, so leave out --{option}.")
        with _bar("predicting", progress) as advance:
            return [write_classes(predictor, files, root, out, advance)]
    if isinstance(predictor, BoxPredictor):
        for option, wanted in (("boundaries", boundaries), ("instances", instances)):
            if wanted:
                raise UserError(f"{run}: a network that finds objects knows no outlines, so leave out --{option}.")
        with _bar("predicting", progress) as advance:
            return [write_boxes(predictor, files, root, out, advance, overlay=overlay)]
    with _bar("predicting", progress) as advance:
        return write_masks(
            predictor, files, root, out, advance, overlay=overlay, boundaries=boundaries, instances=instances
        )


def _heat_maps(
    predictor: Predictor | ClassPredictor | BoxPredictor,
    run: PathLike,
    class_name: str,
    files: list[Path],
    root: Path,
    out: Path,
    more: bool,
    progress: bool,
) -> list[Path]:
    from pixelwise.inference.heat_files import SlidingClassifier, write_heat_maps

    if not isinstance(predictor, ClassPredictor):
        raise UserError(
            f"{run}: --heatmap slides a classifier of whole pictures over larger ones, but {predictor.spec.model} says "
            "where things are by itself; leave it out."
        )
    if more:
        raise UserError("--heatmap writes its own pictures of plain views; leave out other options.")
    classifier = SlidingClassifier(_model_file(run), class_name)
    with _bar("sliding", progress) as advance:
        return write_heat_maps(classifier, files, root, out, advance)


def _pictures(paths: Iterable[Path]) -> tuple[list[Path], Path]:
    """All picture files, and the folder that result names are relative to."""
    from pixelwise.data.listing import picture_files
    from pixelwise.data.pictures import PICTURE_SUFFIXES

    files: list[Path] = []
    roots: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = [path / name for name in picture_files(path)]
            if not found:
                raise UserError(f"{path}: no pictures in this folder ({', '.join(sorted(PICTURE_SUFFIXES))}).")
            files += found
            roots.append(path)
        elif path.exists():
            files.append(path)
            roots.append(path.parent)
        else:
            raise UserError(f"{path}: no such picture or folder.")
    if not files:
        raise UserError("no pictures given.")
    # Not resolved: a link is named as the user named it.
    root = Path(os.path.commonpath([os.path.abspath(root) for root in roots]))
    return list(dict.fromkeys(Path(os.path.abspath(file)) for file in files)), root


def parse_scales(text: str) -> tuple[float, ...]:
    """`0.75,1,1.25` as numbers.

    Raises:
        UserError: not a list of numbers.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--scales {text}: expected numbers with commas between, such as 0.75,1,1.25") from None


@contextmanager
def _bar(title: str, wanted: bool) -> Iterator[Callable[[float], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not (wanted and console.is_terminal):
        yield lambda done: None
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda done: bar.update(task, completed=done)
