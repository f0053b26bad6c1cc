"""Activation maximisation: the picture that a feature responds to most, found by gradient ascent from noise.

Erhan et al. 2009 look for the picture I with the largest score S(I) among pictures of a given norm. Simonyan et al.
2014, arXiv:1312.6034, section 2, maximise S(I) - lambda |I|^2. A given norm has the same effect whatever the scale of
S. Neither is enough: the picture fills with high frequencies, which fool the network and show nothing. Remedies are
penalties (Mahendran & Vedaldi, CVPR 2015: total variation), blur between steps (Yosinski et al. 2015), small random
movements of the picture in every step, and a search among frequencies instead of pixels (Olah et al., Feature
Visualization, Distill 2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.explain.activations import answer, frozen
from pixelwise.tasks.insight import Score

Bounds = tuple[Tensor, Tensor]
"""Least and greatest value of a normalised picture's channels, (C, 1, 1) each."""

COLOURS = ((0.569, 0.577, 0.586), (0.192, 0.025, -0.211), (0.064, -0.109, 0.045))
"""Rows: the principal axes of RGB colours in 250 photographs of ImageNet classes (light, orange against blue, magenta
against green). Their lengths are the standard deviations along them, scaled so that the first is 1."""


def maximise(
    network: nn.Module,
    score: Score,
    *,
    size: tuple[int, int],
    in_channels: int = 3,
    layer: str = "",
    number: int = 1,
    steps: int = 256,
    rate: float = 0.05,
    frequency: bool = True,
    decay: float = 1.0,
    contrast: float | None = None,
    l2: float = 0.0,
    total_variation: float = 0.0,
    blur: float = 0.0,
    jitter: int = 0,
    rotate: float = 0.0,
    magnify: tuple[float, float] = (1.0, 1.0),
    normalise_gradient: bool = False,
    bounds: Bounds | None = None,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Finds pictures that maximise a score: (number, C, H, W), in the normalised values that the network takes.

    All pictures of a batch start from the same noise and do not influence each other, so each is the same as if it were
    made alone. The same seed gives the same pictures.

    Args:
        score: score (number,) of the layer's output, such as `channel_score(3, 7)` for two pictures.
        size: height and width; classes are shown best at the size of the training pictures.
        layer: name of a layer; empty for the output of the network.
        rate: learning rate of Adam; with `normalise_gradient`, the length of a step.
        frequency: search among frequencies, with amplitudes scaled as in photographs (1/f). Three channels are searched
            along the colour axes of photographs. False searches among pixels.
        decay: the exponent of f; above 1, large shapes are preferred to fine ones.
        contrast: the largest root mean square of a picture; a larger one is scaled down to it. For frequencies within
            bounds it applies to the argument of the sigmoid, where photographs have about 1.
        l2, total_variation: factors of two penalties, the sum of squares and the sum of differences between neighbours.
        blur: standard deviation in pixels of the Gaussian that blurs the picture after each step.
        jitter: largest random shift in pixels in each step; pixels that leave at one border come back at the other.
        rotate, magnify: largest random rotation in degrees, and the range of random magnification, in each step.
        normalise_gradient: take steps along the gradient with a root mean square of `rate`, instead of Adam's steps.
        bounds: least and greatest values of the picture; None for none. Frequencies are kept within them by a sigmoid,
            pixels by clipping.
        progress: is called with the share of the work that is done, 0 to 1.

    Raises:
        UserError: unknown layer, class or channel.
    """
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    random = torch.Generator().manual_seed(seed)
    limits = None if bounds is None else tuple(bound.to(device) for bound in bounds)
    shape = (in_channels, *size)
    if frequency:
        scale = spectrum_scale(size, decay).to(device)
        noise = 0.01 * torch.randn(in_channels, *scale.shape, 2, generator=random)
    else:
        noise = 0.01 * torch.randn(shape, generator=random)
    values = noise.to(device).repeat(number, *(1,) * noise.dim()).requires_grad_()

    def free() -> Tensor:
        plain: Tensor = values
        if frequency:
            plain = torch.fft.irfft2(torch.view_as_complex(values) * scale, s=size, norm="ortho")
            if in_channels == 3:
                plain = torch.einsum("ac,nahw->nchw", torch.tensor(COLOURS, device=device), plain)
        if contrast is not None:
            plain = plain * (contrast / plain.square().mean((1, 2, 3), keepdim=True).sqrt()).clamp_max(1)
        return plain

    def picture() -> Tensor:
        if limits is None or not frequency:
            return free()
        return limits[0] + (limits[1] - limits[0]) * free().sigmoid()

    smooth = gaussian_transfer(size, blur).to(device)
    optimizer = torch.optim.Adam([values], rate)
    with frozen(network), torch.enable_grad():
        for step in range(steps):
            shown = picture()
            seen = moved(shown, random, jitter=jitter, rotate=rotate, magnify=magnify)
            worth = score(answer(network, seen, layer)) - l2 * shown.square().sum((1, 2, 3))
            if total_variation:
                worth = worth - total_variation * variation(shown)
            (values.grad,) = torch.autograd.grad(-worth.sum(), values)
            with torch.no_grad():
                if normalise_gradient:
                    length = values.grad.flatten(1).square().mean(1).sqrt().clamp_min(1e-12)
                    values -= rate * values.grad / length.view(-1, *(1,) * (values.dim() - 1))
                else:
                    optimizer.step()
                if blur and frequency:
                    values *= smooth[..., None]
                elif blur:
                    values.copy_(torch.fft.irfft2(torch.fft.rfft2(values) * smooth, s=size))
                if limits is not None and not frequency:
                    torch.clamp(values, *limits, out=values)
            if progress is not None:
                progress((step + 1) / steps)
        return picture().detach()


def frequencies(size: tuple[int, int]) -> Tensor:
    """(H, W // 2 + 1): the frequencies of the entries of `rfft2`, in cycles per pixel."""
    rows, columns = torch.fft.fftfreq(size[0]), torch.fft.rfftfreq(size[1])
    return (rows[:, None].square() + columns.square()).sqrt()


def spectrum_scale(size: tuple[int, int], decay: float = 1.0) -> Tensor:
    """Amplitudes 1/f^decay; with a decay of 1, those of photographs (Field 1987). The mean has the lowest frequency's.

    The mean square is that of 1/f whatever the decay, so that a step always changes a picture by the same amount.
    """
    photographs = 1 / frequencies(size).clamp_min(1 / max(size))
    scale = photographs**decay
    return scale * (photographs.square().mean() / scale.square().mean()).sqrt()


def gaussian_transfer(size: tuple[int, int], deviation: float) -> Tensor:
    """The share of each frequency that remains after a blur by a Gaussian of that standard deviation in pixels."""
    return torch.exp(-2 * (math.pi * deviation * frequencies(size)).square())


def variation(images: Tensor) -> Tensor:
    """(N, C, H, W) -> (N,): the sum of absolute differences between neighbours, down and across."""
    return sum(images.diff(dim=axis).abs().sum((1, 2, 3)) for axis in (-2, -1))  # type: ignore[return-value]


def moved(
    images: Tensor,
    random: torch.Generator,
    *,
    jitter: int = 0,
    rotate: float = 0.0,
    magnify: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """Shifts, rotates and magnifies all pictures by the same random amounts within the limits; see `maximise`."""
    if jitter:
        down, right = torch.randint(-jitter, jitter + 1, (2,), generator=random).tolist()
        images = images.roll((down, right), (-2, -1))
    if rotate or magnify != (1.0, 1.0):
        turn, size = torch.rand(2, generator=random).tolist()
        angle = math.radians(rotate * (2 * turn - 1))
        factor = magnify[0] * (magnify[1] / magnify[0]) ** size
        ratio = images.shape[-1] / images.shape[-2]  # the unit of the grid is half a side, so it differs between axes
        sine, cosine = math.sin(angle) / factor, math.cos(angle) / factor
        theta = images.new_tensor([[cosine, -sine / ratio, 0], [sine * ratio, cosine, 0]])
        grid = F.affine_grid(theta.expand(len(images), 2, 3), list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return images
