"""The training loop of every method: time, order, validation, checkpoints, the log, and a clean stop."""

from __future__ import annotations

import dataclasses
import itertools
import math
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pixelwise.data.loader import TrainLoader
from pixelwise.distributed import any_process, from_first, rank
from pixelwise.errors import UserError
from pixelwise.hardware import reading_waits
from pixelwise.methods.base import Method, Scalar
from pixelwise.metrics.headline import Headline
from pixelwise.models.spec import ModelSpec, save_model
from pixelwise.nn.finite import check_weights
from pixelwise.training.checkpoint import load_checkpoint, remove_leftovers, save_checkpoint
from pixelwise.training.progress import Display
from pixelwise.training.run import Run
from pixelwise.training.threads import free_cores
from pixelwise.training.validation import Validation

LOG_EVERY = 10
CHECKPOINT_SECONDS = 60.0
REFRESH_BATCHES = 20
"""How many batches a method gets before an evaluation, to measure the statistics of batch norms with."""


class Interrupted(KeyboardInterrupt):
    """The user stopped the training run; its state is saved."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to train: a number of steps, or the minutes of wall-clock time that the whole command takes.

    A run with a number of steps repeats to the byte on the same processor with the same number of threads. A run with a
    number of minutes does not.

    Attributes:
        patience: training ends after this many validations in a row without a better score.
        stop_at: training ends when the headline score is this good or better.
        spent: seconds that the command took before the loop.
        after: the time to measure the best weights after the loop, in validations of all held-out pictures.
        skipped: held-out pictures that validations do not measure, relative to those that they do.
    """

    steps: int | None = None
    minutes: float | None = None
    validations: int = 10
    patience: int | None = None
    stop_at: float | None = None
    spent: float = 0.0
    after: float = 4.0
    skipped: float = 0.0


AFTER_SECONDS = 6.0
"""Time after the loop that does not depend on the data: for reading the best weights and drawing the report."""
MIN_SHARE = 0.5
"""The part of a budget that training gets even if everything else would use up the budget."""


@dataclass(slots=True)
class Position:
    """How far a training run is. Every checkpoint holds all of it."""

    step: int = 0
    seconds: float = 0.0
    validations: int = 0
    validation_seconds: float = 0.0
    scoring_seconds: float = 0.0
    best_score: float = -math.inf
    best_step: int = 0
    stale: int = 0
    done: bool = False

    def progress(self, budget: Budget) -> float:
        """How much of the budget is used up: 0 at the start, 1 at the end."""
        if budget.steps is not None:
            return min(self.step / budget.steps, 1.0)
        assert budget.minutes is not None
        # The last validation measures the raw weights as well as the averaged ones.
        after = AFTER_SECONDS + (2 + budget.after) * self.validation_seconds
        after += budget.after * budget.skipped * self.scoring_seconds
        whole = 60 * budget.minutes
        available = max(whole - budget.spent - after, MIN_SHARE * whole)
        return min(self.seconds / available, 1.0)


