"""What this machine has, and how to use it well."""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def default_device() -> torch.device:
    """CUDA, Apple's MPS, or the CPU: the first that is there."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def preferred_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the processor multiplies it natively, float32 elsewhere."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type == "cpu":
        native = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        if any(getattr(torch.cpu, name, bool)() for name in native):
            return torch.bfloat16
    return torch.float32


def reading_waits(device: torch.device) -> bool:
    """Whether reading a number from a device waits until all work that is queued there is done."""
    return device.type == "cuda"


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device. Where reading waits, a copy to the device does not: it starts from pinned memory."""
    if reading_waits(device) and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


@lru_cache(maxsize=64)
def constants(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers as a tensor that is copied to the device once. It is shared, so nobody may write to it."""
    with torch.inference_mode(mode=False):  # else a validation could make it, and training not use it
        return torch.tensor(values, dtype=dtype, device=device)


def keep_freed_memory() -> None:
    """Tells glibc to keep freed memory for the next step instead of returning it and faulting it in again.

    Training allocates the same tensors in every step; zeroing their pages anew costs 5 to 25 % of it on a CPU. All
    threads share one arena, so that what one of them frees serves the others: 0.4 GB less in the prediction of large
    pictures. Does nothing where the C library is not glibc.

    It changes the whole process for good, so the library leaves it to its caller: the command line calls it, and a
    program that trains or predicts through the API may call it once at its start.
    """
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, mmap_max, arena_max = -1, -4, -8  # M_TRIM_THRESHOLD, M_MMAP_MAX and M_ARENA_MAX of malloc.h
    libc = ctypes.CDLL(None)
    libc.mallopt(trim_threshold, 2**31 - 1)
    libc.mallopt(mmap_max, 0)
    libc.mallopt(arena_max, 1)


def give_back_freed_memory() -> None:
    """Returns freed memory to the system once, whether or not the process keeps what it frees from now on.

    For what was needed only at the start: its pieces are too small for the tensors that follow, which would take new
    memory beside it. Does nothing where the C library is not glibc.
    """
    if sys.platform.startswith("linux") and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def processor_name() -> str:
    """The processor as the system names it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe() -> dict[str, Any]:
    """Processor, threads, precision and versions, for run folders and benchmark tables."""
    device = default_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else processor_name()
    return {
        "device": device.type,
        "processor": name,
        "threads": torch.get_num_threads(),
        "precision": str(preferred_dtype(device)).removeprefix("torch."),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }
