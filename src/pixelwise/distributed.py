"""Sums over all processes of a run, so that several processes compute the same as one."""

from __future__ import annotations

import atexit
from collections.abc import Iterable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function

if dist.is_available():
    # The functions of this module keep the process group that exists at import as a default argument. Optimisers would
    # import it at their first step, when the run's group exists, and the group could then no longer be left.
    import torch.distributed.nn.functional

T = TypeVar("T")


def world_size() -> int:
    """The number of processes of this run: 1 unless started by `torchrun` or `accelerate launch`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process; process 0 writes files."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def leave_at_exit() -> None:
    """Makes the process leave its group before the interpreter ends.

    Otherwise threads of the group that still run can abort the process (`terminate called without an active
    exception`).
    """
    if dist.is_available() and dist.is_initialized():
        atexit.unregister(_leave)
        atexit.register(_leave)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def total(value: Tensor) -> Tensor:
    """The sum of `value` over all processes, differentiable; with a single process, `value` itself.

    Each process then holds the same loss of the whole batch. The gradient of a process's summand is the sum of the
    gradients of all these equal losses. Data-parallel training averages parameter gradients over processes, which
    divides by their number again and leaves the gradient of one loss.
    """
    if world_size() == 1:
        return value
    return _AllReduceSum.apply(value)


class _AllReduceSum(Function):
    @staticmethod
    def forward(ctx: object, value: Tensor) -> Tensor:
        summed = value.detach().clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        summed = gradients[0].contiguous().clone()
        dist.all_reduce(summed)
        return summed


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replaces each gradient by its mean over all processes, in one message; does nothing with a single process.

    All processes must hold gradients of the same parameters.
    """
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world_size()
    for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def gathered(value: T) -> list[T]:
    """The values of all processes in order of rank, on every process; all processes must call this."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def barrier() -> None:
    """Waits until all processes have called this."""
    if world_size() > 1:
        dist.barrier()


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether `flag` is true on any process; all processes must call this."""
    if world_size() == 1:
        return flag
    value = torch.tensor(int(flag), device=device)
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return bool(value.item())


def buffers_from_first(network: nn.Module) -> None:
    """Copies the buffers of the first process to all others; all processes must call this."""
    if world_size() > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)


def from_first(value: float, device: torch.device) -> float:
    """The value of the first process, on every process; all processes must call this."""
    if world_size() == 1:
        return value
    shared = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(shared, 0)
    return float(shared.item())
