"""The end of a training run: measures its best weights on held-out pictures, writes the report, suggests commands."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pixelwise import hardware
from pixelwise.atomic import write_text
from pixelwise.catalog import load_model
from pixelwise.data.class_names import with_class_names
from pixelwise.data.dataset import Dataset
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.splits import even_sample
from pixelwise.errors import UserError
from pixelwise.inference.evaluate import measurable, measure
from pixelwise.inference.predictor import Predictor
from pixelwise.metrics.headline import Headline
from pixelwise.metrics.json_values import or_none
from pixelwise.models.spec import read_spec, read_tensors, save_model
from pixelwise.recipe.recipe import reasoned
from pixelwise.report.limits import Limit, settings
from pixelwise.report.page import write_page
from pixelwise.report.run_page import RunContent, run_page
from pixelwise.report.variants import ReferenceOutcome, VariantOutcome, VariantsContent, variants_page
from pixelwise.tasks.base import Task
from pixelwise.tasks.evaluation import Evaluation, Outcome
from pixelwise.tasks.sampling import NEW
from pixelwise.training.limits import find_limits, sample_size
from pixelwise.training.progress import Display
from pixelwise.training.recipes import load_recipe, run_name, task_named
from pixelwise.training.run import Run, without_weights
from pixelwise.training.session import Session
from pixelwise.training.threads import free_cores
from pixelwise.training.variants import worse_with_more_labels


def evaluate_split(
    predictor: Predictor[Any],
    task: Task,
    dataset: Dataset,
    split: str,
    folder: Path,
    options: Any = None,
    progress: Any = lambda done: None,
    most: int | None = None,
) -> Evaluation:
    """Predicts the labelled pictures of a split and computes their scores.

    Args:
        most: the most pictures to measure, evenly spread over the split; None for all.
        dataset: its classes are matched by name with those of the network.
        folder: the folder of the run, or of the model file.

    Raises:
        UserError: no such split, nothing to measure in it, or classes that the network was not trained on.
    """
    if task.needs and predictor.class_names:
        dataset = with_class_names(dataset, predictor.class_names)
    records = measurable(dataset, split, task.needs)
    if most is not None:
        records = even_sample(records, most)
    scores = task.scores(predictor.spec, folder, options=options)
    seconds = measure(predictor, dataset, records, scores, progress)
    try:
        summary = scores.summary(split)
    except UserError as error:
        raise UserError(f"{dataset.root}: {error}") from None
    return Evaluation(predictor, dataset, split, summary, scores, seconds)


def finish(session: Session, display: Display, baselines: Mapping[str, float | None] | None = None) -> None:
    """Measures the best weights, and writes `metrics.json`, `limits.json`, `report.html` and `next.txt`.

    Args:
        baselines: the headline score of each baseline, by name, for the report.

    Raises:
        UserError: the best weights are gone or damaged.
        NotFinite: their predictions are NaN or infinite.
    """
    run, task, dataset = session.run, session.task, session.data.dataset
    display.say("measuring the best weights on the validation pictures")
    if not run.best.exists():
        raise without_weights(run)
    model, spec = load_model(run.best)
    options = task.evaluation_options(dataset, task.options())
    predictor = Predictor(task.inference(model, spec, options))
    with free_cores(session.recipe.train.minutes, session.device):
        started = time.monotonic()
        evaluation = evaluate_split(predictor, task, dataset, "val", run.path, options)
        per_picture = (time.monotonic() - started) / evaluation.summary["pictures"]
        limits = _limits(session, evaluation, options, per_picture)
    chosen = task.recommended(evaluation.summary)
    if chosen:
        save_model(run.best, read_tensors(run.best), replace(spec, notes={**spec.notes, **chosen}))
    commands = next_commands(run, dataset, task, evaluation.summary)
    sections = task.sections(evaluation, baselines or {}, run.snapshots)
    content = replace(_run_content(session, evaluation, [command for _, command in commands]), limits=limits)
    write_page(run.report, run_page(content, sections))
    tried = [(f"{limit.sentence} {limit.advice}", limit.command) for limit in limits if limit.command]
    write_text(run.path / "next.txt", "".join(f"# {why}\n{command}\n\n" for why, command in (*commands, *tried)))
    write_text(run.limits_file, json.dumps([limit.to_dict() for limit in limits], indent=2) + "\n")
    write_text(run.metrics_file, json.dumps(dict(evaluation.summary), indent=2, allow_nan=False) + "\n")


def _limits(session: Session, validation: Evaluation, options: Any, per_picture: float) -> list[Limit]:
    """What limits the result. A sample of the training pictures is measured as well if the task has labels.

    Args:
        per_picture: seconds that each validation picture took.
    """
    run, task, facts, log = session.run, session.task, session.data.facts, session.run.log()
    trained = max((entry["seconds"] for entry in log), default=0.0)
    size = sample_size(facts.pictures["train"], validation.summary["pictures"], per_picture, trained)
    training: Evaluation | None = None
    if task.needs and size:
        dataset, predictor = session.data.dataset, validation.predictor
        try:
            training = evaluate_split(predictor, task, dataset, "train", run.path, options, most=size)
        except UserError:
            training = None  # nothing in the sample can be measured, for example if no picture has an object
    headline = task.scores(session.spec, run.path, session.recipe).headlines[0]
    return find_limits(Outcome(session.recipe, facts, validation, training), task, log, headline, run.path)


def finish_variants(run: Run) -> None:
    """Compares the finished variants of a run, and writes `metrics.json`, `report.html` and `next.txt`."""
    content = compare_variants(run)
    write_text(run.path / "next.txt", "".join(f"{command}\n" for command in content.next_commands))
    write_page(run.report, variants_page(content))
    summary = {
        "score": content.headline.key,
        "definition": content.definition,
        "variants": {
            outcome.name: {
                "training": outcome.training,
                "validation": outcome.validation,
                "gap": outcome.gap,
                "epochs": outcome.epochs,
                "kept": outcome.kept,
                "kept_epoch": outcome.kept_epoch,
            }
            for outcome in content.outcomes
        },
    }
    if content.notes:
        summary["notes"] = list(content.notes)
    if content.references:
        summary["references"] = {each.name: each.score for each in content.references}
    if content.repeated:
        summary["means"] = {each.variant: asdict(each) for each in content.means()}
    write_text(run.metrics_file, json.dumps(summary, indent=2, allow_nan=False) + "\n")


def compare_variants(run: Run) -> VariantsContent:
    """The content of the page that compares the finished variants of a run; its commands use the best variant."""
    whole = load_recipe(run.variants_file)
    variant_of = {run_name(name, seed): name for seed in whole.seeds or (None,) for name in whole.variants}
    logs = {name: [entry for entry in run.variant(name).log() if entry["kind"] == "validation"] for name in variant_of}
    score = _first_headline(run.variant(next(iter(variant_of))))
    outcomes = []
    for name, log in logs.items():
        kept = next(entry for entry in reversed(log) if entry["best"])
        outcomes.append(
            VariantOutcome(
                name=name,
                about=whole.variants[variant_of[name]].about,
                variant=variant_of[name],
                training=or_none(log[-1].get(f"training_{score.key}")),
                validation=or_none(log[-1][score.key]),
                kept=or_none(run.variant(name).metrics[score.key]),
                epochs=log[-1]["epoch"],
                kept_epoch=kept["epoch"],
                log=log,
            )
        )
    best = outcomes[score.best([outcome.kept for outcome in outcomes]) or 0]
    commands = (run.variant(best.name).path / "next.txt").read_text()
    content = VariantsContent(
        title=f"{len(whole.variants)} variants on {Path(whole.data.path or '').name}",
        about=whole.about,
        headline=score,
        definition=VARIANTS_DEFINITION.format(label=score.label),
        outcomes=outcomes,
        recipe=run.variants_file.read_text(),
        next_commands=commands.splitlines(),
        references=_references(run),
    )
    return replace(content, notes=worse_with_more_labels(whole, content.means(), score))


def _references(run: Run) -> list[ReferenceOutcome]:
    """The classical methods that `variants.measure_references` measured; none if it was not asked to."""
    if not run.references_file.exists():
        return []
    return [ReferenceOutcome(**each) for each in json.loads(run.references_file.read_text())]


VARIANTS_DEFINITION = (
    "Training and validation: {label} on these pictures at the end of the training run. Gap: the first minus the "
    "second. Kept: {label} on the validation pictures with the weights that are kept, which are those of the best "
    "validation. Since this score chose them, they are a little worse on other pictures."
)


def _first_headline(run: Run) -> Headline:
    """The headline score, which chooses the best weights of a run."""
    spec, recipe = read_spec(run.best), run.planned
    return task_named(spec.model, recipe.task).scores(spec, run.path, recipe).headlines[0]


def _run_content(session: Session, evaluation: Evaluation, commands: Sequence[str]) -> RunContent:
    recipe, data, run = session.recipe, session.data, session.run
    log = run.log()
    trained = max((entry["seconds"] for entry in log), default=0.0)
    rates = sorted(entry["pictures_per_second"] for entry in log if entry["kind"] == "train")
    return RunContent(
        title=f"{recipe.model.name} on {data.dataset.root.resolve().name}",
        recipe=recipe.model_dump(mode="json", exclude={"provenance"}),
        reasons=[row for row in reasoned(run.recipe_file) if row[2]],
        dataset=_dataset_facts(data.dataset, data.facts),
        log=log,
        timing={
            "training seconds": round(trained, 1),
            "training pictures per second": round(rates[len(rates) // 2], 1) if rates else None,
            "prediction pictures per second": round(evaluation.summary["pictures"] / max(evaluation.seconds, 1e-9), 1),
        },
        next_commands=list(commands),
        hardware=hardware.describe(),
        headlines=session.task.scores(session.spec, run.path, recipe).headlines,
    )


def _dataset_facts(dataset: Dataset, facts: Fingerprint) -> dict[str, Any]:
    low, middle, high = zip(facts.width, facts.height, strict=True)
    sizes = "{} x {}".format(*middle)
    if low != high:
        sizes += " (from {} x {} to {} x {})".format(*low, *high)
    found: dict[str, Any] = {
        "pictures": dict(facts.pictures),
        "layout": dataset.layout,
        "size (width x height)": sizes,
        "channels": f"{facts.form.channels} of {facts.form.dtype}",
    }
    if sum(facts.class_pixels):
        found["class_shares"] = dict(zip(facts.class_names, facts.class_shares(), strict=True))
    if "pixels" in dataset.knows:
        found["share of void"] = round(facts.void_fraction, 4)
    return {**found, **_object_facts(facts)}


def _object_facts(facts: Fingerprint) -> dict[str, Any]:
    objects = facts.objects
    if objects is None:
        return {}
    return {
        "training pictures with an object": objects.pictures,
        "training objects": {
            name: count for name, count in zip(facts.class_names, objects.count, strict=True) if count
        },
        "longer sides of objects, by the picture's shorter side": "10 % up to {}, 50 % up to {}, 90 % up to {}".format(
            *objects.sides
        ),
    }


def next_commands(run: Run, dataset: Dataset, task: Task, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the user can run next: pairs of a reason and the exact command.

    Args:
        summary: the scores on the validation pictures.
    """
    path, data = shlex.quote(str(run.path.resolve())), shlex.quote(str(dataset.root.resolve()))
    record = dataset.split("val")[0]
    if record.position is None:
        picture = shlex.quote(str(record.picture.resolve()))
        what = "predict your own pictures (files or folders; this one is from the validation split)"
    else:
        picture, what = "PICTURES", "predict your own pictures (replace PICTURES by their files or folders)"
    half = f" --option half={record.half}" if record.half else ""
    commands = []
    if task.predicts:
        commands.append(
            (what, f"pixelwise predict {path} {picture} --out {path}/predictions{task.predict_flags(summary)}{half}")
        )
    if NEW in task.samples:
        commands.append(("make pictures", f"pixelwise sample {path} --count 64 --out {path}/samples"))
    if "test" in dataset.splits:
        commands.append(("measure on the test split, once", f"pixelwise evaluate {path} --data {data} --split test"))
    if task.again is not None:
        why, flags = task.again
        commands.append((why, f"pixelwise evaluate {path} --data {data}{flags}"))
    changed = settings({"model.weights": str(run.path.resolve()), **run.derived_from_length})
    commands.append(
        (
            "train longer, starting from these weights",
            f"pixelwise train {path}/recipe.yaml --data {data} --minutes 30 {changed} --out {path}-longer",
        )
    )
    return commands
