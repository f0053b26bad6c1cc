"""What limits the result of a training run of any task, found from its log, its recipe and its scores.

Each finding has a threshold, stated at its constant or in its function. The thresholds were chosen on short runs on
real pictures (docs/training.md). Below the thresholds the numbers mean too little to act on.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pixelwise.catalog import published_classifier
from pixelwise.data.fingerprint import Fingerprint
from pixelwise.data.listing import counted
from pixelwise.metrics.headline import Headline
from pixelwise.models.known_weights import KnownWeights, known_weights
from pixelwise.recipe.recipe import PlannedRecipe
from pixelwise.report.limits import Limit, settings
from pixelwise.tasks.base import Task
from pixelwise.tasks.evaluation import Outcome
from pixelwise.training.history import Gap, History, material, rising_loss, validation_share

ORDER = (
    "collapsed", "no-improvement", "rising-loss", "declining", "stopped-early", "short", "still-improving",
    "disputed-labels", "same-translations", "random-weights", "few-pictures", "overfitting", "classes-not-found",
    "weak-classes",
    "large-objects", "small-validation", "classes-not-in-training", "classes-not-in-validation", "none",
)  # fmt: skip
"""Codes of all findings, in the order in which they are listed: first what went wrong, last what cannot be judged."""
FEW_PICTURES = 30
"""With fewer training pictures, every additional picture matters."""
FEW_WITH_GAP = 100
"""With fewer training pictures, a gap between training and validation score is put down to their number."""
SAMPLE_PICTURES = 64
"""The most training pictures that are measured, provided that there are as many validation pictures."""
SAMPLE_SHARE = 0.02
"""Part of the training time that measuring training pictures may take."""
SAMPLE_SECONDS = 1.0
"""Seconds that measuring training pictures may take in any case."""
MIN_SAMPLE = 2
SMALL_VALIDATION = 30
"""With fewer validation pictures, the score's uncertainty is reported if it is at least three times `MATERIAL`."""
MANY_PICTURES = 5000
"""With this many training pictures or more, published weights help little."""


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands that repeat a run with some settings changed.

    Attributes:
        run, data: their folders.
    """

    run: Path
    data: Path

    def again(self, flags: str, name: str) -> str:
        """The whole command; the folder of the new run is next to the folder of this run."""
        run, data = (shlex.quote(str(path.resolve())) for path in (self.run, self.data))
        return f"pixelwise train {run}/recipe.yaml --data {data} {flags} --out {run}-{name}"


def sample_size(pictures: int, held_out: int, seconds: float, trained: float) -> int:
    """How many training pictures are measured at the end of a run.

    The number is at most 64, at most that of the validation pictures, and at most what can be measured in 2 % of the
    training time or one second, whichever is longer. It is 0 if that leaves fewer than two.

    Args:
        pictures, held_out: how many training and validation pictures there are.
        seconds: how long one picture takes.
        trained: how many seconds the training took.
    """
    affordable = max(SAMPLE_SHARE * trained, SAMPLE_SECONDS) / max(seconds, 1e-6)
    size = min(pictures, held_out, SAMPLE_PICTURES, int(affordable))
    return size if size >= MIN_SAMPLE else 0


def find_limits(
    outcome: Outcome, task: Task, log: Sequence[Mapping[str, Any]], headline: Headline, run: Path
) -> list[Limit]:
    """All findings about a run, the most pressing first; if there are none, one finding that says what would help next.

    Args:
        log: the entries of the run's log.
        headline: the score that chose the best weights.
    """
    recipe, facts, validation = outcome.recipe, outcome.facts, outcome.validation
    margin = validation.scores.margin()
    gap = None
    if outcome.training is not None:
        training, held_out = task.compared(outcome.training, validation)
        if math.isfinite(training) and math.isfinite(held_out):
            first = validation.scores.headlines[0]
            gap = Gap(first, training, held_out, outcome.training.summary["pictures"], margin)
    history = History.of(log, headline)
    pictures = facts.pictures["train"]
    found = [
        None if task.keeps_last else history.no_improvement(recipe),
        None if task.keeps_last else history.declining(gap),
        history.stopped_early(recipe),
        history.short(recipe, run, validation_share(log, recipe)) or history.still_improving(recipe, run),
        rising_loss(log, recipe) if task.needs and not task.keeps_last else None,
        few_pictures(pictures, gap, task.gather) if task.needs else None,
        overfitting(pictures, gap, recipe, facts, task.gather),
        random_weights(recipe, facts),
        small_validation(facts.pictures["val"], validation.scores.headlines[0], validation.summary, margin),
        *task.limits(outcome),
    ]
    commands = Commands(run, validation.dataset.root)
    limits = [
        replace(limit, command=commands.again(limit.flags, limit.code) if limit.flags else "")
        for limit in found
        if limit is not None
    ]
    limits = limits or [nothing(history, gap, pictures)]
    return sorted(limits, key=lambda limit: ORDER.index(limit.code))


def few_pictures(pictures: int, gap: Gap | None, gather: str) -> Limit | None:
    """There are fewer than 30 training pictures; or fewer than 100, and a gap between training and validation score."""
    wide = gap is not None and gap.significant
    if pictures >= (FEW_WITH_GAP if wide else FEW_PICTURES):
        return None
    sentence = f"Only {counted(pictures, 'training picture', 'training pictures')}"
    if gap is not None and wide:
        sentence += f": {gap.words}, so the network memorises these pictures instead of generalising"
    more = max(FEW_PICTURES, 2 * pictures) - pictures
    return Limit(
        "few-pictures",
        f"{sentence}.",
        f"{gather} about {more} more. Begin with pictures like those with the worst scores (Examples in the report).",
    )


def overfitting(pictures: int, gap: Gap | None, recipe: PlannedRecipe, facts: Fingerprint, gather: str) -> Limit | None:
    """The validation score is far worse than the training score, with 100 training pictures or more."""
    if gap is None or not gap.significant or pictures < FEW_WITH_GAP:
        return None
    advice, flags = f"{gather} more pictures of other scenes", ""
    stronger = stronger_augmentation(recipe, facts)
    if stronger:
        flags = settings(stronger)
        advice += f", or augment more: {flags}"
    return Limit(
        "overfitting",
        f"The network does better on its {pictures:,} training pictures than on others: {gap.words}.",
        f"{advice}.",
        flags,
    )


def stronger_augmentation(recipe: PlannedRecipe, facts: Fingerprint) -> dict[str, Any]:
    """Settings that vary scale and light more than those of the recipe."""
    augment = recipe.augment
    low, high = augment.scale
    found: dict[str, Any] = {"augment.scale": [round(low * 0.7, 2), round(high * 1.3, 2)]}
    for key in ("brightness", "contrast", *(("saturation",) if facts.form.channels == 3 else ())):
        value = float(getattr(augment, key))
        if 0 < value < 0.5:
            found[f"augment.{key}"] = 0.5
    return found


def random_weights(recipe: PlannedRecipe, facts: Fingerprint) -> Limit | None:
    """The network started from random weights although published weights fit it, and there are fewer than 5,000
    training pictures."""
    options = dict(recipe.model.options)
    if options.pop("weights", None) is not None or facts.pictures["train"] >= MANY_PICTURES:
        return None
    classifier = published_classifier(recipe.model.name, options)
    if classifier is None:
        return None
    first: KnownWeights = known_weights(classifier)[0]
    source = first.name if first.on_hub else f"FILE, from {first.address}"
    flags = {
        "model.weights": first.name,
        "normalize.mean": None,
        "normalize.std": None,
        "optimizer.encoder_lr_factor": None,
    }
    return Limit(
        "random-weights",
        f"{classifier} started from random weights, although weights trained on ImageNet are published "
        f"({first.licence}).",
        f"Start from them: --set model.weights={source}.",
        settings(flags) if first.on_hub else "",
    )


def small_validation(pictures: int, headline: Headline, summary: Mapping[str, Any], margin: float) -> Limit | None:
    """There are fewer than 30 validation pictures, and the margin is three points or more (6 % for scores that are not
    between 0 and 1); or there is a single picture."""
    value = summary.get(headline.key)
    if value is None or pictures >= SMALL_VALIDATION:
        return None
    if pictures > 1 and not margin >= 3 * material(headline, value):
        return None
    words = "so its uncertainty is not known" if pictures == 1 else f"so it is uncertain by about ±{margin:.2g}"
    return Limit(
        "small-validation",
        f"The {headline.label} of {value:.3f} is measured on {counted(pictures, 'picture', 'pictures')}, {words}.",
        "Smaller differences between runs may be chance; four times as many validation pictures halve the uncertainty.",
    )


def nothing(history: History, gap: Gap | None, pictures: int) -> Limit:
    """The finding of a run without any other: what would likely help next."""
    gain = history.gain()
    measured = []
    if gain is not None:
        signed = gain if history.headline.higher else -gain
        small = abs(gain) < material(history.headline, history.scores[-1]) / 10
        about = "next to nothing" if small else f"about {signed:+.2g}"
        measured.append(f"twice the time would bring {about}, as the last validations suggest")
    if gap is not None:
        measured.append(f"{gap.words}")
    longer = gain is not None and (gap is None or gain > gap.size / 2)
    advice = (
        "The next gain is likely from training longer."
        if longer
        else f"The next gain is likely from more pictures than these {pictures:,}."
    )
    sentence = "Nothing stands out"
    return Limit("none", f"{sentence}: {'; '.join(measured)}." if measured else f"{sentence}.", advice)
