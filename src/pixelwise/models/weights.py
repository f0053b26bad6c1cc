"""Finds and reads pretrained weights, fits them to a network, and reports every mismatch."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from pixelwise.data.pictures import FULL_RANGE
from pixelwise.errors import UserError
from pixelwise.models.known_weights import IMAGENET_MEAN, IMAGENET_STD, check_digest, recognised
from pixelwise.models.spec import METADATA_KEY, check_unchanged, parse_spec
from pixelwise.models.timm_names import torchvision_names

logger = logging.getLogger(__name__)

HUB_FILE = "model.safetensors"
"""File name of the weights in a repository on the hub, unless another file is named."""
TORCH_SUFFIXES = frozenset({".pt", ".pth", ".bin"})


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """The contents of a weights file: tensors by name, input normalisation, and the network's name.

    Attributes:
        mean, std: normalisation of the input, `(picture - mean) / std` for 8-bit pictures; None for a network of float
            pictures.
        model: the network's name in the catalog, if the file states it (a run's `best.safetensors` does).
    """

    path: Path
    tensors: Mapping[str, Tensor]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What happened to each tensor.

    Attributes:
        loaded: the network's tensors that came from the file.
        kept: the network's tensors that are not in the file.
        unused: the file's tensors that the network does not have.
        adapted: loaded tensors that were changed to fit a different number of input channels.
    """

    loaded: tuple[str, ...]
    kept: tuple[str, ...]
    unused: tuple[str, ...]
    adapted: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} tensors loaded"]
        for label, names in (("adapted", self.adapted), ("not in the file", self.kept), ("not used", self.unused)):
            if names:
                shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
                parts.append(f"{len(names)} {label} ({shown})")
        return "; ".join(parts)


def locate(weights: str | os.PathLike[str]) -> Path:
    """The local file for a path, a run folder, or a hub name (`owner/repo` or `owner/repo/file.safetensors`).

    Raises:
        UserError: there is no such file, or the hub cannot be reached and the file is not in its cache.
    """
    if not isinstance(weights, str | os.PathLike):
        raise UserError(f"model.weights: expected a file, a run folder or a name on the hub, found {weights!r}.")
    path = Path(weights).expanduser()
    if path.is_dir():
        best = path / "best.safetensors"
        if not best.exists():
            raise UserError(f"{path}: a folder without best.safetensors; give a weights file or the folder of a run.")
        return best
    if path.exists():
        return path
    name = os.fspath(weights)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+(/[\w./-]+)?", name) or path.suffix in {".pt", ".pth"}:
        raise UserError(
            f"{name}: no such weights file; give a file, a run folder, or OWNER/REPO on the Hugging Face hub."
        )
    known = recognised(name)
    cached = None if known is None else in_cache(known.name)
    if cached is not None:
        return cached
    owner, repo, *rest = name.split("/")
    return _from_hub(f"{owner}/{repo}", "/".join(rest) or HUB_FILE)


