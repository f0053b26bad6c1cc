"""The end of a training: measured on held-out pictures, reported, and what to do next."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pixelwise import hardware
from pixelwise.atomic import write_text
from pixelwise.data.dataset import Dataset
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.objects import aimed
from pixelwise.inference.box_predictor import BoxPredictor
from pixelwise.inference.class_predictor import ClassPredictor
from pixelwise.inference.evaluate import Evaluation, evaluate_split, telling
from pixelwise.inference.evaluate_boxes import BoxEvaluation, evaluate_boxes, telling_boxes
from pixelwise.inference.evaluate_classes import ClassEvaluation, evaluate_classes, telling_answers
from pixelwise.inference.predictor import Predictor
from pixelwise.models.catalog import MODELS
from pixelwise.report import RunContent, Section, run_page, write_page
from pixelwise.report.variants import VariantOutcome, VariantsContent, variants_page
from pixelwise.tasks.classify import report as classify_report
from pixelwise.tasks.classify.report import ClassExample
from pixelwise.tasks.detect import report as detect_report
from pixelwise.tasks.detect.overfeat_figure import overfeat_figure
from pixelwise.tasks.detect.report import BoxExample
from pixelwise.tasks.segment import report as segment_report
from pixelwise.tasks.segment.report import Example
from pixelwise.training.progress import Display
from pixelwise.training.recipe import load_recipe, reasoned, variant_recipes
from pixelwise.training.run import Run
from pixelwise.training.session import Session

HEADLINES = {
    "classify": classify_report.HEADLINES,
    "detect": detect_report.HEADLINES,
    "segment": segment_report.HEADLINES,
}


def finish(session: Session, display: Display, yardsticks: Mapping[str, float | None] | None = None) -> None:
    """Evaluates the best weights, and writes `metrics.json`, `report.html` and `next.txt`.

    Args:
        yardsticks: mean IoU of methods that need no network, by name, for the report.
    """
    run = session.run
    display.say("measuring the best weights on the validation pictures")
    commands = next_commands(run, session.dataset)
    write_text(run.path / "next.txt", "".join(f"# {why}\n{command}\n\n" for why, command in commands))
    task = MODELS[session.recipe.model.name].task
    result, sections = _FINISH[task](session, yardsticks or {})
    content = RunContent(
        **_run_content(session, result), headlines=HEADLINES[task], next_commands=[command for _, command in commands]
    )
    write_page(run.report, run_page(content, sections))
    write_text(run.metrics_file, json.dumps(result.summary, indent=2, allow_nan=False) + "\n")


def _finish_segmentation(session: Session, baselines: Mapping[str, float | None]) -> tuple[Evaluation, list[Section]]:
    predictor = Predictor.from_file(session.run.best)
    result = evaluate_split(predictor, session.dataset, "val")
    return result, segment_report.sections(
        summary=result.summary,
        confusion=result.confusion,
        calibration=result.calibration,
        examples=_examples(session.dataset, predictor, result),
        baselines=baselines,
    )


def _finish_classifier(
    session: Session, baselines: Mapping[str, float | None]
) -> tuple[ClassEvaluation, list[Section]]:
    result = evaluate_classes(ClassPredictor.from_file(session.run.best), session.dataset, "val")
    return result, classify_report.sections(
        summary=result.summary,
        confusion=result.confusion,
        calibration=result.calibration,
        examples=_class_examples(session.dataset, result),
    )


def _finish_detector(session: Session, baselines: Mapping[str, float | None]) -> tuple[BoxEvaluation, list[Section]]:
    predictor = BoxPredictor.from_file(session.run.best)
    result = evaluate_boxes(predictor, session.dataset, "val")
    examples: dict[str, list[BoxExample]] = {}
    steps = None
    for title, answers in telling_boxes(result.pictures).items():
        examples[title] = []
        for answer in answers:
            sample = aimed(session.dataset.load(answer.record))
            assert sample.instances is not None
            found = predictor(sample.image)
            if found.steps is not None and steps is None:
                steps = overfeat_figure(sample.image, found.steps, session.dataset.class_names, background=0)
            names = [session.dataset.class_names[class_id] for class_id in sample.instances.classes]
            examples[title].append(
                BoxExample(
                    name=sample.name,
                    image=sample.image,
                    truth=(sample.instances.boxes, sample.instances.classes, names),
                    found=(found.boxes, found.classes, found.labels()),
                    overlap=answer.overlap,
                )
            )
    return result, detect_report.sections(
        summary=result.summary,
        confusion=result.confusion,
        calibration=result.calibration,
        examples=examples,
        steps=steps,
    )


Finished = Evaluation | ClassEvaluation | BoxEvaluation
_FINISH: dict[str, Callable[[Session, Mapping[str, float | None]], tuple[Finished, list[Section]]]] = {
    "classify": _finish_classifier,
    "detect": _finish_detector,
    "segment": _finish_segmentation,
}


def finish_variants(run: Run) -> None:
    """Compares the variants of a run, all finished, and writes `metrics.json`, `report.html` and `next.txt`."""
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
    write_text(run.metrics_file, json.dumps(summary, indent=2, allow_nan=False) + "\n")


def compare_variants(run: Run) -> VariantsContent:
    """What there is to say of the variants of a run, all finished; the commands are those of the best one."""
    whole = load_recipe(run.variants_file)
    logs = {
        name: [entry for entry in run.variant(name).log() if entry["kind"] == "validation"]
        for name in variant_recipes(whole)
    }
    headlines = HEADLINES[MODELS[next(iter(variant_recipes(whole).values())).model.name].task]
    headline = next(one for one in headlines if all(one.key in log[-1] for log in logs.values()))
    score = headline.key
    outcomes = []
    for name, log in logs.items():
        kept = next(entry for entry in reversed(log) if entry["best"])
        outcomes.append(
            VariantOutcome(
                name=name,
                about=whole.variants[name].about,
                training=_defined(log[-1].get(f"training_{score}")),
                validation=_defined(log[-1][score]),
                kept=_defined(run.variant(name).metrics[score]),
                epochs=log[-1]["epoch"],
                kept_epoch=kept["epoch"],
                log=log,
            )
        )
    assert whole.data.path is not None
    best = max(outcomes, key=lambda outcome: -1.0 if outcome.kept is None else outcome.kept)
    commands = (run.variant(best.name).path / "next.txt").read_text()
    return VariantsContent(
        title=f"{len(outcomes)} variants on {Path(whole.data.path).name}",
        about=whole.about,
        headline=headline,
        definition=VARIANTS_DEFINITION.format(label=headline.label),
        outcomes=outcomes,
        recipe=run.variants_file.read_text(),
        next_commands=commands.splitlines(),
    )


VARIANTS_DEFINITION = (
    "Training, validation: {label} on these pictures at the end of the training; gap: the first minus the second. "
    "Kept: {label} on the validation pictures of the weights that are kept, the best of all validations; having been "
    "chosen by it, they are a little worse on others."
)


def _defined(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _run_content(session: Session, result: Finished) -> dict[str, Any]:
    """The keywords of `report.RunContent`, except headlines and commands."""
    recipe, facts, run = session.recipe, session.facts, session.run
    log = run.log()
    trained = max((entry["seconds"] for entry in log), default=0.0)
    rates = sorted(entry["pictures_per_second"] for entry in log if entry["kind"] == "train")
    return {
        "title": f"{recipe.model.name} on {session.dataset.root.resolve().name}",
        "recipe": recipe.model_dump(mode="json", exclude={"provenance"}),
        "reasons": [row for row in reasoned(run.recipe_file) if row[2]],
        "dataset": _dataset_facts(session.dataset, facts),
        "log": log,
        "timing": {
            "training seconds": round(trained, 1),
            "training pictures per second": round(rates[len(rates) // 2], 1) if rates else None,
            "prediction pictures per second": round(result.summary["pictures"] / max(result.seconds, 1e-9), 1),
        },
        "hardware": hardware.describe(),
    }


def _dataset_facts(dataset: Dataset, facts: Fingerprint) -> dict[str, Any]:
    low, middle, high = zip(facts.width, facts.height, strict=True)
    sizes = "{} x {}".format(*middle)
    if low != high:
        sizes += " (from {} x {} to {} x {})".format(*low, *high)
    return {
        "pictures": dict(facts.pictures),
        "layout": dataset.layout,
        "size (width x height)": sizes,
        "channels": f"{facts.form.channels} of {facts.form.dtype}",
        "class_shares": dict(zip(facts.class_names, facts.class_shares(), strict=True)),
        **({} if dataset.task == "classify" else {"share of void": round(facts.void_fraction, 4)}),
        **({} if facts.objects is None else _object_facts(facts)),
    }


def _object_facts(facts: Fingerprint) -> dict[str, Any]:
    objects = facts.objects
    assert objects is not None
    return {
        "training pictures with an object": objects.pictures,
        "training objects": {
            name: count for name, count in zip(facts.class_names, objects.count, strict=True) if count
        },
        "longer sides of objects, of a picture's shorter one": "10 % up to {}, half up to {}, 90 % up to {}".format(
            *objects.sides
        ),
    }


def _examples(dataset: Dataset, predictor: Predictor, result: Evaluation) -> list[Example]:
    examples = []
    for score in telling(result.pictures):
        sample = dataset.load(score.record)
        prediction = predictor(sample.image)
        examples.append(
            Example(sample.name, sample.image, prediction.mask, sample.mask, score.mean_iou, prediction.confidence)
        )
    return examples


def _class_examples(dataset: Dataset, result: ClassEvaluation) -> dict[str, list[ClassExample]]:
    names = dataset.class_names
    return {
        title: [
            ClassExample(
                name=answer.record.name,
                image=dataset.read(answer.record),
                truth=names[answer.truth],
                predicted=names[int(answer.probabilities.argmax())],
                confidence=float(answer.probabilities.max()),
            )
            for answer in answers
        ]
        for title, answers in telling_answers(result).items()
    }


def next_commands(run: Run, dataset: Dataset) -> list[tuple[str, str]]:
    """What one would run next: pairs of a reason and the exact command."""
    path, data = shlex.quote(str(run.path.resolve())), shlex.quote(str(dataset.root.resolve()))
    record = dataset.split("val")[0]
    if record.place is None:
        picture = shlex.quote(str(record.picture.resolve()))
        what = "predict your own pictures (files or folders; this one is from the validation split)"
    else:
        picture, what = "PICTURES", "predict your own pictures (put their files or folders for PICTURES)"
    task = MODELS[run.recipe.model.name].task
    drawn = "" if task == "classify" else " --overlay"
    again = ("measure again, averaging over mirrored views: slower, often a little better",
             f"pixelwise evaluate {path} --data {data} --flips horizontal")  # fmt: skip
    commands = [
        (what, f"pixelwise predict {path} {picture} --out {path}/predictions{drawn}"),
        *([] if task == "detect" else [again]),
        ("train longer, from these weights",
         f"pixelwise train {path}/recipe.yaml --data {data} --minutes 30 "
         f"--set model.weights={path} --out {path}-longer"),
    ]  # fmt: skip
    if "test" in dataset.splits:
        commands.insert(1, ("measure on the test split, once", f"pixelwise evaluate {path} --data {data} --split test"))
    return commands