def fit(
    method: Method,
    loaders: Mapping[str, TrainLoader],
    validation: Validation,
    *,
    run: Run,
    budget: Budget,
    spec: ModelSpec,
    display: Display,
    device: torch.device,
) -> Position:
    """Trains from the run's newest checkpoint, or from the start, to the end of the budget.

    `best.safetensors` holds the weights with the best validation score, or those of the last validation if the task
    says so (`Task.keeps_last`). The file is complete at every moment.

    Args:
        loaders: one per stream of the method, by the stream's name.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the state is saved.
        NotFinite: the loss, a weight or an output is NaN or infinite; the saved files are from before that.
        UserError: a picture cannot be read, or the disk refuses a write.
    """
    position = _restore(method, run)
    loader = loaders[method.streams[0].name]
    monitor = validation.headlines[0]
    sums: dict[str, Scalar] = defaultdict(float)
    summed = 0
    loss = math.nan
    scores: dict[str, float] = {}
    saved_at = clock = time.monotonic()
    save_cost = 0.0
    speed = Speed()
    progress = from_first(position.progress(budget), device)

    def ahead(step: int) -> float:
        """How far the run is at a step, from 0 to 1. With a budget of minutes only the present progress is known."""
        return progress if budget.steps is None else step / budget.steps

    def save() -> None:
        nonlocal saved_at, save_cost
        started = time.monotonic()
        method.check()
        if rank() == 0:
            _save(run, method, position)
        saved_at = time.monotonic()
        save_cost = saved_at - started

    with display, stop_signals() as stop, free_cores(budget.minutes, device) as threads, ExitStack() as stack:
        batches = {
            name: stack.enter_context(closing(each.batches(position.step, ahead))) for name, each in loaders.items()
        }
        while not position.done:
            if any_process(stop.is_set(), device):
                save()
                raise Interrupted
            progress = from_first(position.progress(budget), device)
            if progress < 1:
                torch.manual_seed(step_seed(loader.seed, position.step, rank()))
                values = method.step({name: next(stream) for name, stream in batches.items()}, progress)
                position.step += 1
                threads.tick()
                for name, value in values.items():
                    sums[name] += value
                summed += 1
                now = time.monotonic()
                position.seconds, clock = position.seconds + now - clock, now
                speed.tick(loader.batch_size, now)
                logged = position.step == 1 or position.step % LOG_EVERY == 0
                if logged or not reading_waits(device):
                    loss = float(values["loss"])
                if logged:
                    method.check()
                    means = {name: float(value) / summed for name, value in sums.items()}
                    sums.clear()
                    summed = 0
                    _log(run, "train", position, loader, means | {"pictures_per_second": round(speed.rate, 3)})
                progress = from_first(position.progress(budget), device)
                left = position.seconds * (1 - progress) / max(progress, 1e-9)
                shown = {"loss": loss}
                if monitor.key in scores:
                    shown[monitor.label] = scores[monitor.key]
                display.step(progress, shown, speed.rate, left)
            # With a budget of minutes, progress falls if a validation was quicker than the one before, so the last
            # validation may be reached twice.
            if progress >= min((position.validations + 1) / budget.validations - 1e-9, 1):
                scores = _validate(method, validation, run, position, spec, loader, display, final=progress >= 1)
                position.validations = min(math.floor(progress * budget.validations + 1e-9), budget.validations)
                now = time.monotonic()
                position.validation_seconds = now - clock
                position.seconds, clock = position.seconds + now - clock, now
                stale = budget.patience is not None and position.stale >= budget.patience
                enough = _reached(scores, monitor, budget)
                # The validation itself may have used up the minutes.
                used_up = progress >= 1 or from_first(position.progress(budget), device) >= 1
                position.done = stale or enough or used_up
                if enough and progress < 1:
                    display.say(
                        f"stopping early, after {100 * progress:.0f} % of the budget: {monitor.label} "
                        f"{scores[monitor.key]:.4f} reached train.stop_at ({budget.stop_at:g})"
                    )
                save()
                speed = Speed()
                threads.restart()
            elif time.monotonic() - saved_at > max(CHECKPOINT_SECONDS, 30 * save_cost):
                save()
    return position


def _reached(scores: Mapping[str, float], monitor: Headline, budget: Budget) -> bool:
    """Whether the headline score has reached the budget's `stop_at`."""
    if budget.stop_at is None or math.isnan(scores[monitor.key]):
        return False
    return scores[monitor.key] >= budget.stop_at if monitor.higher else scores[monitor.key] <= budget.stop_at


def step_seed(*position: int) -> int:
    """A seed for torch that depends only on the numbers given: seed, step and process."""
    return int(np.random.SeedSequence(position).generate_state(1, np.uint64)[0])


