"""Conditional adversarial training on pairs (Isola et al., CVPR 2017, arXiv:1611.07004): the method of pix2pix."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from pixelwise.data.loader import Batch
from pixelwise.losses.adversarial import generator_loss
from pixelwise.methods.base import LABELLED_STREAM, Scalar, Setup, as_scalars
from pixelwise.methods.translation import Translation, TranslationOptions, distance, joined
from pixelwise.nn.freezing import held_weights


class ConditionalOptions(TranslationOptions):
    """Options of conditional adversarial training."""

    l1: float = Field(100.0, ge=0, description="factor of the mean absolute error in the generator's loss")


class Conditional(Translation):
    """Trains a generator whose discriminator sees input and output together.

    The generator minimises `L_GAN + l1 * L1` (equation 4). L1 makes the coarse picture right, the discriminator the
    texture. The discriminator learns first in each step, from the same translations.

    Raises:
        UserError: a network without `generator` and `discriminator`, or one that does not translate.
    """

    Options = ConditionalOptions
    streams = (LABELLED_STREAM,)
    generators = ("generator",)
    discriminators = ("discriminator",)
    what = "a generator and a discriminator on pairs of pictures"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.options: ConditionalOptions = setup.options

    def step(self, batches: Mapping[str, Batch], progress: float) -> dict[str, Scalar]:
        batch = batches[LABELLED_STREAM.name].to(self.forward.device)
        generator, discriminator = self.players["generator"], self.players["discriminator"]
        generator.train()
        discriminator.train()
        network, options = self.translator, self.options
        given = self.forward.normalised(batch.images)
        wanted = network.scaled(batch.targets.pictures)
        with self.forward.autocast():
            made = network.generator(given).float()
            real = network.discriminator(joined(given, wanted))
            fake = network.discriminator(joined(given, made.detach()))
        judged = self.judged(real, fake, options.loss)
        done = discriminator.step(judged, progress, batch.names)
        scalars = {"discriminator_gradient_norm": done["gradient_norm"]}
        with held_weights(discriminator.network):
            with self.forward.autocast():
                logits = network.discriminator(joined(given, made))
            terms = {"adversarial": generator_loss(logits, options.loss), "l1": distance(made, wanted)}
            loss = terms["adversarial"] + options.l1 * terms["l1"]
            done = generator.step(loss, progress, batch.names)
        return {**as_scalars({"loss": loss, "discriminator_loss": judged, **terms}), **scalars, **done}
