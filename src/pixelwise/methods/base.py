"""The contract between a method, which trains networks, and the training loop."""

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
from pixelwise.data.targets import Targets
from pixelwise.errors import NotFinite
from pixelwise.hardware import reading_waits
from pixelwise.nn.finite import check_answer
from pixelwise.recipe.draft import Draft
from pixelwise.recipe.recipe import PlannedRecipe


class TrainingDiverged(NotFinite):
    """A loss, a gradient or a weight is no longer a finite number; the last checkpoint is from before that."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Pictures from which a method draws one batch per step.

    Attributes:
        name: the order of the pictures depends on the run's seed and on this name.
        splits: the splits whose pictures are drawn; splits that the dataset lacks are left out.
        targets: whether batches hold labels.
    """

    name: str
    splits: tuple[str, ...] = ("train",)
    targets: bool = True


LABELLED_STREAM = Stream(LABELLED)
UNLABELLED_STREAM = Stream(UNLABELLED, (UNLABELLED, "train"), targets=False)
"""Every picture that may be used without its label, including those of the training split."""


class MethodOptions(BaseModel):
    """The keys of a recipe's section `method` in addition to its name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Scalar = float | Tensor
"""A number; a tensor without dimensions on devices where `hardware.reading_waits`."""


def as_scalars(values: Mapping[str, Tensor]) -> dict[str, Scalar]:
    """Losses by name as numbers, unless reading them would wait for the device."""
    return {
        name: value.detach() if reading_waits(value.device) else float(value.detach()) for name, value in values.items()
    }


Criterion = Callable[[Any, Any], dict[str, Tensor]]
"""The output of a network and the targets of the batch -> the terms of the loss by name, with their sum as `loss`."""


@dataclass(frozen=True, slots=True)
class Forward:
    """The forward pass in training and validation: normalises the pictures, uses channels-last memory and autocast.

    Attributes:
        mean, std: (C, 1, 1), in the units of the pictures; the input of the network is `(picture - mean) / std`.
        dtype: the number format of autocast; float32 switches it off.
    """

    mean: Tensor
    std: Tensor
    device: torch.device
    dtype: torch.dtype = torch.float32

    def normalised(self, images: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in the units of the files -> the normalised float32 input of the network."""
        return ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def autocast(self) -> torch.autocast:
        """The region in which the network runs."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def __call__(self, network: Callable[..., Any], images: Tensor, **options: Any) -> Any:
        """The network's output for pictures (N, C, H, W) in the units of the files."""
        with self.autocast():
            return network(self.normalised(images), **options)


class CheckedForward(Forward):
    """The forward pass of validation, which checks the output.

    Raises:
        NotFinite: NaN or infinite numbers in the output.
    """

    def __call__(self, network: Callable[..., Any], images: Tensor, **options: Any) -> Any:
        return check_answer(Forward.__call__(self, network, images, **options))


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that a method is built from.

    Attributes:
        network: the network that the catalog built, on the device and in its final memory layout.
        criterion: the loss of the task; None for a network that implements `losses` itself.
        logits: the output of a network -> class logits (N, K, ...); None for a task without classes.
        targets: the class of the task's targets; None if batches have pictures only.
        frozen: modules that stay in evaluation mode, see `nn.freezing`.
    """

    network: nn.Module
    recipe: PlannedRecipe
    options: Any
    forward: Forward
    criterion: Criterion | None
    logits: Callable[[Any], Tensor] | None = None
    targets: type[Targets] | None = None
    frozen: Sequence[nn.Module] = ()


class Method(ABC):
    """Owns networks and optimisers; the loop owns time, order, validation, checkpoints and the log.

    Attributes:
        Options: the options of the method, which a recipe sets in its section `method`.
        streams: the batches that are drawn per step; the first stream counts the epochs.
        forward: see `Forward`.
        network: the network with the weights of the last step.
        full_from: the progress from which on a step does all that the method does; before, steps may take less time.
    """

    Options: ClassVar[type[MethodOptions]] = MethodOptions
    streams: ClassVar[tuple[Stream, ...]] = (LABELLED_STREAM,)
    forward: Forward
    network: nn.Module
    full_from: float = 0.0

    def __init__(self, setup: Setup) -> None:
        """
        Raises:
            UserError: the method cannot train this network.
        """
        self.forward = setup.forward
        self.network = setup.network

    def batch_sizes(self, batch_size: int) -> dict[str, int]:
        """Pictures per step of each stream, of all processes together.

        Args:
            batch_size: the batch size of the recipe.
        """
        return {stream.name: batch_size for stream in self.streams}

    @classmethod  # noqa: B027 (most methods leave everything open)
    def plan(cls, draft: Draft) -> None:
        """Decides open settings in other sections of the recipe that depend on the method.

        Raises:
            UserError: the recipe sets something that the method cannot do.
        """

    @abstractmethod
    def step(self, batches: Mapping[str, Batch], progress: float) -> dict[str, Scalar]:
        """Does one update. On a device where `hardware.reading_waits`, it does not wait for the device.

        Args:
            batches: one per stream, by the stream's name.
            progress: from 0 to 1 over the run.

        Returns:
            Scalars by name, including `loss`.

        Raises:
            TrainingDiverged: before anything is updated. If reading waits for the device, `check` raises it instead.
        """

    @abstractmethod
    def check(self) -> None:
        """Raises the errors of the steps since the last check; called before anything is logged, measured or saved.

        Raises:
            TrainingDiverged: see `step`; neither the step that diverged nor any later step updated anything.
        """

    def prepare_evaluation(self, batches: Iterable[Batch]) -> None:  # noqa: B027 (most methods need nothing)
        """Prepares the shipped network for an evaluation, for example by measuring statistics on batches of the first
        stream."""

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The terms of the loss of a network in its present mode, with their sum as `loss`."""
        raise NotImplementedError(f"{type(self).__name__} does not minimise a single loss")

    def shipped(self) -> nn.Module:
        """The network that is evaluated and exported: `network`, or the average of its weights."""
        return self.network

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to continue, as nested dicts and lists of tensors, numbers and strings."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned."""
