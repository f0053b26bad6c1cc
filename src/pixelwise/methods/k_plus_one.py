"""A GAN with K + 1 classes: the classifier is the discriminator, and generated pictures are its class K + 1.

Salimans, Goodfellow, Zaremba, Cheung, Radford, Chen: Improved Techniques for Training GANs, NIPS 2016, section 5,
arXiv:1606.03498.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from pixelwise.data.loader import Batch
from pixelwise.distributed import buffers_from_first, total
from pixelwise.errors import UserError
from pixelwise.hardware import on_device
from pixelwise.losses.adversarial import discriminator_loss
from pixelwise.methods.base import Scalar, Setup, as_scalars
from pixelwise.methods.optimised import Optimised
from pixelwise.methods.semi_supervised import SemiSupervised, SemiSupervisedOptions
from pixelwise.models.generate.dcgan import DCGAN
from pixelwise.nn.encoder import Classifier
from pixelwise.nn.perturbation import noisy
from pixelwise.nn.statistics import held_statistics

SMALL = 1024
"""Up to this many values per picture (32 x 32, grey) the generator is an MLP, as for MNIST in the paper."""


class KPlusOneOptions(SemiSupervisedOptions):
    """Options of the GAN with K + 1 classes."""

    latent: int = Field(100, ge=1, description="dimensions of the generator's noise")
    width: int = Field(
        64, ge=1, description="channels of the generator's finest maps; an MLP has 8 times as many units"
    )
    noise: float = Field(
        0.0, ge=0, description="standard deviation of noise on all pictures, in standard deviations of the pictures"
    )
    generator_rate: float = Field(1.0, gt=0, description="learning rate of the generator, as a factor of the network's")


class KPlusOne(SemiSupervised):
    """Trains a classifier to distinguish real pictures from generated ones, and a generator by feature matching.

    The logit of class K + 1 is fixed to 0, so the network keeps its K outputs. A step updates the classifier, then the
    generator, which brings the mean features of its pictures closer to those of real ones (section 3.1). The features
    are the input of the network's last layer.

    Without noise on its input and within it (dropout), as in the paper's network for MNIST, the classifier soon tells
    generated pictures from real ones without fail, and learns nothing more from them.

    Raises:
        UserError: the network is not a classifier of whole pictures.
    """

    Options = KPlusOneOptions
    term = "real_or_generated"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        network = setup.network
        if not isinstance(network, Classifier):
            raise UserError(
                f"method.name: k_plus_one trains classifiers of whole pictures, and {setup.recipe.model.name} is not "
                "one; choose fixmatch or mean_teacher."
            )
        recipe, options = setup.recipe, self.options
        generator = PictureGenerator(len(recipe.normalize.mean), recipe.crop, options.latent, options.width)
        plain = recipe.optimizer.model_copy(update={"depth_decay": 1.0, "weight_decay": 0.0})
        self.generator = generator.to(self.forward.device)
        self.generated = Optimised.planned(
            self.generator,
            recipe.model_copy(update={"optimizer": plain}),
            averaged=False,
            rate=options.generator_rate,
        )
        self._last = network.get_submodule(network.heads[-1])

    def step(self, batches: Mapping[str, Batch], progress: float) -> dict[str, Scalar]:
        self.generated.train()
        scalars = super().step(batches, progress)
        if progress < self.options.start:
            return scalars
        unlabelled = batches[self.streams[1].name].to(self.forward.device)
        with torch.no_grad():
            wanted = self._mean_features(self.forward.normalised(unlabelled.images))
        found = self._mean_features(self.generator(self.generator.noise(len(unlabelled.names))))
        distance = (found - wanted).square().mean()
        done = self.generated.step(distance, progress, unlabelled.names)
        return {
            **scalars,
            **as_scalars({"feature_distance": distance}),
            "generator_gradient_norm": done["gradient_norm"],
        }

    def unlabelled_terms(self, images: Tensor, names: Sequence[str], progress: float) -> dict[str, Tensor]:
        self.generator.take_range(images)
        with torch.no_grad():
            fake = self.generator(self.generator.noise(len(images)))
        real_logits, fake_logits = (
            self.logits(self.network, self._noisy(each)).float().logsumexp(1) for each in (images, fake)
        )
        return {self.term: discriminator_loss(real_logits, fake_logits) / 2}

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return super().losses(network, replace(batch, images=self._noisy(batch.images, self.forward.std)))

    def _noisy(self, images: Tensor, unit: Tensor | float = 1.0) -> Tensor:
        """Pictures (N, C, H, W) with the noise of the discriminator's input.

        Args:
            unit: the standard deviation of the pictures, (C, 1, 1) or 1 if they are normalised.
        """
        return noisy(images.float(), self.options.noise * unit) if self.options.noise > 0 else images

    def _mean_features(self, images: Tensor) -> Tensor:
        """Pictures (N, C, H, W), normalised -> the mean (F,) of the last layer's inputs over pictures."""
        seen: list[Tensor] = []
        handle = self._last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        with handle, self.forward.autocast(), held_statistics(self.network):
            self.network(self._noisy(images))
        features = seen[0].flatten(1).float()
        return total(features.sum(0)) / total(features.new_full((), len(features)))

    def check(self) -> None:
        super().check()
        self.generated.check()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "generator": self.generated.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.generated.load_state_dict(state["generator"])


