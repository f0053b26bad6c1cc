"""Finds a classifier's published weights: in `$PIXELWISE_WEIGHTS`, in the hub's cache, or on the hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Thread

from torch import Tensor

from pixelwise.errors import UserError
from pixelwise.models.classify.table import ENCODERS
from pixelwise.models.known_weights import SAME_TENSORS, KnownWeights, known_weights, recognised
from pixelwise.models.weights import HUB_FILE, TORCH_SUFFIXES, in_cache, locate, read_shapes, under_common_prefix
from pixelwise.nn.shapes import shapes_only

FOLDER = "PIXELWISE_WEIGHTS"
"""The environment variable that names a folder of weights."""
REACH = 5.0
"""Seconds within which the hub must answer; the download may take longer."""
SUFFIXES = TORCH_SUFFIXES - {".bin"} | {".safetensors"}
SAME_PADDED = frozenset({"mobilenet_v2_tf"})
"""Encoders with TensorFlow's padding, which prefer weights that were trained with it."""


@dataclass(frozen=True, slots=True)
class Search:
    """The result of a search for a classifier's published weights.

    Attributes:
        weights: the path of a local file, or a name on the hub whose file is in the hub's cache; None if nothing was
            found.
        tried: one reason per place where nothing was found.
    """

    weights: str | None
    tried: tuple[str, ...] = ()


def search(classifier: str) -> Search:
    """Finds published weights: in `$PIXELWISE_WEIGHTS`, then in the hub's cache, then on the hub if it answers in time.

    Raises:
        UserError: `$PIXELWISE_WEIGHTS` is not a folder, a file in it is damaged, or a file with the name of published
            weights holds other tensors.
    """
    found = in_folder(classifier)
    if found is not None:
        return Search(str(found))
    folder = weights_folder()
    tried = [f"${FOLDER} is not set" if folder is None else f"${FOLDER} ({folder}) has none"]
    on_hub = [known.name for known in known_weights(classifier) if known.on_hub]
    for name in on_hub:
        if in_cache(name) is not None:
            return Search(name)
    for name in on_hub:
        failure = _download(name)
        if not failure:
            return Search(name)
        tried.append(f"{name} is not in the hub's cache, and {failure}")
    return Search(None, tuple(tried))


def weights_folder() -> Path | None:
    """The folder `$PIXELWISE_WEIGHTS`; None if the variable is not set.

    Raises:
        UserError: there is no such folder.
    """
    given = os.environ.get(FOLDER)
    if not given:
        return None
    folder = Path(given).expanduser().resolve()
    if not folder.is_dir():
        raise UserError(f"${FOLDER}: {folder} is not a folder; set it to a folder of weights files, or unset it.")
    return folder


def in_folder(classifier: str) -> Path | None:
    """The file in `$PIXELWISE_WEIGHTS` for a classifier: one with a published name, else any file that fits.

    Raises:
        UserError: as in `search`.
    """
    folder = weights_folder()
    if folder is None:
        return None
    if classifier not in SAME_TENSORS:
        for known in known_weights(classifier):
            path = local_copy(known)
            if path is not None:
                if not fits(read_shapes(path)[0], classifier):
                    raise UserError(
                        f"{path}: the file has the name of {known.name}, but not the tensors of {classifier}; "
                        "rename it, or download it again."
                    )
                return path
    fitting = []
    for path in sorted(folder.iterdir()):
        known_as = recognised(path.name)
        if path.suffix not in SUFFIXES or (known_as is not None and known_as not in known_weights(classifier)):
            continue
        tensors, metadata = read_shapes(path)
        if fits(tensors, classifier):
            same_padded = metadata.get("padding", "").startswith("same")
            fitting.append((same_padded != (classifier in SAME_PADDED), path))
    return min(fitting)[1] if fitting else None


def local_copy(known: KnownWeights) -> Path | None:
    """The file in `$PIXELWISE_WEIGHTS` that has the name of these published weights; None if there is none.

    Raises:
        UserError: `$PIXELWISE_WEIGHTS` is not a folder.
    """
    folder = weights_folder()
    if folder is None:
        return None
    return next((folder / name for name in known.file_names if (folder / name).is_file()), None)


def at_hand(known: KnownWeights) -> str:
    """Where a local copy of published weights is, in a word or two; empty if there is none.

    Raises:
        UserError: `$PIXELWISE_WEIGHTS` is not a folder.
    """
    if local_copy(known) is not None:
        return f"${FOLDER}"
    return "hub cache" if known.on_hub and in_cache(known.name) is not None else ""


def fits(tensors: Mapping[str, Tensor], classifier: str) -> bool:
    """Whether tensors are those of a classifier, whatever its classes, and not of a deeper network of its family."""
    needed, known = _names(classifier)
    source = under_common_prefix(tensors, needed)
    parts = {name.partition(".")[0] for name in needed}
    return all(name in source and source[name].shape == tensor.shape for name, tensor in needed.items()) and all(
        name in known for name in source if name.partition(".")[0] in parts
    )


def published_tensors(classifier: str) -> Mapping[str, Tensor]:
    """The names and shapes in a file of a classifier's published weights, as tensors on the device `meta`."""
    with shapes_only():
        return ENCODERS[classifier]().state_dict()


@cache
def _names(classifier: str) -> tuple[Mapping[str, Tensor], frozenset[str]]:
    """The parameters of a classifier's encoder, and the names of all tensors of the whole classifier."""
    with shapes_only():
        encoder = ENCODERS[classifier](num_classes=0)
    return dict(encoder.named_parameters()), frozenset(published_tensors(classifier))


def _download(repo: str) -> str:
    """Downloads a repository's weights into the hub's cache, if the hub answers in time.

    Returns the reason why that failed; empty if it succeeded.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HFValidationError, HTTPError

    if constants.HF_HUB_OFFLINE:
        return "the hub is not contacted (HF_HUB_OFFLINE)"
    answer: Future[object] = Future()

    def ask() -> None:
        try:
            answer.set_result(get_hf_file_metadata(hf_hub_url(repo, HUB_FILE), timeout=REACH))
        except BaseException as error:  # raised again by `result`
            answer.set_exception(error)

    # In a separate thread, because looking up the hub's address can outlast every timeout of its client.
    Thread(target=ask, name="hub", daemon=True).start()
    try:
        answer.result(timeout=REACH)
    except TimeoutError:
        return f"the hub did not answer within {REACH:g} seconds"
    except (HTTPError, HFValidationError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"the hub did not provide it ({reason})"
    try:
        locate(repo)
    except UserError as error:
        return str(error).removesuffix(".")
    return ""
