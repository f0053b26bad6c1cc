"""DeepDream: changes a picture so that a layer responds more to what it already finds there (Mordvintsev et al. 2015).

A. Mordvintsev, C. Olah, M. Tyka, Inceptionism, Google Research blog, June 2015, and the code published with it:
gradient ascent on the norm of a layer. The picture is changed at several sizes (octaves), the smallest first, so that
forms appear at all sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.explain.activations import capture, frozen
from pixelwise.explain.maximisation import Bounds, moved


def deepdream(
    network: nn.Module,
    images: Tensor,
    layers: Sequence[str],
    *,
    octaves: int = 4,
    octave_scale: float = 1.4,
    steps: int = 10,
    rate: float = 0.02,
    jitter: int = 16,
    bounds: Bounds | None = None,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Changes normalised pictures (N, C, H, W) so that the mean squares of the layers' outputs rise.

    Args:
        layers: names of layers; each contributes the mean square of its output. Early layers draw strokes, late layers
            draw things.
        octaves, octave_scale: number of sizes, and the factor from one size to the next.
        steps: number of steps at each size. A step is `rate` times the gradient, divided by its mean magnitude.
        jitter, bounds, seed, progress: as for `maximise`.

    Returns:
        (N, C, H, W) normalised pictures.

    Raises:
        UserError: unknown layer.
    """
    random = torch.Generator().manual_seed(seed)
    height, width = images.shape[-2:]
    low, high = (None, None) if bounds is None else tuple(bound.to(images.device) for bound in bounds)
    dream = added = images
    for octave in range(octaves):
        shrink = octave_scale ** (octave + 1 - octaves)
        size = max(1, round(shrink * height)), max(1, round(shrink * width))
        base = F.interpolate(images, size, mode="bilinear", antialias=True)
        added = F.interpolate(added, size, mode="bilinear") if octave else torch.zeros_like(base)
        dream = base + added
        for step in range(steps):
            dream = dream + rate * _direction(network, dream, layers, random, jitter)
            if low is not None:
                dream = torch.clamp(dream, low, high)
            if progress is not None:
                progress((octave * steps + step + 1) / (octaves * steps))
        added = dream - base
    return dream


def _direction(
    network: nn.Module, images: Tensor, layers: Sequence[str], random: torch.Generator, jitter: int
) -> Tensor:
    """The gradient of the layers' mean squares, divided by its mean magnitude in each picture."""
    with frozen(network), torch.enable_grad():
        images = images.detach().clone().requires_grad_()
        with capture(network, layers) as found:
            network(moved(images, random, jitter=jitter))
        norm = sum(maps.square().flatten(1).mean(1) for maps in found.values())
        assert isinstance(norm, Tensor)
        (gradient,) = torch.autograd.grad(norm.sum(), images)
    return gradient / gradient.abs().mean((1, 2, 3), keepdim=True).clamp_min(1e-12)
