"""The state of a training run on disk, as safetensors and JSON. A complete checkpoint exists at every moment.

A checkpoint is a folder with `state.json` and `tensors.safetensors`. Nested state is flattened: a tensor under
`optimizer -> state -> 3 -> exp_avg` is stored as `optimizer/state/3/exp_avg`, everything else goes into the JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from pixelwise.atomic import replace_folder, write_bytes
from pixelwise.errors import UserError

LAST, PREVIOUS = "last", "previous"


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Writes `folder/last`; the checkpoint that was there becomes `folder/previous`.

    Whatever goes wrong, and whenever the process is killed, `last` or `previous` is a complete checkpoint.

    Raises:
        OSError: as the system raises it (disk full, no permission); the checkpoints that were there stay complete.
    """
    tensors: dict[str, Tensor] = {}
    plain = _split(state, "", tensors)
    new = folder / f".{LAST}.partial"
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        content = save(tensors)
        write_bytes(new / "tensors.safetensors", content)
        document = {
            "state": plain,
            "state_blake2b": _digest(json.dumps(plain).encode()),
            "tensors_blake2b": _digest(content),
        }
        write_bytes(new / "state.json", json.dumps(document).encode())
        replace_folder(new, folder / LAST, folder / PREVIOUS)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def has_checkpoint(folder: Path) -> bool:
    """Whether a run has saved a checkpoint yet."""
    return any((folder / name).exists() for name in (LAST, PREVIOUS))


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest complete checkpoint of a run, or None if none was written yet.

    Raises:
        UserError: there are checkpoints, but each of them is damaged.
    """
    problems = []
    for name in (LAST, PREVIOUS):
        if not (folder / name).exists():
            continue
        try:
            content = (folder / name / "tensors.safetensors").read_bytes()
            document = json.loads((folder / name / "state.json").read_bytes())
            if _digest(content) != document["tensors_blake2b"]:
                raise ValueError("the tensors changed after they were written")
            if _digest(json.dumps(document["state"]).encode()) != document["state_blake2b"]:
                raise ValueError("the state changed after it was written")
            tensors = load(content)
            return _join(document["state"], tensors)
        except (KeyError, TypeError):
            problems.append(f"{folder / name}: state.json is not what a run writes")
        except (OSError, ValueError, SafetensorError) as error:
            problems.append(f"{folder / name}: {error}")
    if problems:
        raise UserError(f"no checkpoint can be read ({'; '.join(problems)}); train again, or restore the folder.")
    return None


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _split(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Moves tensors out of nested dicts and lists, and leaves a reference instead of each."""
    if isinstance(value, Tensor):
        tensors[path] = value.detach().cpu().contiguous().clone()
        return {"tensor": path}
    if isinstance(value, Mapping):
        # Keys may be numbers (torch's optimiser state); JSON would turn them into strings.
        return {
            "dict": [
                [key, _split(inner, f"{path}/{key}" if path else str(key), tensors)] for key, inner in value.items()
            ]
        }
    if isinstance(value, list | tuple):
        return {"list": [_split(inner, f"{path}/{index}", tensors) for index, inner in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise TypeError(f"{path}: a {type(value).__name__} cannot be stored in a checkpoint")


def _join(value: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _join(inner, tensors) for key, inner in content}
    if kind == "list":
        return [_join(inner, tensors) for inner in content]
    return content


def remove_leftovers(folder: Path) -> None:
    """Deletes what a killed process left half-written in a run folder."""
    for partial in folder.glob(".*.partial"):
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            os.unlink(partial)
