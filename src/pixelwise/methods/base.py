"""What every way of teaching a network offers to the one training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from pixelwise.data.dataset import UNLABELLED
from pixelwise.data.loader import LABELLED, Batch
from pixelwise.errors import NotFinite
from pixelwise.hardware import reading_waits
from pixelwise.nn.finite import check_answer
from pixelwise.recipe.draft import Draft
from pixelwise.recipe.recipe import PlannedRecipe


class TrainingDiverged(NotFinite):
    """A loss, a gradient or a weight is no longer a finite number; the last checkpoint is from before."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What a method draws a batch of at every step.

    Attributes:
        name: the order of the pictures depends on the run's seed and on it.
        splits: of the dataset, whose pictures are drawn; those that the dataset lacks are left out.
        targets: whether batches carry labels.
    """

    name: str
    splits: tuple[str, ...] = ("train",)
    targets: bool = True


LABELLED_STREAM = Stream(LABELLED)
UNLABELLED_STREAM = Stream(UNLABELLED, (UNLABELLED, "train"), targets=False)
"""Every picture that may be looked at without its label, those of the training split among them."""


class MethodOptions(BaseModel):
    """The keys of a recipe's `method` section beside its name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Scalar = float | Tensor
"""A number; a tensor without dimensions on devices where `hardware.reading_waits`."""


def as_scalars(values: Mapping[str, Tensor]) -> dict[str, Scalar]:
    """Losses by name as numbers, unless reading them would wait for the device."""
    return {
        name: value.detach() if reading_waits(value.device) else float(value.detach()) for name, value in values.items()
    }


Criterion = Callable[[Any, Any], dict[str, Tensor]]
"""What a network answers, and the targets of the batch -> the terms of the loss by name, `loss` their sum."""


@dataclass(frozen=True, slots=True)
class Forward:
    """The forward pass as networks are trained and validated: normalised pictures, channels last, autocast.

    Attributes:
        mean, std: (C, 1, 1), in the units of the pictures; the network sees `(picture - mean) / std`.
        dtype: of the autocast region; float32 for none.
    """

    mean: Tensor
    std: Tensor
    device: torch.device
    dtype: torch.dtype = torch.float32

    def normalised(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in the units of the files -> float32, as the network sees them."""
        return ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def autocast(self) -> torch.autocast:
        """The region in which the network runs."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def __call__(self, network: Callable[..., Any], images: Tensor, **options: Any) -> Any:
        """What the network answers for pictures (N, C, H, W) in the units of the files."""
        with self.autocast():
            return network(self.normalised(images), **options)


class CheckedForward(Forward):
    """The forward pass of validation.

    Raises:
        NotFinite: NaN or infinite numbers in the answer.
    """

    def __call__(self, network: Callable[..., Any], images: Tensor, **options: Any) -> Any:
        return check_answer(Forward.__call__(self, network, images, **options))


@dataclass(frozen=True, slots=True)
class Setup:
    """What a method is made from.

    Attributes:
        network: as the catalog built it, on the device and in its final memory layout.
        criterion: what the task minimises; None for a network that implements `losses` itself.
        logits: what a network answers -> class logits (N, K, ...); None where the task has no classes.
        frozen: modules that stay in evaluation mode, see `nn.freezing`.
    """

    network: nn.Module
    recipe: PlannedRecipe
    options: Any
    forward: Forward
    criterion: Criterion | None
    logits: Callable[[Any], Tensor] | None = None
    frozen: Sequence[nn.Module] = ()


class Method(ABC):
    """Owns networks and optimisers; the loop owns time, order, validation, checkpoints and the log.

    Attributes:
        Options: what a recipe may say in its `method` section beside the name.
        streams: what is drawn per step; the first one counts the epochs.
        forward: see `Forward`.
        network: the weights of the last step.
    """

    Options: ClassVar[type[MethodOptions]] = MethodOptions
    streams: ClassVar[tuple[Stream, ...]] = (LABELLED_STREAM,)
    forward: Forward
    network: nn.Module

    def __init__(self, setup: Setup) -> None:
        """
        Raises:
            UserError: a network that cannot be taught so.
        """
        self.forward = setup.forward
        self.network = setup.network

    def batch_sizes(self, batch_size: int) -> dict[str, int]:
        """Pictures of a step by stream, of all processes together.

        Args:
            batch_size: the recipe's.
        """
        return {stream.name: batch_size for stream in self.streams}

    @classmethod  # noqa: B027 (most methods leave everything open)
    def plan(cls, draft: Draft) -> None:
        """Decides what the method wants of other sections of the recipe, where they are open.

        Raises:
            UserError: the recipe asks for what the method cannot do.
        """

    @abstractmethod
    def step(self, batches: Mapping[str, Batch], progress: float) -> dict[str, Scalar]:
        """One update, without waiting for a device on which `hardware.reading_waits`.

        Args:
            batches: one per stream, by its name.
            progress: from 0 to 1 over the training run.

        Returns:
            Scalars by name, `loss` among them.

        Raises:
            TrainingDiverged: before anything is updated. Where reading waits for the device, `check` raises it instead.
        """

    @abstractmethod
    def check(self) -> None:
        """Raises what the steps since the last check did not; called before anything is logged, measured or saved.

        Raises:
            TrainingDiverged: see `step`; nothing was updated from the step on that diverged.
        """

    def prepare_evaluation(self, batches: Iterable[Batch]) -> None:  # noqa: B027 (most methods need nothing)
        """Called before the shipped network is evaluated, with batches of the first stream, for what must be measured
        on them."""

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The terms of the loss of a network in its present mode, `loss` their sum."""
        raise NotImplementedError(f"{type(self).__name__} does not minimise a single loss")

    def shipped(self) -> nn.Module:
        """The network that is evaluated and exported: `network`, or the average of its weights."""
        return self.network

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue: nested dicts and lists of tensors, numbers and strings."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
