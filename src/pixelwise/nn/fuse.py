"""Folds batch norm into the convolution before it: the same function with one pass over memory less."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pixelwise.nn.replace import replace_modules

TOLERANCE = 1e-4
"""Largest change of the output that counts as rounding, relative to the largest value of the output."""


def fold_batch_norm(model: nn.Module, example: Tensor) -> nn.Module:
    """A copy of a model, in evaluation mode, whose batch norms are part of the convolutions before them.

    Batch norm with fixed statistics is affine, `gamma (y - mean) / sqrt(variance + eps) + beta`, so the convolution's
    weights and bias can include it: `weight * s` and `(bias - mean) * s + beta` with `s = gamma / sqrt(variance + eps)`
    (Jacob et al., CVPR 2018, arXiv:1712.05877, section 3.2). One run of the model shows which convolution feeds which
    batch norm: the input of the norm is the same tensor object as the output of the convolution.

    Args:
        model: in float32, of any structure; it is not changed.
        example: an input of the model, on the model's device. Folding is kept only if the output for it stays the same.

    Returns:
        The folded copy; an unfolded copy if folding would change the function (because a convolution's result is also
        used elsewhere).
    """
    plain = copy.deepcopy(model).eval()
    folded = copy.deepcopy(plain)
    pairs = convolutions_before_norms(folded, lambda: folded(example))
    if not pairs:
        return plain
    for convolution, norm in pairs:
        _fold(convolution, norm)
    replace_modules(folded, {norm: nn.Identity() for _, norm in pairs})
    with torch.no_grad():
        expected, found = plain(example), folded(example)
    scale = expected.abs().amax().clamp_min(1e-12)
    # A comparison with NaN is false, so a model that returns NaN is not folded.
    return folded if bool((found - expected).abs().amax() <= TOLERANCE * scale) else plain


def convolutions_before_norms(
    model: nn.Module, run: Callable[[], Any]
) -> list[tuple[nn.Conv2d | nn.ConvTranspose2d, nn.BatchNorm2d]]:
    """Pairs of a convolution and the batch norm that directly takes its output, if each is called only once.

    Args:
        run: calls the model.
    """
    produced: dict[int, tuple[nn.Module, Tensor, int]] = {}  # keeps the tensors alive, so that no id is used twice
    calls: dict[nn.Module, int] = {}
    pairs = []

    def after_convolution(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        calls[module] = calls.get(module, 0) + 1
        produced[id(output)] = (module, output, output._version)

    def before_norm(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        calls[module] = calls.get(module, 0) + 1
        source, _, version = produced.get(id(inputs[0]), (None, None, -1))
        # A higher version means that something (an in-place ReLU) has written into the tensor in between.
        if source is not None and inputs[0]._version == version:
            pairs.append((source, module))

    handles: list[RemovableHandle] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            handles.append(module.register_forward_hook(after_convolution))
        elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
            handles.append(module.register_forward_pre_hook(before_norm))
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return [
        (convolution, norm)
        for convolution, norm in pairs
        if isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d)
        and isinstance(norm, nn.BatchNorm2d)
        and isinstance(convolution.weight, nn.Parameter)  # not computed in each call, as with weight norm
        and calls[convolution] == calls[norm] == 1
    ]


def _fold(convolution: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> None:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    weight = convolution.weight.detach().double()
    scale = (variance.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.detach().double()
    shift = -mean.double() * scale
    if convolution.bias is not None:
        shift = shift + convolution.bias.detach().double() * scale
    if norm.affine:
        shift = shift + norm.bias.detach().double()
    if isinstance(convolution, nn.ConvTranspose2d):  # (in, out / groups, kH, kW): the groups are blocks of `in`
        grouped = weight.unflatten(0, (convolution.groups, -1))
        weight = (grouped * scale.view(convolution.groups, 1, -1, 1, 1)).flatten(0, 1)
    else:
        weight = weight * scale.view(-1, 1, 1, 1)
    dtype = convolution.weight.dtype
    convolution.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    convolution.bias = nn.Parameter(shift.to(dtype), requires_grad=False)
