"""From a feature back to the pixels: the gradient, deconvnet, guided backpropagation. They differ in one rule.

The way back through a convolution is the transposed convolution, through max pooling it is unpooling to the switches,
and batch norm and shortcuts are linear: in all of that the three are one. What becomes of a value R on its way back
through a ReLU that had x before it:

    gradient    R where x > 0                 Simonyan et al. 2014, arXiv:1312.6034
    deconvnet   R where R > 0                 Zeiler & Fergus, ECCV 2014, arXiv:1311.2901, section 2.1
    guided      R where x > 0 and R > 0       Springenberg et al. 2015, arXiv:1412.6806, section 3.4

So all of them are the backward pass, with the rule put in place of every ReLU's derivative (figure 1 of the last).
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
"""What comes back, and where the ReLU let pass (0 or 1) -> what goes on."""
RULES: dict[str, Rule] = {
    "deconvnet": lambda back, passed: back.relu(),
    "gradient": lambda back, passed: back * passed,
    "guided": lambda back, passed: back.relu() * passed,
}


class _Rectified(Function):
    """ReLU, or ReLU6, with a rule of its own on the way back."""

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
    """Within it, every ReLU and ReLU6 follows a rule on the way back, be it a module or a function call."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # A hardtanh is a rectifier if it begins at 0: it is what nn.ReLU6 calls.
        if func not in RECTIFIERS or kwargs.get("min_val", 0) != 0:
            return func(*args, **kwargs)
        ceiling = 6.0 if func is F.relu6 else kwargs.get("max_val", float("inf"))
        rectified = _Rectified.apply(args[0], ceiling, self.rule)
        if func in IN_PLACE or kwargs.get("inplace", False):
            return args[0].copy_(rectified)  # others may hold the same maps
        return rectified


def project(network: nn.Module, images: Tensor, score: Score, *, layer: str = "", rule: str = "deconvnet") -> Tensor:
    """What of (N, C, H, W) pictures a score goes back to: (N, C, H, W).

    Without ReLUs it is the gradient, whatever the rule. Other activations than ReLU and ReLU6 keep their derivatives.

    Args:
        score: of what the layer answers. The paper keeps one feature, where it is strongest: `peak_score(channel)`.
        layer: name; the network's own answer if empty.
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
