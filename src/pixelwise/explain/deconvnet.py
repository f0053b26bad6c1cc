"""Gradient, deconvnet and guided backpropagation: three ways back from a feature to the pixels, with one rule each.

The backward pass of a convolution is the transposed convolution, that of max pooling is unpooling to the switches, and
batch norm and shortcuts are linear. All three methods share these steps. They differ in what becomes of a value R that
goes back through a ReLU whose input was x:

    gradient    R where x > 0                 Simonyan et al. 2014, arXiv:1312.6034
    deconvnet   R where R > 0                 Zeiler & Fergus, ECCV 2014, arXiv:1311.2901, section 2.1
    guided      R where x > 0 and R > 0       Springenberg et al. 2015, arXiv:1412.6806, section 3.4

So each method is the backward pass with its rule in place of every ReLU's derivative (Springenberg et al., figure 1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pixelwise.errors import unknown
from pixelwise.explain.activations import answer, frozen
from pixelwise.tasks.insight import Score

Rule = Callable[[Tensor, Tensor], Tensor]
"""(value that comes back, whether the ReLU passed its input: 0 or 1) -> value that goes further back."""
RULES: dict[str, Rule] = {
    "deconvnet": lambda back, passed: back.relu(),
    "gradient": lambda back, passed: back * passed,
    "guided": lambda back, passed: back.relu() * passed,
}


class _Rectified(Function):
    """ReLU or ReLU6 with a given rule in the backward pass."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, ceiling: float, rule: Rule) -> Tensor:
        ctx.rule = rule
        ctx.save_for_backward((maps > 0) & (maps < ceiling))
        return maps.clamp(0, ceiling)

    @staticmethod
    def backward(ctx: Any, *back: Tensor) -> tuple[Tensor | None, ...]:
        (passed,) = ctx.saved_tensors
        return ctx.rule(back[0], passed), None, None


IN_PLACE = {torch.relu_, Tensor.relu_}
RECTIFIERS = {F.relu, F.relu6, F.hardtanh, torch.relu, Tensor.relu} | IN_PLACE


class _Rules(TorchFunctionMode):
    """Context in which every ReLU and ReLU6, module or function call, follows a rule in the backward pass."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # A hardtanh whose minimum is 0 is a rectifier; nn.ReLU6 calls it.
        if func not in RECTIFIERS or kwargs.get("min_val", 0) != 0:
            return func(*args, **kwargs)
        ceiling = 6.0 if func is F.relu6 else kwargs.get("max_val", float("inf"))
        rectified = _Rectified.apply(args[0], ceiling, self.rule)
        if func in IN_PLACE or kwargs.get("inplace", False):
            return args[0].copy_(rectified)  # other modules may hold the same tensor
        return rectified


def project(network: nn.Module, images: Tensor, score: Score, *, layer: str = "", rule: str = "deconvnet") -> Tensor:
    """Projects a score back to the pixels of pictures (N, C, H, W) and returns (N, C, H, W).

    For a network without ReLUs the result is the gradient, whatever the rule. Activations other than ReLU and ReLU6
    keep their derivatives.

    Args:
        score: score of the layer's output. The paper keeps one channel at its strongest position:
            `peak_score(channel)`.
        layer: name of a layer; empty for the output of the network.
        rule: a name in `RULES`.

    Raises:
        UserError: unknown rule or layer.
    """
    if rule not in RULES:
        raise unknown("rule", rule, RULES)
    with frozen(network), torch.enable_grad(), _Rules(RULES[rule]):
        images = images.detach().clone().requires_grad_()
        total = score(answer(network, images, layer)).sum()
        (gradient,) = torch.autograd.grad(total, images)
    return gradient
