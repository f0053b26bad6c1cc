"""Variational autoencoder (Kingma & Welling, ICLR 2014, arXiv:1312.6114), convolutional, and the plain autoencoder.

The encoder returns a Gaussian over codes, the decoder a Bernoulli distribution per value of the picture. Training
maximises the evidence lower bound (ELBO, equation 10) with the reparameterised sample z = mean + sigma * epsilon. All
terms are in nats per picture: they are summed over the picture's values and over the dimensions of the code, and
averaged over pictures. Reconstruction and KL divergence therefore have the same scale, and no factor balances them.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.distributed import total
from pixelwise.losses.gaussian import gaussian_kl, gaussian_log_density
from pixelwise.nn.dense import mirror_pad

SMALLEST_MAP = 8
"""Maps are halved until their shorter side has at most this many pixels: twice for 28x28, three times for 64x64."""


class VAEAnswer(NamedTuple):
    """Outputs of one forward pass of a VAE.

    Attributes:
        logits: (N, C, H, W), of the Bernoulli distributions; their sigmoid is the reconstruction.
        mean, log_variance: (N, D), of the posterior over codes.
        z: (N, D), the decoded code: a sample of the posterior in training mode, else the posterior's mean.
    """

    logits: Tensor
    mean: Tensor
    log_variance: Tensor
    z: Tensor


class AutoencoderAnswer(NamedTuple):
    """Outputs of one forward pass of an autoencoder.

    Attributes:
        logits: (N, C, H, W); their sigmoid is the reconstruction.
        z: (N, D), the code.
    """

    logits: Tensor
    z: Tensor


class VAE(nn.Module):
    """Variational autoencoder (algorithm 1) with a convolutional encoder and its mirror image as decoder.

    The likelihood is Bernoulli. By default a picture's values 0..1 are the probabilities of its pixels, and each pass
    draws a new binary picture from them (dynamic binarisation, Burda et al., ICLR 2016, section 5.1), so that bounds
    can be compared with the literature on MNIST. The channels of colour pictures are treated in the same way, but a
    binary draw of them looks like noise. `binarise=False` suits them better: the values 0..1 are then the targets of
    the cross entropy.

    1 channel, 28x28, latent 32, width 32, hidden 512: 3,331,329 parameters.

    Args:
        size: height and width of the pictures; any size, because borders are padded to a multiple of the stride.
        latent: D, dimensions of the code.
        width: channels at half the size, doubled with each further halving.
        hidden: units of the fully connected layers before and after the code.
        binarise: whether each pass draws a new binary picture.
    """

    input_range = (0.0, 1.0)

    def __init__(
        self,
        *,
        in_channels: int = 1,
        size: tuple[int, int] = (28, 28),
        latent: int = 32,
        width: int = 32,
        hidden: int = 512,
        binarise: bool = True,
    ) -> None:
        super().__init__()
        self.size = size
        self.latent = latent
        self.binarise = binarise
        self.encoder = ConvEncoder(in_channels, size, 2 * latent, width, hidden)
        self.decoder = Decoder(in_channels, size, latent, width, hidden)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) in 0..1 -> mean and log variance of the posterior over codes, each (N, D), float32."""
        mean, log_variance = self.encoder(images).float().chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        """(N, D) -> logits (N, C, H, W), float32."""
        return self.decoder(z).float()

    def codes(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in 0..1 -> (N, D), the posterior means."""
        return self.encode(images)[0]

    def forward(self, images: Tensor) -> VAEAnswer:
        """(N, C, H, W) in 0..1 -> posterior, code and reconstruction; the code is sampled in training mode."""
        mean, log_variance = self.encode(images)
        z = _draw(mean, log_variance) if self.training else mean
        return VAEAnswer(self.decode(z), mean, log_variance, z)

    def losses(self, images: Tensor, targets: object = None) -> dict[str, Tensor]:
        """The negative ELBO as `loss`, and its terms `reconstruction` and `kl`, in nats per picture.

        Args:
            images: (N, C, H, W) in 0..1.
            targets: not used, because pictures need no labels here.
        """
        reconstruction, kl = self.terms(images, None)
        count = total(reconstruction.new_full((), len(images)))
        reconstruction, kl = total(reconstruction.sum()) / count, total(kl.sum()) / count
        return {"loss": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}

    @torch.no_grad()
    def elbo(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The evidence lower bound on log p(x) per picture in nats, from one sample each: (N, C, H, W) -> (N,)."""
        reconstruction, kl = self.terms(images, generator)
        return -(reconstruction + kl)

    @torch.no_grad()
    def log_likelihood_bound(
        self, images: Tensor, samples: int = 64, generator: torch.Generator | None = None
    ) -> Tensor:
        """The importance-weighted bound on log p(x) per picture in nats (Burda et al., ICLR 2016, equation 8).

        The bound is log(1/k sum p(x, z_i) / q(z_i | x)) with z_i from the posterior. With one sample its expectation is
        the ELBO; with more samples it rises towards log p(x).

        Args:
            images: (N, C, H, W) in 0..1.
            samples: k; the samples are decoded one after the other, so memory does not depend on their number.

        Returns:
            (N,)
        """
        images = self._drawn(images, generator)
        mean, log_variance = self.encode(images)
        weights = []
        for _ in range(samples):
            z = _draw(mean, log_variance, generator)
            log_p = -_cross_entropy(self.decode(z), images).flatten(1).sum(1) + gaussian_log_density(z)
            weights.append(log_p - gaussian_log_density(z, mean, log_variance))
        return torch.stack(weights).logsumexp(0) - math.log(samples)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator | None = None, *, temperature: float = 1.0) -> Tensor:
        """(count, C, H, W) in 0..1: the means of the pixels, decoded from codes drawn from the prior.

        Args:
            temperature: the standard deviation of the codes.
        """
        zeros = next(self.parameters()).new_zeros(count, self.latent)
        return self.decode(temperature * _draw(zeros, zeros, generator)).sigmoid()

    def _drawn(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """One binary draw of each picture; without binarisation the pictures themselves."""
        if not self.binarise:
            return images
        noise = torch.rand(images.shape, generator=generator, device=_device(images, generator))
        return (noise.to(images.device) < images).to(images.dtype)

    def terms(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Reconstruction error and KL divergence per picture in nats, each (N,), from one posterior sample each."""
        images = self._drawn(images, generator)
        mean, log_variance = self.encode(images)
        logits = self.decode(_draw(mean, log_variance, generator))
        return _cross_entropy(logits, images).flatten(1).sum(1), gaussian_kl(mean, log_variance)

    def surprise(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The negative log-probability of each value given the posterior's mean, in nats; (N, C, H, W)."""
        images = self._drawn(images, generator)
        return _cross_entropy(self.decode(self.codes(images)), images)


class Autoencoder(nn.Module):
    """The VAE's encoder and decoder with the code itself between them: no distribution, no KL divergence, no sampling.

    1 channel, 28x28, latent 32, width 32, hidden 512: 3,314,913 parameters.

    Args:
        size, latent, width, hidden: as in `VAE`.
    """

    input_range = (0.0, 1.0)

    def __init__(
        self,
        *,
        in_channels: int = 1,
        size: tuple[int, int] = (28, 28),
        latent: int = 32,
        width: int = 32,
        hidden: int = 512,
    ) -> None:
        super().__init__()
        self.size = size
        self.latent = latent
        self.encoder = ConvEncoder(in_channels, size, latent, width, hidden)
        self.decoder = Decoder(in_channels, size, latent, width, hidden)

    def codes(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in 0..1 -> (N, D), float32."""
        return self.encoder(images).float()

    def decode(self, z: Tensor) -> Tensor:
        """(N, D) -> logits (N, C, H, W), float32."""
        return self.decoder(z).float()

    def forward(self, images: Tensor) -> AutoencoderAnswer:
        """(N, C, H, W) in 0..1 -> reconstruction and code."""
        z = self.codes(images)
        return AutoencoderAnswer(self.decode(z), z)

    def terms(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Reconstruction error per picture in nats, and 0 in place of the KL divergence; each (N,)."""
        errors = self.surprise(images).flatten(1).sum(1)
        return errors, torch.zeros_like(errors)

    def surprise(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The cross entropy of each value and its reconstruction in nats; (N, C, H, W)."""
        return _cross_entropy(self(images).logits, images)

    def losses(self, images: Tensor, targets: object = None) -> dict[str, Tensor]:
        """The cross entropy of the pictures' values 0..1 in nats per picture, as `loss` and as `reconstruction`."""
        errors, _ = self.terms(images)
        reconstruction = total(errors.sum()) / total(errors.new_full((), len(images)))
        return {"loss": reconstruction, "reconstruction": reconstruction}


class ConvEncoder(nn.Module):
    """4x4 convolutions of stride 2, each with SiLU, and two fully connected layers: (N, C, H, W) -> (N, outputs)."""

    def __init__(self, in_channels: int, size: tuple[int, int], outputs: int, width: int, hidden: int) -> None:
        super().__init__()
        self.padding, channels, rows, columns = _plan(size, width)
        layers: list[nn.Module] = []
        for before, after in pairwise([in_channels, *channels]):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.SiLU()]
        self.convolutions = nn.Sequential(*layers)
        self.hidden = nn.Linear(channels[-1] * rows * columns, hidden)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.convolutions(mirror_pad(images, self.padding))  # (N, 64, 7, 7) for 28x28
        return self.head(F.silu(self.hidden(maps.flatten(1))))


class Decoder(nn.Module):
    """The encoder's mirror image: (N, latent) -> logits (N, C, H, W)."""

    def __init__(self, out_channels: int, size: tuple[int, int], latent: int, width: int, hidden: int) -> None:
        super().__init__()
        self.size = size
        _, channels, rows, columns = _plan(size, width)
        self.hidden = nn.Linear(latent, hidden)
        self.dense = nn.Linear(hidden, channels[-1] * rows * columns)
        self.unflatten = nn.Unflatten(1, (channels[-1], rows, columns))
        layers: list[nn.Module] = []
        for before, after in pairwise([*reversed(channels), out_channels]):
            layers += [nn.SiLU(), nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)]
        self.convolutions = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        maps = self.unflatten(self.dense(F.silu(self.hidden(z))))  # (N, 64, 7, 7) for 28x28
        height, width = self.size
        return self.convolutions(maps)[..., :height, :width]


def _plan(size: tuple[int, int], width: int) -> tuple[tuple[int, int, int, int], list[int], int, int]:
    """The border to add (left, right, top, bottom), the channels after each halving, and the coarsest map's rows and
    columns."""
    halvings = max(1, math.ceil(math.log2(min(size) / SMALLEST_MAP)))
    stride = 2**halvings
    rows, columns = (-(-side // stride) for side in size)
    border = (0, columns * stride - size[1], 0, rows * stride - size[0])
    return border, [width * 2**level for level in range(halvings)], rows, columns


def _draw(mean: Tensor, log_variance: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A sample of N(mean, variance), differentiable in both (the reparameterisation trick, section 2.4)."""
    noise = torch.randn(mean.shape, generator=generator, device=_device(mean, generator), dtype=mean.dtype)
    return mean + (0.5 * log_variance).exp() * noise.to(mean.device)


def _device(values: Tensor, generator: torch.Generator | None) -> torch.device:
    """The device on which random numbers are drawn: the generator's, if any, so that a seed has one meaning."""
    return values.device if generator is None else generator.device


def _cross_entropy(logits: Tensor, images: Tensor) -> Tensor:
    """-log p(x | z) of each value in nats; (N, C, H, W), float32."""
    return F.binary_cross_entropy_with_logits(logits.float(), images.float(), reduction="none")