def in_cache(repo: str) -> Path | None:
    """The local copy of a hub repository's weights, without contacting the hub; None if there is none."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, HUB_FILE)
    return Path(found) if isinstance(found, str) else None


def _from_hub(repo: str, filename: str) -> Path:
    from huggingface_hub import hf_hub_download

    # HTTPError is the base class of errors of the hub's HTTP client (requests, httpx or httpx2, depending on version).
    from huggingface_hub.errors import HFValidationError, HTTPError

    try:
        return Path(hf_hub_download(repo, filename))
    except (HTTPError, HFValidationError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"weights '{repo}': no such local file, and the Hugging Face hub did not provide {filename} ({reason}). "
            "Check the name, or download the file and give its path."
        ) from None


def read_weights(weights: str | os.PathLike[str]) -> WeightsFile:
    """Reads tensors and normalisation.

    A file whose name ends in a digest is checked against that digest. The normalisation comes from the file, else from
    what is known of published weights with that name, else it is ImageNet's.

    The last file read stays in memory until another file is read or `forget_weights` is called, so that planning a run
    and building its network read and hash it once. A file that has changed on disk is read again. All callers share the
    tensors and must not change them; `load_weights` copies.

    Raises:
        UserError: the file is not found, damaged, or holds pickled objects rather than tensors.
    """
    path = locate(weights)
    tensors, metadata = _contents(path)
    if METADATA_KEY in metadata:
        spec = parse_spec(path, metadata)
        if spec.form.dtype not in FULL_RANGE:
            return WeightsFile(path, tensors, None, None, spec.model)
        scale = FULL_RANGE[spec.form.dtype] / FULL_RANGE["uint8"]
        mean, std = (tuple(value / scale for value in part) for part in (spec.mean, spec.std))
        return WeightsFile(path, tensors, mean, std, spec.model)
    known = recognised(os.fspath(weights)) or recognised(path.name)
    if known is not None and "input" not in metadata:
        return WeightsFile(path, tensors, known.mean, known.std)
    return WeightsFile(path, tensors, *input_normalisation(metadata))


_Contents = tuple[Mapping[str, Tensor], Mapping[str, str]]
_kept: dict[tuple[object, ...], _Contents] = {}
_keeping = threading.Lock()


def _contents(path: Path) -> _Contents:
    """Tensors and metadata of a file, from memory if it was the last file read and has not changed since."""
    status = path.stat()
    key = (path.resolve(), status.st_mtime_ns, status.st_size, status.st_ino)
    with _keeping:
        if key not in _kept:
            _kept.clear()
            _kept[key] = _read(path)
        return _kept[key]


def forget_weights() -> None:
    """Frees the memory of the last file read; networks filled from it have copies."""
    with _keeping:
        _kept.clear()


def _read(path: Path) -> _Contents:
    """Tensors and metadata from disk; raises the errors of `read_weights`."""
    check_digest(path)
    tensors, metadata = _torch_file(path) if path.suffix in TORCH_SUFFIXES else _safetensors_file(path)
    if not tensors:
        raise UserError(f"{path}: holds no tensors; give another file.")
    return MappingProxyType(torchvision_names(tensors)), MappingProxyType(metadata)


def read_shapes(path: Path) -> _Contents:
    """Names, shapes and metadata of a file, as tensors on the device `meta`; the numbers themselves are not read.

    Raises:
        UserError: the file is damaged, or holds pickled objects rather than tensors.
    """
    read = _torch_file if path.suffix in TORCH_SUFFIXES else _safetensors_file
    tensors, metadata = read(path, shapes_only=True)
    return torchvision_names(tensors), metadata


def _torch_file(path: Path, *, shapes_only: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        loaded: Any = torch.load(
            path,
            map_location="meta" if shapes_only else "cpu",
            weights_only=True,
            mmap=shapes_only and is_zipfile(path),  # older files are not archives and cannot be mapped
        )
    except Exception as error:  # unpickling a damaged file can raise almost anything
        raise UserError(
            f"{path}: not a file of tensors that can be read safely ({type(error).__name__}); save the state dict of "
            "the network, or give another file."
        ) from None
    nested = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    return {_present_name(name): value for name, value in nested.items() if isinstance(value, Tensor)}, {}


def _safetensors_file(path: Path, *, shapes_only: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            if shapes_only:
                shapes = {name: file.get_slice(name).get_shape() for name in names}
                return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}, metadata
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, RuntimeError) as error:
        raise UserError(f"{path}: damaged or not a safetensors file ({error}); download or copy it again.") from None
    check_unchanged(path, tensors, metadata)
    return tensors, metadata


def _present_name(name: str) -> str:
    """Turns `denselayer1.norm.1.weight`, as torchvision's DenseNet files still have it, into
    `denselayer1.norm1.weight`."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)


