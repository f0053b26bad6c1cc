"""How far a picture is from the decision boundary of a network, in the units of the network's input.

Pictures are normalised as the network takes them, so a distance of 1 is one standard deviation of the pixels' values in
one pixel. Networks must be in evaluation mode. No gradient reaches their parameters.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LogitsOf = Callable[[Tensor], Tensor]
"""Pictures (N, C, H, W) -> class logits (N, K) or (N, K, H, W)."""
OVERSHOOT = 0.02
"""DeepFool's eta: how much further than the estimated boundary each step goes."""


def margin_sensitivity(logits_of: LogitsOf, images: Tensor) -> Tensor:
    """The margin over the norm of its gradient: a first-order estimate of the distance to the decision boundary.

    The margin is the logit of the best class minus that of the second best, on average over the pixels of a network
    that labels pixels. Divided by the L2 norm of its gradient with respect to the picture, it is the distance to the
    boundary if the network were linear (Elsayed et al., NeurIPS 2018, section 2, equation 4). The smallest values are
    the most sensitive.

    Returns:
        (N,); infinite if the margin does not depend on the picture.
    """
    with torch.enable_grad():
        pixels = images.detach().requires_grad_()
        best = logits_of(pixels).topk(2, dim=1).values
        margins = (best[:, 0] - best[:, 1]).reshape(len(pixels), -1).mean(1)  # (N,)
        (gradient,) = torch.autograd.grad(margins.sum(), pixels)
    norms = gradient.flatten(1).norm(dim=1)
    return torch.where(norms > 0, margins.detach() / norms.clamp_min(torch.finfo(norms.dtype).tiny), torch.inf)


def adversarial_distance(logits_of: LogitsOf, images: Tensor, *, steps: int = 10, classes: int = 10) -> Tensor:
    """The length of the smallest perturbation found that changes the class (DeepFool Active Learning).

    The perturbation is that of DeepFool (Moosavi-Dezfooli et al., CVPR 2016, algorithm 2): each step goes to the
    nearest boundary of the linearised network. Its length ranks pictures in Ducoffe & Precioso (2018, arXiv:1802.09841,
    section 3.2). The smallest values are the nearest to the boundary.

    Args:
        logits_of: returns logits (N, K) of whole pictures.
        steps: the most steps per picture. A picture whose class does not change has the length that was reached.
        classes: the most probable classes whose boundaries are tried.

    Returns:
        (N,), L2 norms.
    """
    return torch.stack([_deep_fool(logits_of, image[None], steps, classes) for image in images])


def _deep_fool(logits_of: LogitsOf, image: Tensor, steps: int, classes: int) -> Tensor:
    """The length, a scalar, for one picture (1, C, H, W)."""
    total = torch.zeros_like(image)
    ranked: Tensor | None = None
    for _ in range(steps):
        with torch.enable_grad():
            pixels = (image + (1 + OVERSHOOT) * total).detach().requires_grad_()
            logits = logits_of(pixels)[0]  # (K,)
            if ranked is None:
                ranked = logits.detach().argsort(descending=True, stable=True)[:classes]
            if int(logits.detach().argmax()) != int(ranked[0]):
                break
            gaps = logits[ranked[1:]] - logits[ranked[0]]  # (R,), at most 0
            gradients = torch.stack(
                [torch.autograd.grad(gap, pixels, retain_graph=True)[0][0] for gap in gaps]
            )  # (R, C, H, W)
        norms = gradients.flatten(1).norm(dim=1).clamp_min(torch.finfo(gradients.dtype).tiny)
        distances = gaps.detach().abs() / norms
        nearest = int(distances.argmin())
        # A small constant gets a step from the boundary itself, where the distance is 0.
        length = (gaps[nearest].detach().abs() + 1e-4) / norms[nearest].square()
        total = total + length * gradients[nearest]
    return ((1 + OVERSHOOT) * total).norm()
