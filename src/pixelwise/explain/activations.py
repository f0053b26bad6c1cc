"""What the layers of a network answer, without changing the network.

Layers go by the names of `network.named_modules()`; the empty name is the network itself.
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


@contextmanager
def frozen(network: nn.Module) -> Iterator[nn.Module]:
    """The network in evaluation mode and with fixed parameters; afterwards as it was, also where something raised."""
    modes = {module: module.training for module in network.modules()}
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.eval()
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield network
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def hooked(modules: Mapping[str, nn.Module], hook: Callable[[str, Any], Any]) -> Iterator[None]:
    """Within it, `hook(name, output)` is called for what each module answers, and may answer something in its place.

    The hooks are gone afterwards, also where something raised.
    """

    def call(name: str, module: nn.Module, inputs: Any, output: Any) -> Any:
        return hook(name, output)

    with ExitStack() as handles:
        for name, module in modules.items():
            handles.callback(module.register_forward_hook(partial(call, name)).remove)
        yield


@contextmanager
def capture(network: nn.Module, layers: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Within it, what each of the layers answers is kept in a dictionary, to be read after the pass.

    Of a layer that answers several tensors it is the first, of one that is called several times the last answer. It
    belongs to the pass's graph, so a gradient for it can be asked for.

    Raises:
        UserError: a layer that the network does not have; at the end, one that was not called or answered no tensor.
    """
    modules = dict(network.named_modules())
    wanted = {name: find_layer(modules, name) for name in layers}
    found: dict[str, Tensor] = {}

    def keep(name: str, output: Any) -> Any:
        # What follows may work in place, as ReLUs do: it gets a copy, and what was kept stays what it was.
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
            raise UserError(f"layer '{name}': this {type(network).__name__} does not call it, or it gives no tensor.")


def find_layer(modules: Mapping[str, nn.Module], name: str) -> nn.Module:
    """The module of a name.

    Raises:
        UserError: unknown name; the nearest ones are in the sentence, as a network may have hundreds.
    """
    if name not in modules:
        near = difflib.get_close_matches(name, modules, n=8, cutoff=0.4)
        raise unknown("layer", name, near or [known for known in modules if known and "." not in known])
    return modules[name]


def answer(network: nn.Module, images: Tensor, layer: str = "") -> Any:
    """What the network, or one of its layers, answers to (N, C, H, W).

    Raises:
        UserError: as `capture`.
    """
    if not layer:
        return network(images)
    with capture(network, [layer]) as found:
        network(images)
    return found[layer]


def outputs(network: nn.Module, images: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """What several layers answer to (N, C, H, W), in one pass and in evaluation mode, by name.

    >>> outputs(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), torch.zeros(1, 3, 8, 8), ["0", "1"])["1"].shape
    torch.Size([1, 8, 6, 6])

    Raises:
        UserError: as `capture`.
    """
    with frozen(network), torch.no_grad(), capture(network, layers) as found:
        network(images)
    return found
