"""The base class of methods that learn from labels and from pictures without labels, in every step."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from pixelwise.data.loader import Batch
from pixelwise.distributed import total
from pixelwise.errors import UserError
from pixelwise.methods.base import LABELLED_STREAM, UNLABELLED_STREAM, MethodOptions, Scalar, Setup
from pixelwise.methods.supervised import Supervised
from pixelwise.nn.averaging import ExponentialMovingAverage
from pixelwise.nn.statistics import held_statistics
from pixelwise.recipe.draft import MEGAPIXEL

MAX_UNLABELLED = 128
"""Largest number of pictures without labels per step, unless the recipe sets it or the batch is larger."""


class SemiSupervisedOptions(MethodOptions):
    """Options of all methods with unlabelled pictures."""

    weight: float = Field(1.0, ge=0, description="weight of the loss without labels; the supervised loss has 1")
    start: float = Field(0.0, ge=0, lt=1, description="share of the run at its beginning that learns from labels alone")
    ramp: float = Field(0.0, ge=0, le=1, description="share of the run over which the weight then rises from 0")
    unlabelled_batch: int | None = Field(
        None, ge=2, description="pictures without labels per step; null: a quarter of a megapixel, at most 128"
    )


class SemiSupervised(Supervised):
    """Adds a loss on pictures without their labels to the supervised loss.

    The network outputs class logits (N, K) or (N, K, H, W). Its passes over pictures without labels do not change the
    running statistics of batch norms, which follow the labelled pictures alone.

    Attributes:
        term: name of the loss without labels.
    """

    Options: ClassVar[type[MethodOptions]] = SemiSupervisedOptions
    streams = (LABELLED_STREAM, UNLABELLED_STREAM)
    term: ClassVar[str]

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if setup.logits is None:
            raise UserError(
                f"method.name: {setup.recipe.method.name} trains networks that predict class probabilities, and "
                f"{setup.recipe.model.name} is trained for the task '{setup.recipe.task}'; leave it out."
            )
        assert setup.targets is not None
        self._logits: Callable[[Tensor], Tensor] = setup.logits
        self._targets = setup.targets
        self.options = setup.options
        self.full_from = setup.options.start
        self._crop = setup.recipe.crop

    def batch_sizes(self, batch_size: int) -> dict[str, int]:
        unlabelled = self.options.unlabelled_batch
        if unlabelled is None:
            unlabelled = min(MEGAPIXEL // 4 // math.prod(self._crop), MAX_UNLABELLED)
        return {LABELLED_STREAM.name: batch_size, UNLABELLED_STREAM.name: max(batch_size, unlabelled)}

    def step(self, batches: Mapping[str, Batch], progress: float) -> dict[str, Scalar]:
        labelled, unlabelled = (batches[stream.name].to(self.forward.device) for stream in self.streams)
        self.optimised.train()
        terms: dict[str, Tensor] = {}
        if progress >= self.options.start:
            images = self.forward.normalised(unlabelled.images)
            terms = self.unlabelled_terms(images, unlabelled.names, progress)
        values = self.losses(self.network, labelled)
        values |= terms
        if terms:
            values["loss"] = values["loss"] + self.weight(progress) * terms[self.term]
        return self.update(values, progress, labelled)

    def weight(self, progress: float) -> float:
        """The weight of the loss without labels at this point of the run, after `start`."""
        return self.options.weight * self.ramp_up(progress)

    def ramp_up(self, progress: float) -> float:
        """How much of its weight the loss without labels has: 0 at `start`, 1 after a further `ramp` of the run."""
        return min((progress - self.options.start) / self.options.ramp, 1.0) if self.options.ramp > 0 else 1.0

    @abstractmethod
    def unlabelled_terms(self, images: Tensor, names: Sequence[str], progress: float) -> dict[str, Tensor]:
        """The loss without labels, named `term`, and further scalars for the log.

        Args:
            images: (N, C, H, W), as the network takes them; the network is in training mode.
            names: the pictures' names.
        """

    def pseudo_label_loss(self, images: Tensor, labels: Tensor, confident: Tensor) -> Tensor:
        """The supervised loss of the network for normalised pictures and confident labels, times their share.

        With cross entropy alone, this is its sum over confident positions, divided by the number of all positions (Sohn
        et al., NeurIPS 2020, equation 4): few confident labels give a small loss, so that the weight of what has no
        labels grows with the network's confidence. Running statistics stay as they are.

        Args:
            labels: (N,) or (N, H, W) class ids.
            confident: bool, of the same shape; only these labels count.
        """
        share = total(confident.float().sum()) / total(images.new_full((), confident.numel()))
        with held_statistics(self.network):
            values = self.criterion_losses(self.network, images, self._targets.of_classes(labels, confident))
        return share * values["loss"]

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """Logits (N, K, ...) of a network for normalised pictures; running statistics stay as they are."""
        with self.forward.autocast(), held_statistics(network):
            return self._logits(network(images))


class TeacherStudent(SemiSupervised):
    """A method in which the exponential moving average of the weights (EMA) teaches the network.

    The average includes the running statistics of batch norms.

    Raises:
        UserError: the recipe averages differently, or not at all.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if not isinstance(self.optimised.average, ExponentialMovingAverage):
            raise UserError(
                f"method.name: the teacher of {setup.recipe.method.name} is a moving average of the weights, which "
                "train.ema_decay: null or train.swa_start switches off; leave both out."
            )

    @torch.no_grad()
    def taught(self, images: Tensor) -> Tensor:
        """The teacher's logits (N, K, ...) for normalised pictures.

        The teacher is in the mode of the network, so that the batch norms of both use the statistics of the batch, as
        in the implementation of Tarvainen & Valpola. With running statistics, which lag behind, the network would
        follow differences that come from the statistics alone.
        """
        assert self.optimised.average is not None
        teacher = self.optimised.average.network
        for own, each in zip(teacher.modules(), self.network.modules(), strict=True):
            own.training = each.training
        try:
            return self.logits(teacher, images)
        finally:
            teacher.eval()
