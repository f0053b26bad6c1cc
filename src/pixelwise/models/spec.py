"""A model in one file: its weights, and in the metadata everything that is needed to use them."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pixelwise.atomic import write_bytes
from pixelwise.data.pictures import FULL_RANGE, PictureFormat
from pixelwise.errors import UserError

METADATA_KEY = "pixelwise"
DIGEST_KEY = "blake2b"
AGAIN = "copy the file again, or train again."
DTYPES = (*FULL_RANGE, "float32")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """How to build a model, which pictures it takes and what its outputs mean.

    Attributes:
        model: name in the catalog.
        options: the constructor's keyword arguments, with `in_channels` and `num_classes` and without `weights`.
        class_names: in the order of the class ids.
        form: channels and dtype of the pictures that the model takes.
        mean, std: per channel, in the units of `form.dtype`; the network's input is `(picture - mean) / std`.
        notes: whatever else the task needs for prediction.
        input_size: height and width to which pictures are resized; None for networks that take any size.
        task: name of the task that the network was trained for; empty in files of version 0.1.
    """

    model: str
    options: Mapping[str, Any]
    class_names: tuple[str, ...]
    form: PictureFormat
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)
    input_size: tuple[int, int] | None = None
    task: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Reads the text that `to_json` writes.

        Raises:
            ValueError: the text has a different form.
        """
        values = json.loads(text)
        if isinstance(values, dict) and "view" in values:  # the field's name in files of version 0.1
            values["input_size"] = values.pop("view")
        spec = _SPEC.validate_python(values)
        channels = spec.form.channels
        if not (1 <= channels == len(spec.mean) == len(spec.std)):
            raise ValueError(f"{channels} channels, but {len(spec.mean)} means and {len(spec.std)} deviations")
        if not all(map(math.isfinite, (*spec.mean, *spec.std))) or 0 in spec.std:
            raise ValueError(f"means {spec.mean} and deviations {spec.std}")
        if spec.form.dtype not in DTYPES or min(spec.input_size or (1,)) < 1:
            raise ValueError(f"pictures of {spec.form.dtype} in the size {spec.input_size}")
        return spec


_SPEC = TypeAdapter(ModelSpec)


def save_model(path: Path | str, tensors: Mapping[str, Tensor], spec: ModelSpec) -> None:
    """Writes a state dict and its spec as safetensors, either completely or not at all.

    The bytes depend only on the tensors and the spec. The metadata hold a digest of both.
    """
    ordered = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    values = json.loads(spec.to_json())
    # One entry for both, because the order of several entries differs from file to file.
    text = json.dumps({**values, DIGEST_KEY: _digest(ordered, values)}, sort_keys=True)
    write_bytes(Path(path), save(ordered, metadata={METADATA_KEY: text}))


def read_spec(path: Path | str) -> ModelSpec:
    """The spec of a model file.

    Raises:
        UserError: the file is missing, damaged, or not written by pixelwise.
    """
    with _opened(path) as file:
        metadata = file.metadata() or {}
    if METADATA_KEY not in metadata:
        raise UserError(
            f"{path}: holds weights without a description of their network; pass the file to "
            "`create_model(..., weights=...)` instead."
        )
    return parse_spec(path, metadata)


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a model file by name.

    Raises:
        UserError: the file is missing, damaged, or changed since it was written.
    """
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        check_unchanged(path, tensors, file.metadata() or {})
    return tensors


def parse_spec(path: Path | str, metadata: Mapping[str, str]) -> ModelSpec:
    """The spec in the metadata of a model file.

    Raises:
        UserError: the metadata are damaged, or written by a newer version with fields that this version does not know.
    """
    try:
        return ModelSpec.from_json(metadata[METADATA_KEY])
    except ValueError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"{path}: its description of the network cannot be understood ({reason}); {AGAIN}") from None


def check_unchanged(path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Compares a file with the digest in its metadata, if there is one.

    Raises:
        UserError: the tensors or the spec differ from those that were written.
    """
    if METADATA_KEY not in metadata:
        return
    parse_spec(path, metadata)
    values = json.loads(metadata[METADATA_KEY])
    stated = values.pop(DIGEST_KEY, None)
    if stated is not None and stated != _digest(tensors, values):
        raise UserError(f"{path}: damaged: its bytes are not those that were written; {AGAIN}")


@contextmanager
def _opened(path: Path | str) -> Iterator[Any]:
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            yield file
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: no such model file.") from None
    except (SafetensorError, OSError, RuntimeError) as error:
        raise UserError(f"{path}: damaged or not a safetensors file ({error}); {AGAIN}") from None


def _digest(tensors: Mapping[str, Tensor], spec: Mapping[str, Any]) -> str:
    """Hexadecimal BLAKE2b digest of the named tensors and of the spec's JSON."""
    whole = hashlib.blake2b(json.dumps(spec, sort_keys=True).encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        whole.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()
