"""Protects batch-norm statistics from forward passes that must not change them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def held_statistics(network: nn.Module) -> Iterator[None]:
    """Context in which forward passes in training mode normalise by their batch but keep running statistics unchanged.

    It is meant for passes over perturbed or generated pictures, whose statistics differ from those of the data. Each
    batch norm works on copies of its buffers. The original buffers are put back on exit, even after an error; since
    nothing is written to them, they stay the same to the bit, and graphs that were built before stay valid.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    kept = [dict(norm._buffers) for norm in norms]
    for norm in norms:
        for name, buffer in norm._buffers.items():
            norm._buffers[name] = None if buffer is None else buffer.clone()
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            norm._buffers.update(buffers)
