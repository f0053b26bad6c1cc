"""Reads the outputs of a network's layers without changing the network.

Layers have the names of `network.named_modules()`; the empty name is the network itself.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.errors import UserError, unknown
from pixelwise.nn.freezing import held_weights


@contextmanager
def frozen(network: nn.Module) -> Iterator[nn.Module]:
    """Context with the network in evaluation mode and its parameters fixed; both are restored, even after an error."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with held_weights(network):
            yield network
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def hooked(modules: Mapping[str, nn.Module], hook: Callable[[str, Any], Any]) -> Iterator[None]:
    """Context that calls `hook(name, output)` after each module.

    If the hook returns something other than None, that replaces the module's output. The hooks are removed at the end,
    even after an error.
    """

    def call(name: str, module: nn.Module, inputs: Any, output: Any) -> Any:
        return hook(name, output)

    with ExitStack() as handles:
        for name, module in modules.items():
            handles.callback(module.register_forward_hook(partial(call, name)).remove)
        yield


@contextmanager
def capture(network: nn.Module, layers: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Context that keeps the output of each layer in a dictionary, to be read after the forward pass.

    If a layer returns several tensors, the first one is kept; if it is called several times, the last output. Outputs
    stay part of the graph, so gradients with respect to them can be computed.

    Raises:
        UserError: a layer that the network does not have; at the end, a layer that was not called or returned no
            tensor.
    """
    modules = dict(network.named_modules())
    wanted = {name: find_layer(modules, name) for name in layers}
    found: dict[str, Tensor] = {}

    def keep(name: str, output: Any) -> Any:
        # The next module may work in place, as ReLUs do. It gets a copy, so the kept output does not change.
        if isinstance(output, Tensor):
            found[name] = output
            return output.clone()
        if isinstance(output, tuple | list) and output and isinstance(output[0], Tensor):
            found[name] = output[0]
            return type(output)((output[0].clone(), *output[1:]))
        return None

    with hooked(wanted, keep):
        yield found
    for name in wanted:
        if name not in found:
            raise UserError(
                f"layer '{name}': this {type(network).__name__} does not call it, or it returns no tensor; choose "
                "another layer."
            )


def find_layer(modules: Mapping[str, nn.Module], name: str) -> nn.Module:
    """The module with a given name.

    Raises:
        UserError: unknown name; the message lists similar names only, since a network may have hundreds.
    """
    if name not in modules:
        near = difflib.get_close_matches(name, modules, n=8, cutoff=0.4)
        raise unknown("layer", name, near or [known for known in modules if known and "." not in known])
    return modules[name]


def answer(network: nn.Module, images: Tensor, layer: str = "") -> Any:
    """The output of the network, or of one of its layers, for pictures (N, C, H, W).

    Raises:
        UserError: as in `capture`.
    """
    if not layer:
        return network(images)
    with capture(network, [layer]) as found:
        network(images)
    return found[layer]


def outputs(network: nn.Module, images: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """The outputs of several layers for pictures (N, C, H, W), by name, from one pass in evaluation mode.

    >>> outputs(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), torch.zeros(1, 3, 8, 8), ["0", "1"])["1"].shape
    torch.Size([1, 8, 6, 6])

    Raises:
        UserError: as in `capture`.
    """
    with frozen(network), torch.no_grad(), capture(network, layers) as found:
        network(images)
    return found