def _validate(
    method: Method,
    validation: Validation,
    run: Run,
    position: Position,
    spec: ModelSpec,
    loader: TrainLoader,
    display: Display,
    *,
    final: bool,
) -> dict[str, float]:
    method.check()
    torch.manual_seed(step_seed(loader.seed, position.step, rank()))
    with closing(loader.batches()) as batches:
        method.prepare_evaluation(itertools.islice(batches, REFRESH_BATCHES))
    started = time.monotonic()
    scores = validation(method, final=final)
    position.scoring_seconds = time.monotonic() - started
    monitor = validation.headlines[0]
    score = scores[monitor.key] if monitor.higher else -scores[monitor.key]
    score = -math.inf if math.isnan(score) else score  # nothing could be counted
    better = score > position.best_score or position.validations == 0
    if better:
        position.best_score, position.best_step, position.stale = score, position.step, 0
    else:
        position.stale += 1
    kept = better or validation.task.keeps_last
    if kept and rank() == 0:
        try:
            save_model(run.best, method.shipped().state_dict(), spec)
        except OSError as error:
            raise _disk_error(run, error) from error
    if rank() == 0:
        try:
            run.add_snapshots(position.step, validation.snapshots(method))
        except OSError as error:
            raise _disk_error(run, error) from error
    _log(run, "validation", position, loader, {**scores, "best": kept})
    labels = {headline.key: headline.label for headline in validation.headlines}
    labels |= {f"raw_{key}": f"{label} of the last weights" for key, label in labels.items()} | {
        f"training_{key}": f"training {label}" for key, label in labels.items()
    }
    words = ", ".join(f"{labels.get(name, name.replace('_', ' '))} {value:.4f}" for name, value in scores.items())
    epoch = position.step * loader.batch_size / len(loader.records)
    display.say(f"step {position.step}, epoch {epoch:.1f}: validation {words}{' (best so far)' if better else ''}")
    return scores


def _log(run: Run, kind: str, position: Position, loader: TrainLoader, values: Mapping[str, Any]) -> None:
    if rank() != 0:
        return
    epoch = position.step * loader.batch_size / len(loader.records)
    head = {"kind": kind, "step": position.step, "epoch": round(epoch, 4), "seconds": round(position.seconds, 3)}
    try:
        run.append_log({**head, **values})
    except OSError as error:
        raise _disk_error(run, error) from error


def _restore(method: Method, run: Run) -> Position:
    if rank() == 0:
        remove_leftovers(run.path)
    state = load_checkpoint(run.path)
    if state is None:
        if rank() == 0:
            run.cut_log(0)
        return Position()
    method.load_state_dict(state["method"])
    position = Position(**state["position"])
    if rank() == 0:
        run.cut_log(position.step)
    return position


def _save(run: Run, method: Method, position: Position) -> None:
    check_weights(method.network)
    check_weights(method.shipped())
    state = {"method": method.state_dict(), "position": dataclasses.asdict(position)}
    try:
        save_checkpoint(run.path, state)
    except OSError as error:
        raise _disk_error(run, error) from error


def _disk_error(run: Run, error: OSError) -> UserError:
    return UserError(
        f"{run.path}: the state could not be written ({error.strerror or error}); the files saved before are intact. "
        f"Free some disk space, then continue with: `{run.resume_command}`"
    )


class Speed:
    """Pictures per second over the last steps."""

    def __init__(self) -> None:
        self._ticks: list[tuple[int, float]] = []

    def tick(self, pictures: int, now: float) -> None:
        self._ticks = [*self._ticks[-20:], (pictures, now)]

    @property
    def rate(self) -> float:
        """Pictures per second; 0 until two steps are done."""
        if len(self._ticks) < 2:
            return 0.0
        elapsed = self._ticks[-1][1] - self._ticks[0][1]
        return sum(pictures for pictures, _ in self._ticks[1:]) / max(elapsed, 1e-9)


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets; a second Ctrl-C interrupts at once. Signals can only be caught in the main
    thread; in other threads the event is never set."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def request(number: int, frame: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
