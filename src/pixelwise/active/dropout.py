"""Monte Carlo dropout: passes through a network that differ in what dropout leaves out."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.errors import UserError
from pixelwise.nn.replace import replace_modules

RATE = 0.5
"""Share of the features before the head that is left out, in networks without dropout, as in Bayesian SegNet."""


class MonteCarloDropout(nn.Module):
    """Dropout that stays random in evaluation mode.

    Args:
        rate: probability that a value is left out.
        channels: whether whole channels are left out, as `nn.Dropout2d` does, instead of single values.
    """

    def __init__(self, rate: float, *, channels: bool = False) -> None:
        super().__init__()
        self.rate = rate
        self.channels = channels

    def forward(self, values: Tensor) -> Tensor:
        return (F.dropout2d if self.channels else F.dropout)(values, self.rate, training=True)

    def extra_repr(self) -> str:
        return f"rate={self.rate}, channels={self.channels}"


def with_monte_carlo_dropout(network: nn.Module) -> nn.Module:
    """A copy of a network in evaluation mode, except for its dropout, which stays random (Gal & Ghahramani, ICML 2016).

    Only `nn.Dropout` and `nn.Dropout2d` with a rate above 0 are random: batch norm uses its running statistics and does
    not change them. A network without such layers gets dropout at one place, on the input of its last layers (those
    that return class logits, see `heads_of`), with a rate of 0.5 (as before the last layers of Bayesian SegNet,
    Kendall et al., BMVC 2017, section 4).

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
        head.register_forward_pre_hook(_Before(MonteCarloDropout(RATE)))
    return random


class _Before:
    """A hook that applies a module to the input of another one."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, _: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.module(arguments[0]), *arguments[1:])


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
