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
"""The most steps that are timed. The step before them is not timed: it chooses kernels and allocates memory."""
TIMED_SHARE = 0.03
"""No further step is timed after this share of the time."""
WITH_ALL = 2.0
"""How long a validation takes, relative to predicting its pictures: it also computes scores and writes a checkpoint."""


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
    """Times a few steps of the run, which train the network like later steps, and predicts a few held-out pictures.

    Args:
        loaders: the loaders that the loop uses.
        few: some of the held-out pictures.
        held_out: the number of all held-out pictures.
        seconds: the seconds that are left when this begins; the result holds those that are left when it ends.
    """
    begun = time.monotonic()
    device = method.forward.device
    times = []
    with ExitStack() as stack_:
        streams = {name: stack_.enter_context(closing(each.batches())) for name, each in loaders.items()}
        torch.manual_seed(recipe.train.seed)
        for number in range(1 + TIMED_STEPS):
            started = time.monotonic()
            method.step({name: next(stream) for name, stream in streams.items()}, method.full_from)
            method.check()  # this waits for the device
            times.append(time.monotonic() - started)
            if number and time.monotonic() - begun > TIMED_SHARE * seconds:
                break
    for _ in range(2):  # the first prediction chooses kernels
        prediction = _prediction_seconds(task, spec, method, few)
        if prediction > TIMED_SHARE * seconds:
            break
    step = from_first(statistics.median(times[1:]), device)
    validation = from_first(WITH_ALL * prediction * held_out / len(few.records), device)
    megapixels = recipe.train.batch_size * math.prod(recipe.crop) / MEGAPIXEL
    left = from_first(seconds - (time.monotonic() - begun), device)
    return Pace(megapixels / step, validation, held_out, max(left, 0.0))


def _prediction_seconds(task: Task, spec: ModelSpec, method: Method, validated: EvaluationLoader) -> float:
    """The seconds that predicting all pictures of a loader takes."""
    network = method.shipped().eval()
    started = time.monotonic()
    with torch.inference_mode():
        for samples in validated:
            images = stack([sample.image for sample in samples]).to(method.forward.device)
            task.predictions(spec, method.forward, network, samples, images)
    return time.monotonic() - started
