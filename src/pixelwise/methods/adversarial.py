"""Adversarial training of a generator and a discriminator (Goodfellow et al., NIPS 2014, arXiv:1406.2661)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import nn

from pixelwise.data.loader import Batch
from pixelwise.errors import UserError
from pixelwise.losses.adversarial import discriminator_loss, generator_loss
from pixelwise.methods.base import Method, MethodOptions, Scalar, Setup, Stream, as_scalars
from pixelwise.methods.optimised import Optimised

PICTURES = Stream("labelled", targets=False)
"""The training pictures in the same order as for supervised training; their labels are not read."""


class AdversarialOptions(MethodOptions):
    """Options of adversarial training."""

    discriminator_steps: int = Field(1, ge=1, description="steps of the discriminator per step of the generator")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="how far below 1 the target for real pictures is")


class Adversarial(Method):
    """Trains two networks with one optimiser each, with the non-saturating losses.

    The network has a `generator` and a `discriminator`. `noise(count)` draws the input of the generator;
    `discriminate(pictures)` returns the logits (N,) or (N, ...) of the discriminator. Averaging (`ema_decay`,
    `swa_start`) applies to the generator; the averaged generator makes the pictures afterwards.
    """

    Options = AdversarialOptions
    streams = (PICTURES,)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if not isinstance(getattr(setup.network, "discriminator", None), nn.Module):
            raise UserError(
                "method.name: adversarial trains a generator and a discriminator, and "
                f"{setup.recipe.model.name} is not such a pair; leave it out."
            )
        self.options: AdversarialOptions = setup.options
        network: Any = setup.network
        self.generator = Optimised.planned(network.generator, setup.recipe)
        averaging_off = {"ema_decay": None, "swa_start": None}
        unaveraged = setup.recipe.model_copy(update={"train": setup.recipe.train.model_copy(update=averaging_off)})
        self.discriminator = Optimised.planned(network.discriminator, unaveraged)
        self._averaged = copy.copy(network)
        self._averaged._modules = dict(network._modules)  # the same discriminator, another generator

    def step(self, batches: Mapping[str, Batch], progress: float) -> dict[str, Scalar]:
        batch = batches[PICTURES.name].to(self.forward.device)
        network: Any = self.network
        self.generator.train()
        self.discriminator.train()
        real = self.forward.normalised(batch.images)
        scalars: dict[str, Scalar] = {}
        for _ in range(self.options.discriminator_steps):
            with self.forward.autocast():
                with torch.no_grad():
                    fake = network.generator(network.noise(len(real)))
                logits = network.discriminate(real), network.discriminate(fake)
            loss = discriminator_loss(*logits, label_smoothing=self.options.label_smoothing)
            done = self.discriminator.step(loss, progress, batch.names)
            scalars = {
                **as_scalars({"discriminator_loss": loss}),
                "discriminator_gradient_norm": done["gradient_norm"],
            }
        with self.forward.autocast():
            fooled = network.discriminate(network.generator(network.noise(len(real))))
        loss = generator_loss(fooled)
        done = self.generator.step(loss, progress, batch.names)
        return {**as_scalars({"loss": loss}), **scalars, **done}

    def check(self) -> None:
        self.discriminator.check()
        self.generator.check()

    def shipped(self) -> nn.Module:
        generator = self.generator.shipped()
        if generator is self.generator.network:
            return self.network
        self._averaged._modules["generator"] = generator
        return self._averaged

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.state_dict(), "discriminator": self.discriminator.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