def input_normalisation(metadata: Mapping[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of 8-bit RGB that a published weights file states; ImageNet's if it states none.

    The metadata entry `input` must have the form `RGB / D - M`.

    >>> input_normalisation({"input": "RGB / 127.5 - 1"})
    ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
    """
    match = re.fullmatch(r"\s*RGB\s*/\s*([\d.]+)\s*(?:-\s*([\d.]+))?\s*", metadata.get("input", ""))
    if match is None:
        return IMAGENET_MEAN, IMAGENET_STD
    divisor, shift = float(match[1]), float(match[2] or 0)
    return (divisor * shift,) * 3, (divisor,) * 3


def load_weights(
    network: nn.Module, weights: str | os.PathLike[str] | WeightsFile, *, new_head: bool = False
) -> LoadReport:
    """Copies the tensors of a file into a network, by name.

    The file may also be that of a larger network that contains this one under a prefix (`encoder.` in a segmentation
    run). If the first convolution has a different number of input channels, it is adapted: summed to one channel, or
    repeated and rescaled, so that a grey picture gives the same output with one channel as with three equal ones. The
    report of what was loaded is returned, and logged unless the tensors have no numbers (on the device `meta`).

    Args:
        new_head: the network's `heads` (see `DenseModel` and `Encoder`) keep their own tensors if the file's are for a
            different number of classes.

    Raises:
        UserError: too few names match, or a tensor has a different shape.
    """
    file = weights if isinstance(weights, WeightsFile) else read_weights(weights)
    own = network.state_dict()
    source = under_common_prefix(file.tensors, own)
    first = _first_weight_name(network)
    adapted, fitted = [], {}
    for name in own.keys() & source.keys():
        tensor = source[name]
        if name == first and tensor.shape != own[name].shape and _differs_in_input(tensor, own[name]):
            tensor = adapt_channels(tensor, own[name].shape[1])
            adapted.append(name)
        if tensor.shape != own[name].shape:
            if new_head and any(f".{head}." in f".{name}." for head in getattr(network, "heads", ())):
                continue
            raise UserError(
                f"{file.path}: '{name}' is {tuple(tensor.shape)}, but the {type(network).__name__} has "
                f"{tuple(own[name].shape)} there; these weights are of another network (or another width)."
            )
        fitted[name] = tensor
    parameters = {name for name, _ in network.named_parameters()}
    if len(parameters & fitted.keys()) * 2 < len(parameters):
        example = next(iter(file.tensors))
        raise UserError(
            f"{file.path}: has only {len(parameters & fitted.keys())} of the {len(parameters)} parameters of the "
            f"{type(network).__name__} (it holds '{example}', ..., the network has '{next(iter(own))}', ...). "
            "These weights are of another network, or have other names."
        )
    network.load_state_dict(fitted, strict=False)
    report = LoadReport(
        loaded=tuple(sorted(fitted)),
        kept=tuple(sorted(own.keys() - fitted.keys())),
        unused=tuple(sorted(source.keys() - own.keys())),
        adapted=tuple(adapted),
    )
    if not all(tensor.is_meta for tensor in fitted.values()):  # else only names and shapes were compared
        logger.info("%s: %s", file.path, report)
    return report


def under_common_prefix(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """`tensors`, or the part of them below a prefix, whichever has more of the network's names."""
    best = tensors
    for prefix in ("encoder.", "module.", "model.", "backbone."):
        inner = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        if len(inner.keys() & own.keys()) > len(best.keys() & own.keys()):
            best = inner
    return best


def _first_weight_name(network: nn.Module) -> str | None:
    finder = getattr(network, "first_convolution", None)
    if finder is None:
        return None
    weight = finder().weight
    return next(name for name, parameter in network.named_parameters() if parameter is weight)


def _differs_in_input(found: Tensor, wanted: Tensor) -> bool:
    return (
        found.dim() == wanted.dim() == 4 and found.shape[0] == wanted.shape[0] and found.shape[2:] == wanted.shape[2:]
    )


def adapt_channels(weight: Tensor, channels: int) -> Tensor:
    """Adapts the weight (O, I, kH, kW) of a first convolution to a different number of input channels.

    For one channel the filters are summed, so that a grey picture gives the output of the same picture repeated I
    times. For other numbers the filters are repeated in turn and scaled by I / channels, so that equal channels give
    the same output as before.
    """
    inputs = weight.shape[1]
    if channels == 1:
        return weight.sum(1, keepdim=True)
    repeats = -(-channels // inputs)
    return weight.repeat(1, repeats, 1, 1)[:, :channels] * (inputs / channels)
