"""Facts about this machine, and settings that use it well."""

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
    """CUDA, Apple's MPS or the CPU, whichever is available first."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def preferred_dtype(device: torch.device) -> torch.dtype:
    """The number format of networks: bfloat16 if the processor multiplies it natively, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type == "cpu":
        native = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        if any(getattr(torch.cpu, name, bool)() for name in native):
            return torch.bfloat16
    return torch.float32


def reading_waits(device: torch.device) -> bool:
    """Whether reading a number from a device waits until all work queued there is done."""
    return device.type == "cuda"


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device. On devices where `reading_waits`, the copy starts from pinned memory and does not wait."""
    if reading_waits(device) and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


@lru_cache(maxsize=64)
def constants(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers as a tensor that is copied to the device once. It is shared and must not be changed."""
    with torch.inference_mode(mode=False):  # training could not use a tensor that was made in inference mode
        return torch.tensor(values, dtype=dtype, device=device)


def keep_freed_memory() -> None:
    """Tells glibc to keep freed memory for the next step instead of returning it to the system.

    Training allocates the same tensors in every step; zeroing their pages again takes 5 to 25 % of its time on a CPU.
    All threads share one arena, so that memory freed by one thread serves the others, which saves 0.4 GB in the
    prediction of large pictures. Does nothing if the C library is not glibc.

    This changes the whole process permanently, so the library leaves it to its caller: the command line calls it, and a
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
    """Returns freed memory to the system once, even if the process keeps what it frees later.

    This is for memory that was needed only at the start: its pieces are too small for later tensors, which would take
    new memory in addition. Does nothing if the C library is not glibc.
    """
    if sys.platform.startswith("linux") and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def processor_name() -> str:
    """The system's name for the processor."""
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
