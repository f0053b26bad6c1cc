"""Grad-CAM: the positions of a layer's maps that raise a score (Selvaraju et al., ICCV 2017, arXiv:1610.02391)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelwise.errors import UserError
from pixelwise.explain.activations import capture, frozen
from pixelwise.tasks.insight import Score


def grad_cam(network: nn.Module, images: Tensor, score: Score, *, layer: str, local: bool = False) -> Tensor:
    """The sum of a layer's channels, each weighted by the mean gradient of the score, cut off at 0 (equations 1, 2).

    For a classifier that ends with global average pooling and one linear layer, the result is CAM (Zhou et al., CVPR
    2016) divided by the number of positions, without its negative part. For a class of a dense network (Vinogradova et
    al., AAAI 2020) pass `class_score(class_id)`; for boxes, any function of the network's output that returns (N,).

    Args:
        images: (N, C, H, W).
        layer: name of a layer that returns a feature map.
        local: whether to count only the positions that the score depends on, such as those of the region that a
            detector classifies; the result is 0 elsewhere.

    Returns:
        (N, h, w), at the layer's size; `Fields.spread` lays it over the picture.

    Raises:
        UserError: an unknown layer, a layer without a map, or a layer that the score does not depend on.
    """
    with frozen(network), torch.enable_grad():
        images = images.detach().clone().requires_grad_()  # parameters are fixed, so the graph has to start here
        with capture(network, [layer]) as found:
            output = network(images)
        maps = found[layer]
        if maps.dim() != 4:
            raise UserError(
                f"layer '{layer}' returns {tuple(maps.shape)}, which is not a feature map; give a layer before it."
            )
        (gradient,) = torch.autograd.grad(score(output).sum(), maps, allow_unused=True)
    if gradient is None:
        raise UserError(f"layer '{layer}': the score does not depend on it; give a layer that it is computed from.")
    weights = gradient.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
    evidence = (weights * maps).sum(1).relu().detach()
    return evidence.where((gradient != 0).any(1), 0.0) if local else evidence