class PictureGenerator(nn.Module):
    """Turns noise into pictures of one size: an MLP with batch norm for small ones, else the generator of DCGAN.

    The output is stretched to the range that each channel has in the first batch, and cut to the size in the middle.

    Args:
        channels: number of channels of the pictures.
        size: height and width.
        latent: dimensions of the noise.
        width: channels of DCGAN's maps at half the size; an MLP has 8 times as many units in both of its layers.
    """

    low: Tensor
    high: Tensor

    def __init__(self, channels: int, size: tuple[int, int], latent: int, width: int) -> None:
        super().__init__()
        self.shape = (channels, *size)
        self.latent = latent
        if math.prod(self.shape) <= SMALL:
            units = 8 * width
            self.main: nn.Module = nn.Sequential(
                nn.Linear(latent, units), nn.BatchNorm1d(units), nn.Softplus(),
                nn.Linear(units, units), nn.BatchNorm1d(units), nn.Softplus(),
                nn.Linear(units, math.prod(self.shape)), nn.Tanh(),
            )  # fmt: skip
        else:
            self.main = DCGAN(in_channels=channels, size=size, latent=latent, width=width).generator
        self.register_buffer("low", torch.zeros(channels, 1, 1))
        self.register_buffer("high", torch.zeros(channels, 1, 1))
        self._knows_range = False

    def noise(self, count: int) -> Tensor:
        """(count, latent) from the uniform distribution on 0..1, drawn on the CPU."""
        return on_device(torch.rand(count, self.latent), self.low.device)

    def take_range(self, images: Tensor) -> None:
        """Remembers the range of each channel of a batch (N, C, H, W), unless one is known."""
        if self._knows_range:
            return
        if not bool((self.high > self.low).any()):  # read once: a resumed run knows the range already
            self.low.copy_(images.amin((0, 2, 3))[:, None, None])
            self.high.copy_(images.amax((0, 2, 3))[:, None, None])
            buffers_from_first(self)
        self._knows_range = True

    def forward(self, noise: Tensor) -> Tensor:
        """(N, latent) -> (N, C, H, W), normalised pictures."""
        height, width = self.shape[1:]
        made = self.main(noise).float()
        if made.dim() == 2:
            made = made.view(-1, *self.shape)
        top, left = (made.shape[2] - height) // 2, (made.shape[3] - width) // 2
        made = made[:, :, top : top + height, left : left + width]
        return self.low + (made + 1) / 2 * (self.high - self.low)
