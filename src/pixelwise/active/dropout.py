"""Monte Carlo dropout: passes through a network that differ in what dropout leaves out."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves, tree_map_only

from pixelwise.errors import UserError
from pixelwise.nn.replace import replace_modules

RATE = 0.5
"""Share of the features before the head that is left out, in networks without dropout, as in Bayesian SegNet."""


class MonteCarloDropout(nn.Module):
    """Dropout that stays random in evaluation mode.

    Args:
        rate: probability that a value is left out.
        channels: whether whole channels of maps (N, C, H, W) are left out, as `nn.Dropout2d` does, instead of single
            values.
    """

    def __init__(self, rate: float, *, channels: bool = False) -> None:
        super().__init__()
        self.rate = rate
        self.channels = channels

    def forward(self, values: Tensor) -> Tensor:
        whole = self.channels and values.dim() > 2
        return (F.dropout2d if whole else F.dropout)(values, self.rate, training=True)

    def extra_repr(self) -> str:
        return f"rate={self.rate}, channels={self.channels}"


def with_monte_carlo_dropout(network: nn.Module) -> nn.Module:
    """A copy of a network in evaluation mode, except for its dropout, which stays random (Gal & Ghahramani, ICML 2016).

    Only `nn.Dropout` and `nn.Dropout2d` with a rate above 0 are random: batch norm uses its running statistics and does
    not change them. A network without such layers gets dropout at one place, on the input of its last layers (those
    that return class logits, see `heads_of`), with a rate of 0.5 (as before the last layers of Bayesian SegNet,
    Kendall et al., BMVC 2017, section 4). It leaves out whole channels, so a pass has the same weights at every pixel.

    Raises:
        UserError: a network without dropout whose heads are unknown.
    """
    random = copy.deepcopy(network).eval()
    own: dict[nn.Module, nn.Module] = {
        module: MonteCarloDropout(module.p, channels=isinstance(module, nn.Dropout2d))
        for module in random.modules()
        if isinstance(module, nn.Dropout | nn.Dropout2d) and module.p > 0
    }
    if own:
        return replace_modules(random, own)
    for head in heads_of(random):
        head.register_forward_pre_hook(_Before(MonteCarloDropout(RATE, channels=True)))
    return random


class _Before:
    """A hook that applies a module to the input of another one."""

    def __init__(self, module: MonteCarloDropout) -> None:
        self.module = module

    def __call__(self, _: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.module(arguments[0]), *arguments[1:])


class SharedBody:
    """Lets passes over the same pictures share whatever in a network does not depend on anything random.

    Without it, every pass would compute the same features again, which is most of the cost of a network whose dropout
    is before its last layers. A trial shows which calls of modules can be shared. The first pass keeps their outputs,
    and further passes return copies, because a network may change its tensors in place. The random numbers are drawn in
    the same order, so the passes are the same, bit for bit.

    Args:
        network: from `with_monte_carlo_dropout`; it is changed in place, and its parameters lose their gradients.
        example: an input of the network, for the trial.
    """

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        self._shared = _Trial(network).shared_calls(example)
        self._kept: dict[tuple[nn.Module, int], Any] = {}
        self._calls: dict[nn.Module, int] = {}
        self._inside = False
        for module in self._shared:
            module.forward = partial(self._call, module, module.forward)

    def start(self) -> None:
        """Has to be called before the first pass over new pictures."""
        self._kept.clear()

    def start_pass(self) -> None:
        """Has to be called before every pass."""
        self._calls = dict.fromkeys(self._shared, 0)

    def _call(self, module: nn.Module, forward: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        if self._inside:
            return forward(*arguments, **named)
        key = module, self._calls[module]
        self._calls[module] += 1
        if key[1] not in self._shared[module]:
            return forward(*arguments, **named)
        if key not in self._kept:
            self._inside = True
            try:
                self._kept[key] = forward(*arguments, **named)
            finally:
                self._inside = False
        return tree_map_only(Tensor, Tensor.clone, self._kept[key])


class _Trial:
    """A pass that shows which calls of modules do the same in every pass: nothing in them or before them is random.

    Autograd follows the dependence: the results of random layers are multiplied by a number that needs a gradient, so
    everything that depends on them does, too. Calls that change their inputs in place are left out, and so are calls
    within a call that is shared as a whole.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network.requires_grad_(requires_grad=False)
        self._calls = {module: 0 for module in network.modules() if not any(map(_sources, module.modules()))}
        self._shared: dict[nn.Module, set[int]] = defaultdict(set)
        self._outer: tuple[nn.Module, list[int]] | None = None
        """The shared call that is running, and the versions of its inputs."""

    def shared_calls(self, example: Tensor) -> dict[nn.Module, set[int]]:
        """Module -> the numbers of its calls, outside of other shared calls, that can be shared.

        Args:
            example: an input of the network.
        """
        with torch.inference_mode(mode=False), torch.enable_grad(), ExitStack() as hooks:
            mark = torch.ones((), device=example.device, dtype=example.dtype, requires_grad=True)

            def marked(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
                return output * mark

            for module in self._network.modules():
                for source in _sources(module):
                    hooks.enter_context(source.register_forward_hook(marked))
            for module in self._calls:
                hooks.enter_context(module.register_forward_pre_hook(self._before, with_kwargs=True))
                hooks.enter_context(module.register_forward_hook(self._after, with_kwargs=True))
            self._network(example.clone())
        return {module: calls for module, calls in self._shared.items() if calls}

    def _before(self, module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        if self._outer is not None:
            return
        inputs = _tensors((arguments, named))
        if not any(each.requires_grad for each in inputs):
            self._shared[module].add(self._calls[module])
            self._outer = module, [each._version for each in inputs]
        self._calls[module] += 1

    def _after(self, module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        if self._outer is None or self._outer[0] is not module:
            return
        if [each._version for each in _tensors((arguments, named))] != self._outer[1]:
            self._shared[module].discard(self._calls[module] - 1)
        self._outer = None


def _tensors(values: Any) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]


def _sources(module: nn.Module) -> list[MonteCarloDropout]:
    """The random layers that a call of the module itself runs."""
    if isinstance(module, MonteCarloDropout):
        return [module]
    return [hook.module for hook in module._forward_pre_hooks.values() if isinstance(hook, _Before)]


def heads_of(network: nn.Module) -> list[nn.Module]:
    """The last layers of a network, which return class logits, in the order of its `last_layers` or `heads`.

    Raises:
        UserError: the network does not name them.
    """
    modules = dict(network.named_modules())
    names: tuple[str, ...] = getattr(network, "last_layers", ()) or getattr(network, "heads", ())
    found = [layer for name in names if name in modules for layer in _called(modules[name])]
    if not found:
        raise UserError(
            f"{type(network).__name__} does not name the layers of its head, so there is no place for dropout and no "
            "features to compare; choose the strategy entropy or margin."
        )
    return found


def _called(module: nn.Module) -> list[nn.Module]:
    """The module, or the members of a list or dictionary of modules, which is not called itself."""
    if isinstance(module, nn.ModuleList | nn.ModuleDict):
        return [layer for child in module.children() for layer in _called(child)]
    return [module]
