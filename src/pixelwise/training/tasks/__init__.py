"""What depends on the task: one module each."""

from __future__ import annotations

from pixelwise.errors import UserError
from pixelwise.models.catalog import MODELS
from pixelwise.training.tasks.base import Task
from pixelwise.training.tasks.classify import Classify
from pixelwise.training.tasks.detect import WholePictures, Windows
from pixelwise.training.tasks.segment import Segment

TASKS: dict[str, Task] = {"classify": Classify(), "segment": Segment()}
"""Task of a network in the catalog -> what its training needs."""
DETECTORS: dict[str, Task] = {
    "localizer": WholePictures(),
    "overfeat_accurate": Windows(),
    "overfeat_fast": Windows(),
    "overfeat_small": Windows(),
}
"""The same by name, for the networks of a task that is done in many ways."""


def task_of(model: str) -> Task:
    """What the training of a network of the catalog needs.

    Raises:
        UserError: there is no training for it.
    """
    task = DETECTORS.get(model) or TASKS.get(MODELS[model].task)
    if task is None:
        raise UserError(
            f"model {model}: there is no training for it yet; build the network with pixelwise.create_model and train "
            "it in Python."
        )
    return task
