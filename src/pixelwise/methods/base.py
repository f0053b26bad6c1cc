"""What every way of teaching a network offers to the one training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from pixelwise.data.loader import Batch
from pixelwise.errors import UserError


class TrainingDiverged(UserError):
    """A loss or gradient is no longer a finite number; the last checkpoint is from before."""


class Method(ABC):
    """Owns its networks and optimisers; the loop owns time, order, checkpoints and the log.

    Attributes:
        monitor: the value of `evaluate` by which the best weights are chosen, larger is better.
    """

    monitor: str

    @abstractmethod
    def step(self, batch: Batch, progress: float) -> dict[str, float]:
        """One update; `progress` runs from 0 to 1 over the training. Returns scalars by name, `loss` among them.

        Raises:
            TrainingDiverged: before anything is updated.
        """

    def prepare_evaluation(self, batches: Iterable[Batch]) -> None:  # noqa: B027 (most methods need nothing)
        """Called before `evaluate` with batches to train on, for what must be measured on them."""

    @abstractmethod
    def evaluate(self, batches: Iterable[Batch], *, final: bool = False) -> dict[str, float]:
        """Scores on labelled pictures, `monitor` among them; the same on every process.

        Args:
            final: the last time: whatever is worth knowing once may be measured too.
        """

    def mean_loss(self, batches: Iterable[Batch]) -> float:
        """The loss of what is evaluated, a mean over labelled pictures; every process is given the same batches."""
        raise NotImplementedError(f"{type(self).__name__} has no one loss to measure")

    @abstractmethod
    def export(self) -> Mapping[str, Tensor]:
        """The state dict of the network to ship."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on: nested dicts and lists of tensors, numbers and strings."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
