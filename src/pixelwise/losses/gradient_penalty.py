"""The gradient penalty of WGAN-GP (Gulrajani et al., NIPS 2017, arXiv:1704.00028)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pixelwise.distributed import total


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """How far the critic is from having gradients of norm 1 between real and generated pictures (equation 3).

    For each pair, one number alpha from 0..1 places a picture on the line between the two. The penalty is the squared
    difference of the gradient's norm there, over all channels and pixels together, from 1; averaged over pairs. It is 0
    for a linear critic whose weights have norm 1.

    Args:
        critic: pictures (N, C, H, W) -> logits (N, ...); it must treat each picture alone, so it has no batch norm.
        real, fake: (N, C, H, W).
        generator: of alpha, on the CPU.
    """
    alpha = torch.rand(len(real), generator=generator).to(real)[:, None, None, None]
    between = (alpha * real + (1 - alpha) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    excess = (gradient.flatten(1).norm(dim=1) - 1).square()
    return total(excess.sum()) / total(excess.new_full((), len(excess)))
