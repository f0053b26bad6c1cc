"""Batch-norm statistics that a forward pass must not move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def held_statistics(network: nn.Module) -> Iterator[None]:
    """Within it, forward passes in training mode normalise by their batch, but running statistics stay bitwise.

    For passes over perturbed or generated pictures, whose statistics are not those of the data. Each batch norm works
    on copies of its buffers, and its own are put back on leaving, also after an error; they are not written to, so
    graphs that were built before stay valid.
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
