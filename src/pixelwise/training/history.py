"""Findings from the validation curve and the losses of a training run; `training.limits` has all other findings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.listing import counted
from pixelwise.metrics.headline import Headline
from pixelwise.recipe.recipe import PlannedRecipe
from pixelwise.report.limits import Limit, rounded_percent, settings
from pixelwise.training.run import Run

SHORT_STEPS = 300
"""A run of fewer steps is short. Twice as many are advised instead."""
MAX_LONGER = 10
"""The longest run that is advised, in lengths of the present run."""
FEW_VALIDATIONS = 3
"""The number of validations that is advised for a run that spends half of its time on validations."""
MATERIAL = 0.01
"""Smallest difference of scores that matters, for scores between 0 and 1."""
RELATIVE = 0.02
"""Smallest difference of other scores that matters, as a part of their value."""
GAP = 10
"""Smallest gap between training and validation scores that is reported, in differences that matter."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The headline score of the best weights, on a sample of the training pictures and on the validation pictures.

    Attributes:
        pictures: how many pictures the sample has.
        margin: the uncertainty of the validation score; NaN if it is not known.
    """

    headline: Headline
    training: float
    validation: float
    pictures: int
    margin: float = math.nan

    @property
    def size(self) -> float:
        """How much worse the validation score is; 0 if it is no worse."""
        difference = self.training - self.validation
        return max(difference if self.headline.higher else -difference, 0.0)

    @property
    def significant(self) -> bool:
        """Whether the gap is 10 points or more (20 % for scores that are not between 0 and 1), and above the margin."""
        least = GAP * material(self.headline, self.validation)
        return self.size >= max(least, 0.0 if math.isnan(self.margin) else self.margin)

    @property
    def words(self) -> str:
        training = f"{self.training:.3f} on {self.pictures} training pictures"
        return f"{self.headline.label} is {training} and {self.validation:.3f} on validation pictures"


def material(headline: Headline, value: float) -> float:
    """The smallest difference from a score's value that matters."""
    return MATERIAL if headline.limits == (0.0, 1.0) else RELATIVE * abs(value)


