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
from pixelwise.inference.evaluate import Evaluation, evaluate_split, telling
from pixelwise.inference.predictor import Predictor
from pixelwise.report.page import Example, ReportContent, write_report
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
    predictor = Predictor.from_file(run.best)
    result = evaluate_split(predictor, session.dataset, "val")
    commands = next_commands(run, session.dataset)
    write_text(run.path / "next.txt", "".join(f"# {why}\n{command}\n\n" for why, command in commands))
    lines = [command for _, command in commands]
    write_report(run.report, _report_content(session, predictor, result, lines, yardsticks or {}))
    write_text(run.metrics_file, json.dumps(result.summary, indent=2, allow_nan=False) + "\n")


def _report_content(
    session: Session,
    predictor: Predictor,
    result: Evaluation,
    commands: Sequence[str],
    yardsticks: Mapping[str, float | None],
) -> ReportContent:
    recipe, facts, run = session.recipe, session.facts, session.run
    log = run.log()
    trained = max((entry["seconds"] for entry in log), default=0.0)
    rates = sorted(entry["pictures_per_second"] for entry in log if entry["kind"] == "train")
    return ReportContent(
        title=f"{recipe.model.name} on {session.dataset.root.resolve().name}",
        recipe=recipe.model_dump(mode="json", exclude={"provenance"}),
        reasons=[row for row in reasoned(run.recipe_file) if row[2]],
        dataset=_dataset_facts(session.dataset, facts),
        log=log,
        metrics=result.summary,
        confusion=result.confusion,
        calibration=result.calibration,
        examples=_examples(session.dataset, predictor, result),
        timing={
            "training seconds": round(trained, 1),
            "training pictures per second": round(rates[len(rates) // 2], 1) if rates else None,
            "prediction pictures per second": round(result.summary["pictures"] / max(result.seconds, 1e-9), 1),
        },
        next_commands=list(commands),
        hardware=hardware.describe(),
        yardsticks=yardsticks,
    )


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
        "share of void": round(facts.void_fraction, 4),
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


def next_commands(run: Run, dataset: Dataset) -> list[tuple[str, str]]:
    """What one would run next: pairs of a reason and the exact command."""
    path, data = shlex.quote(str(run.path.resolve())), shlex.quote(str(dataset.root.resolve()))
    picture = shlex.quote(str(dataset.split("val")[0].picture.resolve()))
    commands = [
        ("predict your own pictures (files or folders; this one is from the validation split)",
         f"pixelwise predict {path} {picture} --out {path}/predictions --overlay"),
        ("measure again, averaging over mirrored views: slower, often a little better",
         f"pixelwise evaluate {path} --data {data} --flips horizontal"),
        ("train longer, from these weights",
         f"pixelwise train {path}/recipe.yaml --data {data} --minutes 30 "
         f"--set model.weights={path} --out {path}-longer"),
    ]  # fmt: skip
    if "test" in dataset.splits:
        commands.insert(1, ("measure on the test split, once", f"pixelwise evaluate {path} --data {data} --split test"))
    return commands
