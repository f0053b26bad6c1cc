"""Modules of a network exchanged for others."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn


def replace_modules(network: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Puts modules in place of others, under every name that they have.

    The network is changed in place. Its own attributes (`heads`, `stride`) and the order of its parameters stay.

    Args:
        replacements: new module by old one; the keys are compared by identity.

    Returns:
        The network, or its replacement where the network itself is a key.
    """
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if name and module in replacements:
            network.set_submodule(name, replacements[module])
    return replacements.get(network, network)
