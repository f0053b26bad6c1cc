"""Every network by name. A new one is one file, one line here, one recipe."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from pixelwise.errors import UserError, unknown
from pixelwise.models.classify import mobilenet, resnet
from pixelwise.models.segment import unet
from pixelwise.models.weights import load_weights, read_weights


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the catalog.

    Attributes:
        build: keyword-only constructor.
        task: `segment` or `classify`.
        paper: authors, venue or preprint.
    """

    build: Callable[..., nn.Module]
    task: str
    paper: str


HE_2016 = "He et al., CVPR 2016, arXiv:1512.03385"
RONNEBERGER_2015 = "Ronneberger et al., MICCAI 2015, arXiv:1505.04597"

MODELS: dict[str, Entry] = {
    "mobilenet_v2": Entry(mobilenet.MobileNetV2, "classify", "Sandler et al., CVPR 2018, arXiv:1801.04381"),
    "resnet18": Entry(resnet.resnet18, "classify", HE_2016),
    "resnet34": Entry(resnet.resnet34, "classify", HE_2016),
    "resnet50": Entry(resnet.resnet50, "classify", HE_2016),
    "unet": Entry(unet.unet, "segment", RONNEBERGER_2015),
    "unet_original": Entry(unet.unet_original, "segment", RONNEBERGER_2015),
}


def list_models(task: str | None = None) -> list[str]:
    """Names in the catalog, of one task or of all.

    Raises:
        UserError: unknown task.
    """
    tasks = {entry.task for entry in MODELS.values()}
    if task is not None and task not in tasks:
        raise unknown("task", task, tasks)
    return sorted(name for name, entry in MODELS.items() if task in (None, entry.task))


def create_model(name: str, **options: Any) -> nn.Module:
    """Builds a network by name; `options` are the keywords of its constructor, unknown ones are refused.

    `weights` (a file, a run, a hub name) fills the encoder of a network that has one, else the whole network. Those of
    a run of the same network fill all of it, but for a last layer of another number of classes.

    Raises:
        UserError: unknown name or option, a missing option, or weights that do not fit.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    build = MODELS[name].build
    parameters = option_names(name)
    weights = options.pop("weights", None)
    for option in options:
        if option not in parameters:
            raise unknown(f"option of {name}:", option, parameters)
    file = None if weights is None else read_weights(weights)
    if file is not None and file.model != name and "weights" in parameters:
        options["weights"], file = file, None
    try:
        model = build(**options)
    except TypeError as error:
        raise UserError(f"{name}: {error}; its options are {', '.join(parameters)}.") from error
    if file is not None:
        load_weights(model, file, new_head=file.model == name)
    return model


def option_names(name: str) -> list[str]:
    """The keywords that a network's constructor takes.

    Raises:
        UserError: unknown name.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return list(inspect.signature(MODELS[name].build).parameters)
