"""Supervised training, or training with the loss that a network implements: one network, one optimiser, one loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.data.loader import Batch
from pixelwise.methods.base import Method, Scalar, Setup, as_scalars
from pixelwise.methods.optimised import Optimised


class Supervised(Method):
    """Minimises the task's criterion between the network's output and the labels.

    A network whose loss is part of its paper implements `losses(images, targets) -> {name: scalar}`, which is minimised
    instead. Each auxiliary head (`auxiliary_weights` of the network) adds its weighted criterion.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.criterion = setup.criterion
        self.optimised = Optimised.planned(setup.network, setup.recipe, setup.frozen)

    def step(self, batches: Mapping[str, Batch], progress: float) -> dict[str, Scalar]:
        batch = batches[self.streams[0].name].to(self.forward.device)
        self.optimised.train()
        values = self.losses(self.network, batch)
        return self.update(values, progress, batch)

    def update(self, values: Mapping[str, Tensor], progress: float, batch: Batch) -> dict[str, Scalar]:
        """Does one update with the gradient of `values["loss"]`.

        Returns:
            The values, the gradient's norm, and the learning rate.
        """
        done = self.optimised.step(values["loss"], progress, batch.names)
        return {**as_scalars(values), **done}

    def check(self) -> None:
        self.optimised.check()

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        if self.criterion is None:
            return self.forward(network.losses, batch.images, targets=batch.targets)  # type: ignore[arg-type]
        return self.criterion_losses(network, self.forward.normalised(batch.images), batch.targets)

    def criterion_losses(self, network: nn.Module, images: Tensor, targets: Any) -> dict[str, Tensor]:
        """The terms of the criterion, those of auxiliary heads as `auxiliary`, and their sum as `loss`.

        Args:
            images: (N, C, H, W), as the network takes them.
        """
        assert self.criterion is not None
        weights = getattr(network, "auxiliary_weights", ())
        with self.forward.autocast():
            answer, *others = network(images, auxiliary=True) if weights else (network(images),)
        values = self.criterion(answer, targets)
        if not weights:
            return values
        auxiliary = [
            weight * self.criterion(each, targets)["loss"] for weight, each in zip(weights, others, strict=True)
        ]
        values["auxiliary"] = torch.stack(auxiliary).sum()
        values["loss"] = values["loss"] + values["auxiliary"]
        return values

    def prepare_evaluation(self, batches: Iterable[Batch]) -> None:
        with self.forward.autocast():
            device = self.forward.device
            self.optimised.refresh(self.forward.normalised(batch.to(device).images) for batch in batches)

    def shipped(self) -> nn.Module:
        return self.optimised.shipped()

    def state_dict(self) -> dict[str, Any]:
        return self.optimised.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.optimised.load_state_dict(state)
