"""Freezes layers: their weights and batch-norm statistics no longer change in training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from pixelwise.errors import UserError, unknown

TRUNK = "trunk"
"""The word for everything but the heads."""


def weight_layers(network: nn.Module) -> list[tuple[str, list[nn.Module]]]:
    """The layers of a network in the order of their definition.

    Each entry has the name of a convolution or fully connected layer, and a list of this layer and the modules after it
    that only scale and shift (batch norm).
    """
    layers: list[tuple[str, list[nn.Module]]] = []
    for name, module in network.named_modules():
        own = list(module.parameters(recurse=False))
        if any(parameter.dim() > 1 for parameter in own):
            layers.append((name, [module]))
        elif own:
            if not layers:  # the network begins with a norm
                layers.append((name, []))
            layers[-1][1].append(module)
    return layers


def freeze(network: nn.Module, what: int | str | Sequence[str]) -> list[nn.Module]:
    """Excludes parameters from training.

    Args:
        what: a number of layers, counted from the first (see `weight_layers`); `trunk` for everything except the
            network's `heads`; or names of modules, which include their submodules.

    Returns:
        The modules that must stay in evaluation mode (`hold`).

    Raises:
        UserError: there is no such module, the network has fewer layers, or nothing is left to train.
    """
    layers = weight_layers(network)
    if isinstance(what, int):
        if what > len(layers):
            raise UserError(
                f"freeze: found {what}, but the {type(network).__name__} has only {len(layers)} layers; freeze fewer."
            )
        frozen = [module for _, modules in layers[:what] for module in modules]
    elif what == TRUNK:
        heads = getattr(network, "heads", ())
        frozen = [
            module
            for name, modules in layers
            for module in modules
            if not any(f".{head}." in f".{name}." for head in heads)
        ]
    else:
        modules = dict(network.named_modules())
        names = [what] if isinstance(what, str) else what
        for name in names:
            if name not in modules or not name:
                raise unknown(
                    f"module to freeze of the {type(network).__name__}:", name, [*filter(None, modules), TRUNK]
                )
        frozen = [module for name in names for module in modules[name].modules()]
    for module in frozen:
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UserError("freeze: nothing would be left to train; freeze less.")
    return frozen


def hold(frozen: Sequence[nn.Module]) -> None:
    """Puts frozen modules in evaluation mode, so that batch norm neither uses the batch's statistics nor updates its
    own; call it after `network.train()`."""
    for module in frozen:
        module.training = False


@contextmanager
def held_weights(modules: nn.Module) -> Iterator[None]:
    """Context in which gradients flow through modules to their inputs, but not to their weights."""
    learned = [parameter for parameter in modules.parameters() if parameter.requires_grad]
    for parameter in learned:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)
