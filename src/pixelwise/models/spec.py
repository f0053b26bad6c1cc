"""A model in one file: weights, and in the file's metadata everything needed to use them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pixelwise.atomic import write_bytes
from pixelwise.data.pictures import PictureFormat
from pixelwise.errors import UserError

METADATA_KEY = "pixelwise"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """How to build a model and what it expects and answers.

    Attributes:
        model: name in the catalog.
        options: the constructor's keyword arguments, `in_channels` and `num_classes` among them, `weights` never.
        class_names: by class id.
        form: channels and dtype of the pictures it takes.
        mean, std: per channel, in the units of `form.dtype`; the network sees `(picture - mean) / std`.
        notes: what the task needs beside that for prediction.
        view: height and width that pictures are brought to; None for networks that take any size.
        task: name of the task that the network was trained for; empty in files of version 0.1.
    """

    model: str
    options: Mapping[str, Any]
    class_names: tuple[str, ...]
    form: PictureFormat
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)
    view: tuple[int, int] | None = None
    task: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        values = json.loads(text)
        values["form"] = PictureFormat(**values["form"])
        for name in ("class_names", "mean", "std"):
            values[name] = tuple(values[name])
        if values.get("view") is not None:
            values["view"] = tuple(values["view"])
        return cls(**values)


def save_model(path: Path | str, tensors: Mapping[str, Tensor], spec: ModelSpec) -> None:
    """Writes a state dict and its spec as safetensors: complete under the final name, or not at all.

    The bytes depend on the tensors and the spec alone.
    """
    ordered = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    write_bytes(Path(path), save(ordered, metadata={METADATA_KEY: spec.to_json()}))


def read_spec(path: Path | str) -> ModelSpec:
    """The spec of a model file.

    Raises:
        UserError: missing, damaged, or not written by pixelwise.
    """
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata = file.metadata() or {}
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: no such model file.") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged or not a safetensors file ({error}).") from None
    if METADATA_KEY not in metadata:
        raise UserError(
            f"{path}: holds weights but not what they are for; give it to `create_model(..., weights=...)` instead."
        )
    return ModelSpec.from_json(metadata[METADATA_KEY])


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a model file by name."""
    with safe_open(os.fspath(path), framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
