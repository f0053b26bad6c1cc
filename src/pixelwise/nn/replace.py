"""Replaces modules of a network."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn


def replace_modules(network: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Replaces modules by others, under every name that they have.

    The network is changed in place. Its attributes (`heads`, `stride`) and the order of its parameters stay the same.

    Args:
        replacements: old module -> new module; the keys are compared by identity.

    Returns:
        The network, or its replacement if the network itself is a key.
    """
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if name and module in replacements:
            network.set_submodule(name, replacements[module])
    return replacements.get(network, network)
