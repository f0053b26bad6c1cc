"""A network prepared for fast prediction on this machine."""

from __future__ import annotations

import weakref
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pixelwise.errors import UserError, unknown
from pixelwise.hardware import default_device, give_back_freed_memory, preferred_dtype
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.dense import DenseModel
from pixelwise.nn.finite import check_answer
from pixelwise.nn.fuse import fold_batch_norm
from pixelwise.nn.upsampled_conv import with_fixed_filters

PRECISIONS = ("auto", "float32", "bfloat16")
PROBE_SIDE = 128
"""Side of the random picture with which folding is checked and memory is measured."""


class TorchEngine:
    """A network in evaluation mode, with folded batch norms, channels-last memory, and one number format throughout.

    Weights are cast once; autocast would cast them at every call. The given model is not changed.

    Args:
        device: `auto`, or a name that torch accepts (`cpu`, `cuda`, `cuda:1`, `mps`).
        precision: `float32`, `bfloat16`, or `auto`: bfloat16 if the processor multiplies it natively.

    Attributes:
        network: the prepared copy of the model.
        device, dtype: the device and the number format of the network.
        stride: corners of tiles lie at multiples of the stride; 1 for a classifier.
        margin: pixels that the network adds on each side, see `DenseModel`.
        example: a small input of the network, (1, C, H, W).
        bytes_per_pixel: the peak memory of all tensors, per pixel of the padded picture.

    Raises:
        UserError: unknown device or precision.
    """

    def __init__(self, model: nn.Module, spec: ModelSpec, *, device: str = "auto", precision: str = "auto") -> None:
        self.device, self.dtype = device_and_dtype(device, precision)
        self.stride, self.margin = (model.stride, model.margin) if isinstance(model, DenseModel) else (1, 0)
        self._channels = spec.form.channels
        self._mean = torch.tensor(spec.mean, device=self.device)
        self._factor = 1 / torch.tensor(spec.std, device=self.device)
        self._table = _normalisation_table(spec, self.dtype) if spec.form.dtype == "uint8" else None

        side = -(-PROBE_SIDE // self.stride) * self.stride
        height, width = spec.input_size or (side, side)
        parameter = next(model.parameters(), torch.empty(0))
        example = torch.randn(1, self._channels, height, width, generator=torch.Generator().manual_seed(0))
        folded = fold_batch_norm(model, example.to(parameter.device))
        with_fixed_filters(folded)
        self.network = folded.to(self.device, self.dtype).requires_grad_(False)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.example = example.to(self.device, self.dtype, memory_format=torch.channels_last)
        with torch.no_grad(), _LiveBytes() as memory:
            self.network(self.example)
        left, right, top, bottom = model.padding(height, width) if isinstance(model, DenseModel) else (0, 0, 0, 0)
        self.bytes_per_pixel = memory.peak / ((height + top + bottom) * (width + left + right))
        del folded
        give_back_freed_memory()  # of the float32 copies and of both passes: 0.1 GB for a U-Net on ResNet-18

    def prepare(self, images: np.ndarray) -> Tensor:
        """(N, H, W, C) pictures in the spec's form -> (N, C, H, W) normalised, on the device, channels last."""
        if self._table is not None and self.device.type == "cpu":
            # One pass and one rounding: a table holds the normalised form of each of the 256 values.
            normalised = [cv2.LUT(np.ascontiguousarray(image), self._table) for image in images]
            joined = normalised[0] if len(normalised) == 1 else np.stack(normalised)
            return torch.from_numpy(joined.reshape(images.shape)).view(self.dtype).permute(0, 3, 1, 2)
        source = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
        prepared = torch.empty(source.shape, dtype=self.dtype, device=self.device)
        for picture, target in zip(source.flatten(0, 1).split(ROWS), prepared.flatten(0, 1).split(ROWS), strict=True):
            # Computed in float32 and rounded at the end, since bfloat16 would keep only 8 bits of 16-bit values.
            target.copy_((picture.float() - self._mean) * self._factor)
        return prepared.permute(0, 3, 1, 2)

    def run(self, prepared: Tensor) -> Tensor:
        """(N, C, H, W) from `prepare` -> logits (N, K, H, W), or a classifier's (N, K).

        Raises:
            NotFinite: NaN or infinite numbers in the output.
        """
        with torch.inference_mode():
            return check_answer(self.network(prepared))

    def __call__(self, images: np.ndarray) -> Tensor:
        """(N, H, W, C) pictures in the spec's form -> logits of `run`, on the device, in `dtype`."""
        return self.run(self.prepare(images))


ROWS = 64
"""Rows of pictures that are normalised at a time, so that no float32 copy of a whole picture is made."""


def device_and_dtype(device: str, precision: str) -> tuple[torch.device, torch.dtype]:
    """The device and the number format of a network, from the names that the user gave.

    Raises:
        UserError: unknown device or precision.
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    where = _device(device)
    dtype: torch.dtype = preferred_dtype(where) if precision == "auto" else getattr(torch, precision)
    return where, dtype


def _device(name: str) -> torch.device:
    if name == "auto":
        return default_device()
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"device '{name}' cannot be used here ({reason}); 'auto' uses the best device of this machine."
        ) from None
    return device


def _normalisation_table(spec: ModelSpec, dtype: torch.dtype) -> np.ndarray:
    """(1, 256, C): `(value - mean) / std` for each uint8 value; bfloat16 numbers as int16 with the same bits."""
    values = (torch.arange(256)[:, None] - torch.tensor(spec.mean)) / torch.tensor(spec.std)
    rounded = values.to(dtype)
    return (rounded.view(torch.int16) if dtype == torch.bfloat16 else rounded).numpy()[None]


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that are made inside and still alive, and keeps their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._live: dict[int, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False keeps torch from importing its compiler to exempt this mode from it: 800 modules and 70 MB."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._live:
                    self._live[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self._live.pop, storage._cdata, 0)
        self.peak = max(self.peak, sum(self._live.values()))
        return result
