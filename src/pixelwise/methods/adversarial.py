"""Adversarial training of a generator and a discriminator (Goodfellow et al., NIPS 2014, arXiv:1406.2661)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from pixelwise.data.loader import Batch
from pixelwise.distributed import buffers_from_first, world_size
from pixelwise.errors import UserError
from pixelwise.losses.adversarial import KINDS, ZERO_SUM, Kind, discriminator_loss, generator_loss, mean
from pixelwise.losses.gradient_penalty import gradient_penalty
from pixelwise.methods.base import Method, MethodOptions, Scalar, Setup, Stream, as_scalars
from pixelwise.methods.optimised import Optimised
from pixelwise.methods.unrolled import UnrolledAdamW
from pixelwise.nn.freezing import held_weights
from pixelwise.nn.spectral_norm import SpectralNorm
from pixelwise.recipe.draft import Draft

PICTURES = Stream("labelled", targets=False)
"""The training pictures in the same order as for supervised training; their labels are not read."""
MORE_PICTURES = Stream("discriminator", targets=False)
"""The training pictures in another order, for the further steps of the discriminator."""
CRITIC_STEPS = 5
"""Steps of a critic with a gradient penalty per step of the generator (Gulrajani et al., algorithm 1)."""
UNROLLED_RATE = 0.3
"""Factor of the discriminator's learning rate if its updates are unrolled: at equal rates it wins against a generator
that allows for its answers, and generated digits stay noise."""
Lipschitz = Literal["none", "gradient_penalty", "spectral_norm"]


class AdversarialOptions(MethodOptions):
    """Options of adversarial training."""

    loss: Kind = Field("non_saturating", description=f"the losses of both players: {', '.join(KINDS)}")
    lipschitz: Lipschitz = Field(
        "none", description="what bounds the discriminator's slope: none, gradient_penalty or spectral_norm"
    )
    penalty: float = Field(10.0, gt=0, description="factor of the gradient penalty")
    drift: float = Field(0.0, ge=0, description="factor of the squared logits of real pictures; it keeps them near 0")
    discriminator_steps: int | None = Field(
        None, ge=1, description="steps of the discriminator per step of the generator, each on other pictures"
    )
    discriminator_rate: float | None = Field(
        None, gt=0, description="factor of the discriminator's learning rate, relative to the generator's"
    )
    unrolled_steps: int = Field(
        0, ge=0, description="further steps of the discriminator that the generator's loss looks ahead"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="how far below 1 the target for real pictures is")


class Adversarial(Method):
    """Trains two networks with one optimiser each.

    The network has a `generator` and a `discriminator`, whose logits are (N,) or (N, ...). `noise(count)` draws the
    input of the generator. A network that grows during the run has `grow(progress)`, and `at_size(pictures)` brings
    real pictures to its present form. Averaging (`ema_decay`, `swa_start`) applies to the generator; the averaged
    generator makes the pictures afterwards.

    Lipschitz control: `gradient_penalty` (Gulrajani et al., NIPS 2017) adds `penalty` times the squared deviation of
    the discriminator's gradient norm from 1; `spectral_norm` (Miyato et al., ICLR 2018) divides its weights by their
    largest singular values. With `unrolled_steps`, the generator's loss is that against the discriminator after so many
    further updates, and the gradient flows through them (Metz et al., ICLR 2017); the discriminator itself stays.
    `discriminator_rate` gives the players learning rates of their own (Heusel et al., NIPS 2017).

    Raises:
        UserError: the network is not such a pair, a gradient penalty for a discriminator with batch norm, label
            smoothing for a loss without labels, or unrolling with an optimiser other than AdamW or in several
            processes.
    """

    Options = AdversarialOptions
    streams = (PICTURES,)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if not (hasattr(setup.network, "noise") and hasattr(setup.network, "discriminator")):
            raise UserError(
                "method.name: adversarial trains a generator of pictures from noise and a discriminator, and "
                f"{setup.recipe.model.name} is not such a pair; leave it out."
            )
        self.options: AdversarialOptions = setup.options
        self._refuse(setup)
        network: Any = setup.network
        if hasattr(network, "grow"):
            self.full_from = 1.0
        self.generator = Optimised.planned(network.generator, setup.recipe)
        self.discriminator = Optimised.planned(
            network.discriminator, setup.recipe, averaged=False, rate=self.options.discriminator_rate or 1.0
        )
        self.spectral_norm = (
            SpectralNorm(network.discriminator).to(self.forward.device)
            if self.options.lipschitz == "spectral_norm"
            else None
        )
        if self.spectral_norm is not None:
            buffers_from_first(self.spectral_norm)
        self._steps = self.options.discriminator_steps or 1
        if self._steps > 1:
            self.streams = (PICTURES, MORE_PICTURES)  # type: ignore[misc, assignment]
        self._averaged = copy.copy(network)
        self._averaged._modules = dict(network._modules)  # the same discriminator, another generator

    def _refuse(self, setup: Setup) -> None:
        options, network = self.options, setup.network.get_submodule("discriminator")
        if options.lipschitz == "gradient_penalty" and any(isinstance(each, _BatchNorm) for each in network.modules()):
            raise UserError(
                "method.lipschitz: a gradient penalty needs a discriminator that treats each picture alone, and that "
                f"of {setup.recipe.model.name} has batch norm; set model.discriminator_norm to none."
            )
        if options.label_smoothing and options.loss in ("wasserstein", "least_squares"):
            raise UserError(f"method.label_smoothing: the loss {options.loss} has no labels to smooth; leave it out.")
        if options.unrolled_steps and (setup.recipe.optimizer.name != "adamw" or world_size() > 1):
            raise UserError(
                "method.unrolled_steps: updates can be unrolled for the optimiser adamw in a single process only; set "
                "optimizer.name to adamw, or unrolled_steps to 0."
            )

    @classmethod
    def plan(cls, draft: Draft) -> None:
        penalised = draft.values["method"]["lipschitz"] == "gradient_penalty"
        why = "as in WGAN-GP" if penalised else "the players take turns"
        draft.derive("method", "discriminator_steps", CRITIC_STEPS if penalised else 1, why)
        unrolled = draft.values["method"]["unrolled_steps"] > 0
        why = "a generator that looks ahead needs a slower discriminator" if unrolled else "both learn equally fast"
        draft.derive("method", "discriminator_rate", UNROLLED_RATE if unrolled else 1.0, why)

    def batch_sizes(self, batch_size: int) -> dict[str, int]:
        return {PICTURES.name: batch_size, MORE_PICTURES.name: batch_size * (self._steps - 1)}

    def step(self, batches: Mapping[str, Batch], progress: float) -> dict[str, Scalar]:
        network: Any = self.network
        if hasattr(network, "grow"):
            network.grow(progress)
        self.generator.train()
        self.discriminator.train()
        names = batches[PICTURES.name].names
        real = [self._real(batches[PICTURES.name])]
        if self._steps > 1:
            real += self._real(batches[MORE_PICTURES.name]).chunk(self._steps - 1)
        scalars: dict[str, Scalar] = {}
        for pictures in real:
            with torch.no_grad():
                fake = self._fake(len(pictures))
            loss, scalars = self._discriminator_loss(pictures, fake)
            done = self.discriminator.step(loss, progress, names)
            scalars["discriminator_gradient_norm"] = done["gradient_norm"]
        loss = self._generator_loss(real[0])
        done = self.generator.step(loss, progress, names)
        return {**as_scalars({"loss": loss}), **scalars, **done}

    def _real(self, batch: Batch) -> Tensor:
        network: Any = self.network
        pictures = self.forward.normalised(batch.to(self.forward.device).images)
        return network.at_size(pictures) if hasattr(network, "at_size") else pictures

    def _fake(self, count: int) -> Tensor:
        network: Any = self.network
        with self.forward.autocast():
            return network.generator(network.noise(count))

    def _logits(self, pictures: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """The discriminator's logits.

        Args:
            weights: parameters and buffers by name that take the place of its own.
        """
        network = self.discriminator.network
        replaced = dict(weights or {})
        if self.spectral_norm is not None:
            replaced |= self.spectral_norm.normalised({**dict(network.named_parameters()), **replaced})
        with self.forward.autocast():
            return functional_call(network, replaced, (pictures,)) if replaced else network(pictures)

    def _discriminator_loss(
        self, real: Tensor, fake: Tensor, weights: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Scalar]]:
        options = self.options
        logits = self._logits(real, weights), self._logits(fake, weights)
        loss = discriminator_loss(*logits, options.loss, label_smoothing=options.label_smoothing)
        terms = {"discriminator_loss": loss}
        if options.lipschitz == "gradient_penalty":
            terms["gradient_penalty"] = gradient_penalty(
                lambda pictures: self._logits(pictures, weights).float(), real.float(), fake.float()
            )
            loss = loss + options.penalty * terms["gradient_penalty"]
        if options.drift:
            loss = loss + options.drift * mean(logits[0].float().square())
        return loss, as_scalars(terms)

    def _generator_loss(self, real: Tensor) -> Tensor:
        """The loss of as many generated pictures, against the discriminator after `unrolled_steps` further updates."""
        options, fake = self.options, self._fake(len(real))
        if not options.unrolled_steps:
            with held_weights(self.discriminator.network):
                return generator_loss(self._logits(fake), options.loss)
        ahead = UnrolledAdamW(self.discriminator)
        buffers = {name: value.clone() for name, value in self.discriminator.network.named_buffers()}
        for _ in range(options.unrolled_steps):
            loss, _ = self._discriminator_loss(real, fake, {**ahead.parameters, **buffers})
            ahead.step(loss)
        logits = self._logits(fake, {**ahead.parameters, **buffers})
        if options.loss not in ZERO_SUM:
            return generator_loss(logits, options.loss)
        # What the discriminator makes of real pictures depends on the generated ones, too: it has learned from them.
        opposed = self._logits(real, {**ahead.parameters, **buffers})
        return -discriminator_loss(opposed, logits, options.loss, label_smoothing=options.label_smoothing)

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
        state = {"generator": self.generator.state_dict(), "discriminator": self.discriminator.state_dict()}
        if self.spectral_norm is not None:
            state["spectral_norm"] = self.spectral_norm.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        if self.spectral_norm is not None:
            self.spectral_norm.load_state_dict(state["spectral_norm"])
