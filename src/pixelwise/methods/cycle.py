"""Cycle-consistent adversarial training (Zhu et al., ICCV 2017, arXiv:1703.10593): the method of CycleGAN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from torch import Tensor

from pixelwise.data.loader import LABELLED, Batch
from pixelwise.errors import UserError
from pixelwise.losses.adversarial import Kind, generator_loss
from pixelwise.methods.base import Scalar, Setup, Stream, as_scalars
from pixelwise.methods.image_pool import ImagePool
from pixelwise.methods.translation import Translation, TranslationOptions, distance
from pixelwise.nn.freezing import held_weights
from pixelwise.recipe.draft import Draft

FIRST = Stream(LABELLED, targets=False)
"""Pictures of a."""
SECOND = Stream("b")
"""Pictures of b, in an order of their own, so that pairs in the data do not meet."""
IDENTITY = 0.5
"""Usual factor of the identity loss, relative to that of the cycle loss (section 5.2, photo generation)."""


class CycleOptions(TranslationOptions):
    """Options of cycle-consistent training."""

    loss: Kind = Field("least_squares", description="the losses of all players")
    cycle: float = Field(10.0, ge=0, description="factor of the error of translating there and back")
    identity: float | None = Field(
        None, ge=0, description="factor of the identity loss, relative to `cycle`; null: 0.5 for equal channels, else 0"
    )
    pool: int = Field(50, ge=0, description="earlier translations per direction that discriminators also see")


class Cycle(Translation):
    """Trains generators of both directions on pictures that are no pairs.

    Both generators minimise `L_GAN(a to b) + L_GAN(b to a) + cycle * (L_cycle + identity * L_identity)`. L_cycle is the
    mean absolute error of a picture that was translated there and back. L_identity is the same error for a picture that
    is already of the kind that the generator makes; it keeps colours. Discriminators learn after the generators, from
    the pool. In a run of several processes each has a pool of its own, and a resumed run gives all of them the pool of
    the first.

    Raises:
        UserError: a network without generators and discriminators of two directions, or an identity loss for pictures
            with different channels.
    """

    Options = CycleOptions
    streams = (FIRST, SECOND)
    generators = ("generator_a", "generator_b")
    discriminators = ("discriminator_a", "discriminator_b")
    what = "two generators and two discriminators"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.options: CycleOptions = setup.options
        if self.options.identity and self.translator.in_channels != self.translator.out_channels:
            raise UserError(
                f"method.identity: pictures have {self.translator.in_channels} and {self.translator.out_channels} "
                "channels, so no generator can take a picture of the kind that it makes; set it to 0."
            )
        self.pools = {name: ImagePool(self.options.pool) for name in ("a", "b")}

    @classmethod
    def plan(cls, draft: Draft) -> None:
        network: Any = draft.network
        equal = getattr(network, "in_channels", 0) == getattr(network, "out_channels", 0)
        why = "both kinds of pictures have the same channels" if equal else "the pictures have different channels"
        draft.derive("method", "identity", IDENTITY if equal else 0.0, why)

    def step(self, batches: Mapping[str, Batch], progress: float) -> dict[str, Scalar]:
        first = batches[FIRST.name].to(self.forward.device)
        second = batches[SECOND.name].to(self.forward.device)
        network, options = self.translator, self.options
        generators, discriminators = self.players["generator"], self.players["discriminator"]
        generators.train()
        discriminators.train()
        names = (*first.names, *second.names)
        a, b = self.forward.normalised(first.images), network.scaled(second.targets.pictures)
        with held_weights(discriminators.network), self.forward.autocast():
            as_b, as_a = network.generator_a(a).float(), network.generator_b(b).float()
            terms = {
                "adversarial": generator_loss(network.discriminator_a(as_b), options.loss)
                + generator_loss(network.discriminator_b(as_a), options.loss),
                "cycle": distance(network.generator_b(as_b), a) + distance(network.generator_a(as_a), b),
            }
            loss = terms["adversarial"] + options.cycle * terms["cycle"]
            if options.identity:
                terms["identity"] = distance(network.generator_a(b), b) + distance(network.generator_b(a), a)
                loss = loss + options.cycle * options.identity * terms["identity"]
        done = generators.step(loss, progress, names)
        with self.forward.autocast():
            judged = self._judged(network.discriminator_a, b, self.pools["b"].shown(as_b)) + self._judged(
                network.discriminator_b, a, self.pools["a"].shown(as_a)
            )
        judges = discriminators.step(judged, progress, names)
        scalars = {"discriminator_gradient_norm": judges["gradient_norm"]}
        return {**as_scalars({"loss": loss, "discriminator_loss": judged, **terms}), **scalars, **done}

    def _judged(self, discriminator: Any, real: Tensor, fake: Tensor) -> Tensor:
        return self.judged(discriminator(real), discriminator(fake), self.options.loss)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "pools": {name: pool.state_dict() for name, pool in self.pools.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        for name, pool in self.pools.items():
            pool.load_state_dict(state["pools"][name], self.forward.device)
