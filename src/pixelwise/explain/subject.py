"""The subject of an explanation: a network, and the way from picture files to its input and back."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pixelwise.catalog import SYSTEMS, load_model, task_of
from pixelwise.data.draw import to_rgb
from pixelwise.data.fit import Centre, resized
from pixelwise.data.pictures import FULL_RANGE, PictureFormat, as_dtype, read_picture
from pixelwise.errors import UserError, unknown
from pixelwise.explain.maximisation import Bounds
from pixelwise.hardware import default_device
from pixelwise.models.classify.table import CLASSIFIERS
from pixelwise.models.spec import ModelSpec, read_spec
from pixelwise.models.weights import load_weights, read_weights
from pixelwise.nn.dense import DenseModel
from pixelwise.tasks.insight import Insight
from pixelwise.training.run import model_file

LONGEST = 512
"""Longer side in pixels to which larger pictures are reduced if the network takes any size."""
VIEW = (224, 224)
"""Height and width of the pictures of a published classifier, unless it only takes another size."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A network that is explained, and its spec (see `ModelSpec`), which describes the pictures that it takes.

    Attributes:
        title: name of the run or the model.
        fit_to_input: brings a picture (H, W, C) to the one size that the network takes; None if it takes any size.
        insight: what the network's task shows of it; None for a network that predicts class logits.
    """

    network: nn.Module
    spec: ModelSpec
    title: str
    fit_to_input: Callable[[np.ndarray], np.ndarray] | None = None
    insight: Insight | None = None

    @property
    def trunk(self) -> nn.Module:
        """The module whose layers are shown: the network, unless its task provides another one."""
        return self.network if self.insight is None else self.insight.trunk

    @property
    def dense(self) -> bool:
        """Whether the network predicts a class for each pixel."""
        return isinstance(self.network, DenseModel)

    @property
    def classified(self) -> str:
        """What the classes belong to, for the page: "of each pixel", "of the picture" or a phrase of the task."""
        if self.insight is not None:
            return self.insight.subject
        return "of each pixel" if self.dense else "of the picture"

    @property
    def device(self) -> torch.device:
        return next((parameter.device for parameter in self.network.parameters()), torch.device("cpu"))

    @cached_property
    def _normalisation(self) -> tuple[Tensor, Tensor]:
        mean, std = (torch.tensor(part, device=self.device)[:, None, None] for part in (self.spec.mean, self.spec.std))
        return mean, std

    @cached_property
    def bounds(self) -> Bounds | None:
        """Black and white in normalised values, (C, 1, 1) each; None for float pictures, which have no fixed range."""
        full = FULL_RANGE.get(self.spec.form.dtype)
        if full is None:
            return None
        mean, std = self._normalisation
        return -mean / std, (full - mean) / std

    def read(self, path: str | os.PathLike[str]) -> np.ndarray:
        """Reads a picture file as the network sees it: (H, W, C) in the spec's form, at a size that suits the network.

        Raises:
            UserError: the file cannot be read, or does not suit the network.
        """
        return self.fit(read_picture(Path(path), self.spec.form))

    def fit(self, picture: np.ndarray) -> np.ndarray:
        """Resizes a picture (H, W, C) for the network: as its task does, or to at most `LONGEST` pixels per side."""
        fit = self.fit_to_input
        if fit is not None:
            return fit(picture)
        height, width = picture.shape[:2]
        scale = min(1.0, LONGEST / max(height, width))
        return resized(picture, max(1, round(scale * height)), max(1, round(scale * width)))

    def tensor(self, picture: np.ndarray) -> Tensor:
        """(H, W, C) in the spec's form -> (1, C, H, W) normalised, on the network's device."""
        mean, std = self._normalisation
        values = torch.from_numpy(np.ascontiguousarray(picture).astype(np.float32)).to(self.device)
        return ((values.permute(2, 0, 1) - mean) / std)[None]

    def picture(self, image: Tensor) -> np.ndarray:
        """(C, H, W) normalised -> (H, W, 3) uint8 for display."""
        mean, std = self._normalisation
        values = (image * std + mean).permute(1, 2, 0).cpu().numpy()
        return to_rgb(as_dtype(values, np.dtype(self.spec.form.dtype)))


def open_subject(run: str | os.PathLike[str]) -> Subject:
    """Opens the network of a run folder, of a model file, or of `NAME:WEIGHTS`, a classifier with published weights.

    Names are those of the catalog and of the encoders. The classes of published weights have numbers for names.

    Raises:
        UserError: the folder is not a run or has no weights yet, the name is unknown, or the weights do not fit.
    """
    path = Path(run)
    name, colon, weights = os.fspath(run).partition(":")
    if path.exists() or not colon:
        return _of_run(path)
    if name in SYSTEMS and name not in CLASSIFIERS:
        raise UserError(
            f"{run}: a {name} takes its number of classes from a run; give the run's folder or its model file."
        )
    if name not in CLASSIFIERS:
        raise unknown("classifier", name, CLASSIFIERS)
    network: nn.Module = CLASSIFIERS[name]()
    file = read_weights(weights)
    load_weights(network, file)
    if file.mean is None or file.std is None:
        raise UserError(f"{weights}: was trained on float pictures; give it as a model file, without '{name}:'.")
    network = _prepared(network)
    names = tuple(map(str, range(network(torch.zeros(1, 3, *_input_size(network), device=default_device())).shape[1])))
    spec = ModelSpec(name, {}, names, PictureFormat(), file.mean, file.std, input_size=_input_size(network))
    return Subject(network, spec, name, Centre(_input_size(network)).image)


def _of_run(path: Path) -> Subject:
    file = model_file(path)
    task = task_of(read_spec(file))
    if not task.explains:
        raise UserError(
            f"{path}: was trained for the task '{task.name}', so it predicts nothing about a picture that "
            "could be explained; the report of its run shows what it learned."
        )
    network, spec = load_model(file)
    title = spec.model if file == path else path.resolve().name
    network = _prepared(network)
    insight = task.insight(network, spec)
    return Subject(network, replace(spec, class_names=task.output_names(spec)), title, task.fit(spec), insight)


def _prepared(network: nn.Module) -> nn.Module:
    network = network.to(default_device()).eval()
    # Depthwise layers take half the time in this memory format.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _input_size(network: nn.Module) -> tuple[int, int]:
    smallest = getattr(network, "smallest", 1)
    return getattr(network, "window", None) or (max(VIEW[0], smallest), max(VIEW[1], smallest))
