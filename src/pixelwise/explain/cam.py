"""Grad-CAM: where in a layer's maps the evidence for a score lies (Selvaraju et al., ICCV 2017, arXiv:1610.02391)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelwise.errors import UserError
from pixelwise.explain.activations import capture, frozen
from pixelwise.tasks.insight import Score


def grad_cam(network: nn.Module, images: Tensor, score: Score, *, layer: str, local: bool = False) -> Tensor:
    """Channels of a layer weighted by the mean gradient of the score, summed, negative values cut off (equations 1, 2).

    For a classifier of global average pooling and one linear layer, this is CAM (Zhou et al., CVPR 2016) over the
    number of places, without its negative part. For a class of a dense network (Vinogradova et al., AAAI 2020) give
    `class_score(class_id)`; for boxes, any function of what the network answers that gives (N,).

    Args:
        images: (N, C, H, W).
        layer: one with a map.
        local: whether only the places that the score depends on count, such as those of the region that a detector
            classifies; the map is 0 elsewhere.

    Returns:
        (N, h, w), at the layer's size; `Fields.spread` lays it over the picture.

    Raises:
        UserError: an unknown layer, one without a map, or one that the score does not depend on.
    """
    with frozen(network), torch.enable_grad():
        images = images.detach().clone().requires_grad_()  # parameters are fixed: it is this that makes a graph
        with capture(network, [layer]) as found:
            output = network(images)
        maps = found[layer]
        if maps.dim() != 4:
            raise UserError(f"layer '{layer}' answers {tuple(maps.shape)}, which is no map; give one before it.")
        (gradient,) = torch.autograd.grad(score(output).sum(), maps, allow_unused=True)
    if gradient is None:
        raise UserError(f"layer '{layer}': the score does not depend on it; give one that comes before the answer.")
    weights = gradient.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
    evidence = (weights * maps).sum(1).relu().detach()
    return evidence.where((gradient != 0).any(1), 0.0) if local else evidence
