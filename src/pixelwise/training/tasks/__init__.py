"""What depends on the task: one module each."""

from __future__ import annotations

from pixelwise.training.tasks.base import Task
from pixelwise.training.tasks.classify import Classify
from pixelwise.training.tasks.segment import Segment

TASKS: dict[str, Task] = {"classify": Classify(), "segment": Segment()}
"""Task of a network in the catalog -> what its training needs."""
