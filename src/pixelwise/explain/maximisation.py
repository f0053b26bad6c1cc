"""Activation maximisation: the picture that a feature answers most to, found from noise by gradient ascent.

Erhan et al. 2009: the picture I with the largest S(I) among those of one norm; Simonyan et al. 2014, arXiv:1312.6034,
section 2: with the largest S(I) - lambda |I|^2. The norm does the same whatever the scale of S is. Without more the
picture is full of high frequencies, which fool the network and show nothing. Against them there are penalties
(Mahendran & Vedaldi, CVPR 2015: total variation), blur between steps (Yosinski et al. 2015), looking at it moved a
little in every step, and a search among frequencies instead of pixels (Olah et al., Feature Visualization, Distill
2017).
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
"""Rows: the principal axes of RGB colours in 250 photographs of ImageNet classes, as long as the standard deviations
along them, of which the first is 1: light, orange against blue, magenta against green."""


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
    """Pictures that make a score large: (number, C, H, W), in the normalised values that the network takes.

    All of a batch start from the same noise and do not see each other, so each is what it would be alone. The same seed
    gives the same pictures.

    Args:
        score: of what the layer answers, (number,): `channel_score(3, 7)` for two pictures.
        size: height and width; classes come out best at the size of the training pictures.
        layer: name; the network's own answer if empty.
        rate: of Adam; with `normalise_gradient` the length of a step, see there.
        frequency: search among frequencies, each scaled as they are in photographs (1/f), colours along the axes of
            photographs where there are three channels. False searches among pixels.
        decay: the power of f in that; above 1, large shapes come before fine ones.
        contrast: the largest root mean square of a picture, which is scaled down to it. Of frequencies within bounds it
            is that of the sigmoid's argument: 1 is about what photographs have.
        l2, total_variation: factors of the sums over squares, and over differences of neighbours, taken off the score.
        blur: standard deviation in pixels of a gaussian after each step.
        jitter: the picture is moved by up to as many pixels, at random in each step, round the border.
        rotate, magnify: and turned by up to as many degrees, and magnified by a factor between the two.
        normalise_gradient: steps along the gradient, of root mean square `rate`, in place of Adam's.
        bounds: of the picture's values; None for none. A sigmoid keeps frequencies within them, clipping keeps pixels.
        progress: is called with the part that is done, 0 to 1.

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
    """(H, W // 2 + 1) cycles a pixel of the places of `rfft2`."""
    rows, columns = torch.fft.fftfreq(size[0]), torch.fft.rfftfreq(size[1])
    return (rows[:, None].square() + columns.square()).sqrt()


def spectrum_scale(size: tuple[int, int], decay: float = 1.0) -> Tensor:
    """1/f^decay, and for the mean what the lowest frequency has: with 1, amplitudes of photographs (Field 1987).

    The mean square is that of 1/f whatever the power, so that a step moves a picture as far.
    """
    photographs = 1 / frequencies(size).clamp_min(1 / max(size))
    scale = photographs**decay
    return scale * (photographs.square().mean() / scale.square().mean()).sqrt()


def gaussian_transfer(size: tuple[int, int], deviation: float) -> Tensor:
    """What a gaussian of that standard deviation in pixels leaves of each frequency."""
    return torch.exp(-2 * (math.pi * deviation * frequencies(size)).square())


def variation(images: Tensor) -> Tensor:
    """(N, C, H, W) -> (N,): the sum of absolute differences of neighbours, down and across."""
    return sum(images.diff(dim=axis).abs().sum((1, 2, 3)) for axis in (-2, -1))  # type: ignore[return-value]


def moved(
    images: Tensor,
    random: torch.Generator,
    *,
    jitter: int = 0,
    rotate: float = 0.0,
    magnify: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """Pictures moved, turned and magnified by random amounts within the limits, all alike; see `maximise`."""
    if jitter:
        down, right = torch.randint(-jitter, jitter + 1, (2,), generator=random).tolist()
        images = images.roll((down, right), (-2, -1))
    if rotate or magnify != (1.0, 1.0):
        turn, size = torch.rand(2, generator=random).tolist()
        angle = math.radians(rotate * (2 * turn - 1))
        factor = magnify[0] * (magnify[1] / magnify[0]) ** size
        ratio = images.shape[-1] / images.shape[-2]  # the grid's unit is half a side, which differs along the axes
        sine, cosine = math.sin(angle) / factor, math.cos(angle) / factor
        theta = images.new_tensor([[cosine, -sine / ratio, 0], [sine * ratio, cosine, 0]])
        grid = F.affine_grid(theta.expand(len(images), 2, 3), list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return images