@dataclass(frozen=True, slots=True)
class History:
    """The headline score over the validations of a run.

    Attributes:
        steps, seconds, epochs: when each validation took place; validations without a score are left out.
        scores: the headline score of each validation.
    """

    headline: Headline
    steps: tuple[int, ...] = ()
    seconds: tuple[float, ...] = ()
    epochs: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()

    @classmethod
    def of(cls, log: Sequence[Mapping[str, Any]], headline: Headline) -> History:
        """Reads the history from the entries of `log.jsonl`."""
        entries = [
            entry
            for entry in log
            if entry["kind"] == "validation" and math.isfinite(entry.get(headline.key, math.nan)) and entry["step"] > 0
        ]
        columns = [tuple(entry[key] for entry in entries) for key in ("step", "seconds", "epoch", headline.key)]
        return cls(headline, *columns)

    @property
    def best(self) -> int:
        """The index of the best validation."""
        return self.headline.best(self.scores) or 0

    def gain(self) -> float | None:
        """How much better the score would become in twice the time; None with fewer than three validations.

        A line is fitted to the scores of the last half of the validations (at least three) over the logarithm of the
        step, and continued. The result is at most half of the distance to a perfect score. A falling learning rate
        bends the curve, so this is right within a factor of about three (docs/training.md).
        """
        half = max(len(self.scores) // 2, 3)
        if len(self.scores) < 3:
            return None
        slope = np.polyfit(np.log2(self.steps[-half:]), self.scores[-half:], 1)[0]
        low, high = self.headline.limits
        end = high if self.headline.higher else low
        room = math.inf if end is None else abs(end - self.scores[-1]) / 2
        return min(float(slope if self.headline.higher else -slope), room)

    def short(self, recipe: PlannedRecipe, run: Path, validating: float) -> Limit | None:
        """The run has fewer than 300 steps: whatever the curve looks like, the network has hardly begun to learn.

        Args:
            validating: the share of the time that validations took; from a half on, fewer validations are advised.
        """
        if not self.scores or self.steps[-1] >= SHORT_STEPS or self._solved:
            return None
        steps, minutes = self.steps[-1], self._minutes(recipe)
        longer = math.ceil(min(2 * SHORT_STEPS / steps, MAX_LONGER) * minutes)
        sentence = (
            f"A short run: {counted(steps, 'step', 'steps')} of {counted(recipe.train.batch_size, 'crop', 'crops')}, "
            f"{self.epochs[-1]:.1f} passes over the training pictures"
        )
        advice = f"Start from these weights and train for {counted(longer, 'minute', 'minutes')}"
        flags = self._onwards(longer, run)
        if validating >= 0.5 and recipe.train.validations > FEW_VALIDATIONS:
            sentence += f"; validations took {rounded_percent(validating)} of the time"
            fewer = settings({"train.validations": FEW_VALIDATIONS})
            advice, flags = f"{advice}, with fewer validations: {fewer}", f"{flags} {fewer}"
        return Limit("short", f"{sentence}.", f"{advice}.", flags)

    def still_improving(self, recipe: PlannedRecipe, run: Path) -> Limit | None:
        """One of the last two validations is the best, and twice the time promises two points or more (4 % for scores
        that are not between 0 and 1)."""
        gain = self.gain()
        if gain is None or self.best < len(self.scores) - 2 or self._solved:
            return None
        last = self.scores[-1]
        if gain < 2 * material(self.headline, last):
            return None
        label = self.headline.label
        before = self.scores[-max(len(self.scores) // 2, 3)]
        sentence = (
            f"Still improving when the time ran out: {label} went from {before:.3f} to {last:.3f} in the last "
            f"{max(len(self.scores) // 2, 3)} validations, which promises about {gain:+.2g} for twice the time."
            if self.headline.higher
            else f"Still improving when the time ran out: {label} fell from {before:.4g} to {last:.4g} in the last "
            f"{max(len(self.scores) // 2, 3)} validations, which promises about {-gain:+.2g} for twice the time."
        )
        minutes = math.ceil(2 * self._minutes(recipe))
        return Limit(
            "still-improving",
            sentence,
            f"Start from these weights and train for {counted(minutes, 'minute', 'minutes')}.",
            self._onwards(minutes, run),
        )

    def no_improvement(self, recipe: PlannedRecipe) -> Limit | None:
        """Of three or more validations the first is the best, or all of them are within half a point."""
        if len(self.scores) < 3 or self._solved:
            return None
        spread = max(self.scores) - min(self.scores)
        if self.best > 0 and spread >= material(self.headline, self.scores[-1]) / 2:
            return None
        label, slower = self.headline.label, recipe.optimizer.lr / 3
        return Limit(
            "no-improvement",
            f"No improvement after the first of {len(self.scores)} validations: {label} was {self.scores[0]:.3g} there "
            f"and {self.scores[-1]:.3g} at the end.",
            f"Lower the learning rate from {recipe.optimizer.lr:g}: --set optimizer.lr={slower:.2g}; if that changes "
            "nothing, look at the data (`pixelwise check`).",
            settings({"optimizer.lr": float(f"{slower:.2g}")}),
        )

    def declining(self, gap: Gap | None) -> Limit | None:
        """The best validation is within the first 60 % of the run, and the last is worse by two points or more."""
        if len(self.scores) < 4 or self.best == 0 or self.steps[self.best] > 0.6 * self.steps[-1]:
            return None
        lost = abs(self.scores[self.best] - self.scores[-1])
        if lost < 2 * material(self.headline, self.scores[self.best]):
            return None
        why = (
            "the network memorises the training pictures"
            if gap is not None and gap.significant
            else "the learning rate may be too high"
        )
        return Limit(
            "declining",
            f"The best weights are from {rounded_percent(self.steps[self.best] / self.steps[-1])} of the run; after "
            f"that, {self.headline.label} got worse by {lost:.3g}, to {self.scores[-1]:.3g} at the end: {why}.",
            "More time will not help; train on more pictures, or with a smaller optimizer.lr.",
        )

    def stopped_early(self, recipe: PlannedRecipe) -> Limit | None:
        """`train.patience` ended the run before 95 % of its budget."""
        patience, train = recipe.train.patience, recipe.train
        if patience is None or len(self.scores) - 1 - self.best < patience:
            return None
        done = self.epochs[-1] / train.epochs if train.epochs else self.seconds[-1] / (60 * (train.minutes or math.inf))
        if done >= 0.95:
            return None
        return Limit(
            "stopped-early",
            f"Stopped early, at {rounded_percent(done)} of the budget, since {patience} validations in a row were no "
            "better (train.patience). The learning rate had not come down yet.",
            f"Wait longer: --set train.patience={2 * patience}, or set a budget as short as this run, in which the "
            "learning rate comes down.",
            settings({"train.patience": 2 * patience}),
        )

    def _minutes(self, recipe: PlannedRecipe) -> float:
        """The length of the run."""
        return recipe.train.minutes or self.seconds[-1] / 60

    def _onwards(self, minutes: int, run: Path) -> str:
        """The flags that continue from the best weights of a run."""
        changed = {"model.weights": str(run.resolve()), **Run(run).derived_from_length}
        return f"--minutes {minutes} {settings(changed)}"

    @property
    def _solved(self) -> bool:
        """Whether the score is so close to perfect that nothing is left to gain."""
        top = self.headline.limits[1]
        return top is not None and self.headline.higher and self.scores[self.best] >= top - 2 * MATERIAL


def validation_share(log: Sequence[Mapping[str, Any]], recipe: PlannedRecipe) -> float:
    """The part of a run's time that validations took; 0 if no step was logged.

    It is the time that remains after the steps, which are counted at the logged speed, or at the speed of the first
    step if the run was too short to log a speed.
    """
    steps = [entry for entry in log if entry["kind"] == "train"]
    if not steps:
        return 0.0
    rates = [entry["pictures_per_second"] for entry in steps if entry["pictures_per_second"] > 0]
    each = recipe.train.batch_size / float(np.median(rates)) if rates else steps[0]["seconds"] / steps[0]["step"]
    seconds = max(entry["seconds"] for entry in log)
    return max(1 - log[-1]["step"] * each / max(seconds, 1e-9), 0.0)


def rising_loss(log: Sequence[Mapping[str, Any]], recipe: PlannedRecipe) -> Limit | None:
    """The mean training loss of the last tenth of the log is at least 1.5 times the lowest mean of any tenth."""
    losses = [entry["loss"] for entry in log if entry["kind"] == "train" and math.isfinite(entry.get("loss", math.nan))]
    if len(losses) < 20:
        return None
    width = len(losses) // 10
    means = [float(np.mean(losses[at : at + width])) for at in range(0, len(losses) - width + 1, width)]
    if min(means) <= 0 or means[-1] < 1.5 * min(means):
        return None
    slower = float(f"{recipe.optimizer.lr / 3:.2g}")
    return Limit(
        "rising-loss",
        f"The training loss rose at the end: from {min(means):.3g} to {means[-1]:.3g}.",
        f"Lower the learning rate from {recipe.optimizer.lr:g}: --set optimizer.lr={slower:g}.",
        settings({"optimizer.lr": slower}),
    )
