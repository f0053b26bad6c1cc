"""The end of a training: measured on held-out pictures, reported, and what to do next."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from pixelwise import hardware
from pixelwise.atomic import write_text
from pixelwise.data.dataset import Dataset
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.inference.class_predictor import ClassPredictor
from pixelwise.inference.evaluate import Evaluation, evaluate_split, telling
from pixelwise.inference.evaluate_classes import ClassEvaluation, evaluate_classes, telling_answers
from pixelwise.inference.predictor import Predictor
from pixelwise.report import (
    ClassExample,
    ClassReportContent,
    Example,
    ReportContent,
    write_class_report,
    write_report,
)
from pixelwise.training.progress import Display
from pixelwise.training.recipe import reasoned
from pixelwise.training.run import Run
from pixelwise.training.session import Session


def finish(session: Session, display: Display, yardsticks: Mapping[str, float | None] | None = None) -> None:
    """Measures the best weights, and writes `metrics.json`, `report.html` and `next.txt`.

    Args:
        yardsticks: mean IoU of what was not learned by this run, by name, for the report.
    """
    run = session.run
    display.say("measuring the best weights on the validation pictures")
    commands = next_commands(run, session.dataset)
    write_text(run.path / "next.txt", "".join(f"# {why}\n{command}\n\n" for why, command in commands))
    measure = _finish_classifier if session.dataset.task == "classify" else _finish_segmentation
    summary = measure(session, [command for _, command in commands], yardsticks or {})
    write_text(run.metrics_file, json.dumps(summary, indent=2, allow_nan=False) + "\n")


def _finish_segmentation(
    session: Session, commands: Sequence[str], yardsticks: Mapping[str, float | None]
) -> dict[str, Any]:
    predictor = Predictor.from_file(session.run.best)
    result = evaluate_split(predictor, session.dataset, "val")
    content = ReportContent(
        **_page_content(session, result, commands),
        examples=_examples(session.dataset, predictor, result),
        yardsticks=yardsticks,
    )
    write_report(session.run.report, content)
    return result.summary


def _finish_classifier(
    session: Session, commands: Sequence[str], yardsticks: Mapping[str, float | None]
) -> dict[str, Any]:
    result = evaluate_classes(ClassPredictor.from_file(session.run.best), session.dataset, "val")
    content = ClassReportContent(
        **_page_content(session, result, commands), examples=_class_examples(session.dataset, result)
    )
    write_class_report(session.run.report, content)
    return result.summary


def _page_content(session: Session, result: Evaluation | ClassEvaluation, commands: Sequence[str]) -> dict[str, Any]:
    """The keywords of `report.rendering.PageContent`."""
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
        "metrics": result.summary,
        "confusion": result.confusion,
        "calibration": result.calibration,
        "timing": {
            "training seconds": round(trained, 1),
            "training pictures per second": round(rates[len(rates) // 2], 1) if rates else None,
            "prediction pictures per second": round(result.summary["pictures"] / max(result.seconds, 1e-9), 1),
        },
        "next_commands": list(commands),
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
    drawn = "" if dataset.task == "classify" else " --overlay"
    commands = [
        (what, f"pixelwise predict {path} {picture} --out {path}/predictions{drawn}"),
        ("measure again, averaging over mirrored views: slower, often a little better",
         f"pixelwise evaluate {path} --data {data} --flips horizontal"),
        ("train longer, from these weights",
         f"pixelwise train {path}/recipe.yaml --data {data} --minutes 30 "
         f"--set model.weights={path} --out {path}-longer"),
    ]  # fmt: skip
    if "test" in dataset.splits:
        commands.insert(1, ("measure on the test split, once", f"pixelwise evaluate {path} --data {data} --split test"))
    return commands
