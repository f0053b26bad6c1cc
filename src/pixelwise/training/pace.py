"""How fast this machine trains a network: a few steps, timed before a budget of minutes is planned."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing

import torch

from pixelwise.data.loader import EvaluationLoader, TrainLoader
from pixelwise.data.targets import stack
from pixelwise.distributed import from_first
from pixelwise.methods.base import Method
from pixelwise.models.spec import ModelSpec
from pixelwise.recipe.draft import MEGAPIXEL, Pace
from pixelwise.recipe.recipe import PlannedRecipe
from pixelwise.tasks.base import Task

TIMED_STEPS = 4
"""Most steps that are timed, after a first one, in which kernels are chosen and memory is taken."""
TIMED_SHARE = 0.03
"""Share of the time after which no further step is timed."""
WITH_ALL = 2.0
"""What a validation takes, in predictions of its pictures: scores are counted and a checkpoint is written as well."""


def measure_pace(
    recipe: PlannedRecipe,
    task: Task,
    spec: ModelSpec,
    method: Method,
    loaders: Mapping[str, TrainLoader],
    few: EvaluationLoader,
    *,
    held_out: int,
    seconds: float,
) -> Pace:
    """Takes a few steps of the run, which teach the network as later ones do, and predicts a few held-out pictures.

    Args:
        loaders: as the loop has them.
        few: some of the held-out pictures.
        held_out: how many there are of them in all.
        seconds: that are left when this begins; the result has those that are left when it ends.
    """
    begun = time.monotonic()
    device = method.forward.device
    times = []
    with ExitStack() as stack_:
        streams = {name: stack_.enter_context(closing(each.batches())) for name, each in loaders.items()}
        torch.manual_seed(recipe.train.seed)
        for number in range(1 + TIMED_STEPS):
            started = time.monotonic()
            method.step({name: next(stream) for name, stream in streams.items()}, 0.0)
            method.check()  # which waits for the device
            times.append(time.monotonic() - started)
            if number and time.monotonic() - begun > TIMED_SHARE * seconds:
                break
    for _ in range(2):  # the first time kernels are chosen
        prediction = _prediction_seconds(task, spec, method, few)
        if prediction > TIMED_SHARE * seconds:
            break
    step = from_first(statistics.median(times[1:]), device)
    validation = from_first(WITH_ALL * prediction * held_out / len(few.records), device)
    megapixels = recipe.train.batch_size * math.prod(recipe.crop) / MEGAPIXEL
    left = from_first(seconds - (time.monotonic() - begun), device)
    return Pace(megapixels / step, validation, max(left, 0.0))


def _prediction_seconds(task: Task, spec: ModelSpec, method: Method, validated: EvaluationLoader) -> float:
    """Of all pictures of a loader."""
    network = method.shipped().eval()
    started = time.monotonic()
    with torch.inference_mode():
        for samples in validated:
            images = stack([sample.image for sample in samples]).to(method.forward.device)
            task.predictions(spec, method.forward, network, samples, images)
    return time.monotonic() - started
