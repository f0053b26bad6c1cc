"""Updates of AdamW that can be differentiated, for unrolled GANs (Metz et al., ICLR 2017, arXiv:1611.02163)."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.methods.optimised import Optimised


class UnrolledAdamW:
    """Parameters as they would be after further updates, as functions of the losses of these updates.

    The optimiser, its moments and the modules' own parameters stay as they are.

    Args:
        optimised: modules with an AdamW optimiser; its present moments and learning rates are continued.

    Attributes:
        parameters: by name, after the updates so far.
    """

    def __init__(self, optimised: Optimised) -> None:
        named = {name: value for name, value in optimised.network.named_parameters() if value.requires_grad}
        groups = {id(value): group for group in optimised.optimizer.param_groups for value in group["params"]}
        states = optimised.optimizer.state
        self.parameters: dict[str, Tensor] = dict(named)
        self._groups = {name: groups[id(value)] for name, value in named.items()}
        self._moments: dict[str, tuple[Tensor, Tensor]] = {}
        self._steps: dict[str, int] = {}
        for name, value in named.items():
            state = states.get(value, {})
            zeros = torch.zeros_like(value)
            self._moments[name] = (state.get("exp_avg", zeros).clone(), state.get("exp_avg_sq", zeros).clone())
            self._steps[name] = int(state.get("step", 0))

    def step(self, loss: Tensor) -> None:
        """Does one update; the new parameters depend differentiably on everything that the loss depends on."""
        gradients = torch.autograd.grad(loss, list(self.parameters.values()), create_graph=True)
        for (name, value), gradient in zip(list(self.parameters.items()), gradients, strict=True):
            group = self._groups[name]
            first, second = group["betas"]
            self._steps[name] += 1
            mean, square = self._moments[name]
            mean = first * mean + (1 - first) * gradient
            square = second * square + (1 - second) * gradient.square()
            self._moments[name] = mean, square
            corrected = square / (1 - second ** self._steps[name])
            # eps under the root, since the derivative of the root is infinite at 0.
            change = mean / (1 - first ** self._steps[name]) / (corrected + group["eps"] ** 2).sqrt()
            self.parameters[name] = value * (1 - group["lr"] * group["weight_decay"]) - group["lr"] * change
