"""Virtual adversarial training (Miyato, Maeda, Koyama, Ishii, TPAMI 2018, arXiv:1704.03976).

The loss is the KL divergence of a network's prediction for a picture from its prediction for the picture plus r, the
small perturbation that changes the prediction most. It needs no labels. r is found by power iteration: the divergence's
gradient at a small random perturbation points along the dominant eigenvector of its Hessian (section 3.3).

Instead of a network, the functions take a function from pictures to logits: (N, K) for classes or (N, K, H, W) for
pixels. A single logit (K = 1) is the foreground's against a background of logit 0. Random numbers drawn inside that
function, such as dropout's, are the same in all passes of one call. The caller takes care of batch norm:
`pixelwise.nn.statistics.held_statistics` around the call keeps running statistics as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from pixelwise.distributed import total
from pixelwise.hardware import on_device
from pixelwise.losses.consistency import log_probabilities

LogitsOf = Callable[[Tensor], Tensor]


def categorical_kl(logits: Tensor, other_logits: Tensor) -> Tensor:
    """KL(softmax(logits) || softmax(other_logits)) in nats, in float32 whatever the dtype (float64 stays).

    Args:
        logits, other_logits: (N, K) or (N, K, H, W).

    Returns:
        (N,) or (N, H, W), at least 0 up to rounding.
    """
    log_p, log_q = log_probabilities(logits), log_probabilities(other_logits)
    return (log_p.exp() * (log_p - log_q)).sum(1)


def virtual_adversarial_perturbation(
    logits_of: LogitsOf,
    images: Tensor,
    *,
    epsilon: float,
    xi: float,
    iterations: int = 1,
    generator: torch.Generator | None = None,
    logits: Tensor | None = None,
) -> Tensor:
    """r_adv: approximately the perturbation of length epsilon that changes the prediction most (algorithm 1).

    Only the gradient with respect to the perturbation is computed; parameters receive none. Passes run in float32, even
    under autocast, because bfloat16's rounding hides the divergence at a small perturbation. The state of torch's
    random numbers does not change, except that without a generator the random start is drawn from it.

    Args:
        images: (N, ...), as the network takes them.
        epsilon: length of r, the L2 norm over all values of a picture.
        xi: length of the perturbation at which the gradient is taken. The paper's 1e-6 needs float64; in float32 about
            a tenth of epsilon works. With larger values the direction is that of a finite step.
        iterations: K; one is enough according to the paper.
        generator: draws the random start, on the CPU; None for the global random state.
        logits: the network's logits for `images` without a perturbation, if known; otherwise they are computed.

    Returns:
        r in the shape and dtype of `images`, detached; the norm of every picture's r is epsilon. If the gradient is 0,
        r keeps its random direction.

    Raises:
        ValueError: a length is not positive, or there is no iteration.
    """
    if not (epsilon > 0 and xi > 0 and iterations >= 1):
        raise ValueError(f"expected positive numbers, found epsilon {epsilon}, xi {xi} and {iterations} iterations")
    precise = images.detach().to(torch.promote_types(images.dtype, torch.float32))
    direction = _unit(on_device(torch.randn(images.shape, generator=generator), images.device).to(precise))
    with torch.autocast(images.device.type, enabled=False):
        if logits is None:
            with torch.no_grad(), _replayed(images.device):
                logits = logits_of(precise)
        for _ in range(iterations):
            with torch.enable_grad(), _replayed(images.device):
                perturbation = (xi * direction).requires_grad_()
                divergence = categorical_kl(logits, logits_of(precise + perturbation)).sum()
                (gradient,) = torch.autograd.grad(divergence, perturbation)
            found = gradient.flatten(1).abs().amax(1) > 0
            direction = torch.where(_per_picture(found, images), _unit(gradient), direction)
    return (epsilon * direction).to(images.dtype)


def virtual_adversarial_loss(
    logits_of: LogitsOf,
    images: Tensor,
    *,
    epsilon: float,
    xi: float,
    iterations: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """LDS: KL(prediction for x || prediction for x + r_adv), the mean over pictures or pixels (equations 5 and 8).

    No gradient flows through the prediction for x or through r_adv. The loss takes three forward and two backward
    passes. In a run of several processes the mean is over all of them.

    Args:
        images, epsilon, xi, iterations, generator: see `virtual_adversarial_perturbation`.
    """
    with torch.no_grad(), _replayed(images.device), torch.autocast(images.device.type, enabled=False):
        logits = logits_of(images.to(torch.promote_types(images.dtype, torch.float32)))
    perturbation = virtual_adversarial_perturbation(
        logits_of, images, epsilon=epsilon, xi=xi, iterations=iterations, generator=generator, logits=logits
    )
    divergence = categorical_kl(logits, logits_of(images + perturbation))
    return total(divergence.sum()) / total(divergence.new_full((), divergence.numel()))


def nearest_neighbour_distance(images: Tensor) -> float:
    """The median over pictures of the L2 distance to the nearest other picture; epsilon is a share of it.

    Args:
        images: (N, ...), at least two, as the network takes them; a thousand drawn at random are plenty.

    Raises:
        ValueError: there are fewer than two pictures.
    """
    if len(images) < 2:
        raise ValueError(f"found {len(images)} pictures, expected at least 2")
    points = images.detach().flatten(1).float()
    nearest = []
    for start in range(0, len(points), 256):
        chunk = points[start : start + 256]
        distances = torch.cdist(chunk, points, compute_mode="donot_use_mm_for_euclid_dist")
        own = torch.arange(len(chunk), device=points.device)
        distances[own, start + own] = torch.inf
        nearest.append(distances.amin(1))
    return float(torch.cat(nearest).quantile(0.5))


def _unit(vectors: Tensor) -> Tensor:
    """Divides each picture's values by their L2 norm, and first by the largest, so that tiny ones do not underflow."""
    smallest = torch.finfo(vectors.dtype).tiny
    scaled = vectors / _per_picture(vectors.flatten(1).abs().amax(1).clamp_min(smallest), vectors)
    return scaled / _per_picture(scaled.flatten(1).norm(dim=1).clamp_min(smallest), vectors)


def _per_picture(values: Tensor, images: Tensor) -> Tensor:
    """(N,) -> (N, 1, ...), which broadcasts over the pictures' values."""
    return values.view(-1, *[1] * (images.dim() - 1))


def _replayed(device: torch.device) -> AbstractContextManager[None]:
    """Restores the state of torch's random numbers on exit, so that the next pass draws the same numbers again."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])
