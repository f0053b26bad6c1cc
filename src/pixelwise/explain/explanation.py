"""`explain`: writes everything that can be shown of a network on one HTML page."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from pixelwise.catalog import SYSTEMS
from pixelwise.data.listing import PathLike, picture_files
from pixelwise.data.path_words import parse_path
from pixelwise.errors import UserError
from pixelwise.explain.activations import find_layer, outputs
from pixelwise.explain.filters import filter_sheet
from pixelwise.explain.heatmaps import most_active
from pixelwise.explain.layers import first_convolution, list_layers, stage_ends
from pixelwise.explain.looking import QUICK, THOROUGH, Effort, Progress, look
from pixelwise.explain.maximisation import maximise
from pixelwise.explain.page import PageContent, Seen, explain_page
from pixelwise.explain.subject import Subject, open_subject
from pixelwise.explain.target import channel_score, class_number
from pixelwise.explain.top_patches import top_patches
from pixelwise.report.page import write_page
from pixelwise.tasks.insight import Panel

MAXIMISED = 4
"""Number of classes, and of channels per layer, that are maximised."""
PATCHES = 8
"""Number of patches shown per channel."""
CONTRAST, DECAY, BLUR = 1.0, 1.1, 0.1
"""Settings of pictures that maximise a score: the contrast of photographs, a slight preference for shapes over texture,
and just enough blur to remove the chequerboards of strided filters."""
SIDE = 160
"""Side in pixels of the pictures that maximise a channel, and of those for a class if the network takes any size."""


def explain(
    run: PathLike,
    pictures: PathLike | Iterable[PathLike],
    *,
    out: PathLike | None = None,
    layers: Sequence[str] = (),
    classes: Sequence[str | int] = (),
    data: PathLike | None = None,
    quick: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Looks inside a network and writes the results as one HTML page; an existing page of that name is overwritten.

    Args:
        run: a run folder, a model file, or `NAME:WEIGHTS` for published weights of a classifier; see `open_subject`.
        pictures: picture files to explain the network on; may be empty.
        out: file name of the page, or a folder for `explain.html`; by default the run folder, or the current folder if
            `run` is not a folder.
        layers: names of the layers whose maps are shown and whose channels are maximised; by default the last layer at
            each size.
        classes: names or ids of the classes to explain; by default the predicted classes.
        data: a folder of pictures to search for the patches that the maximised channels respond to most.
        quick: use fewer steps and larger squares, which takes about a third of the time.
        seed: seed of the noise that maximised pictures start from; the same seed gives the same page.
        progress: is called with the share of the work that is done, 0 to 1.

    Returns:
        The path of the page.

    Raises:
        UserError: `run`, `pictures`, `layers`, `classes` or `data` cannot be used; raised before the long work begins.
    """
    subject = open_subject(run)
    files = [pictures] if isinstance(pictures, str | os.PathLike) else list(pictures)
    images = [(Path(file).name, subject.read(file)) for file in files]
    wanted = [class_number(name, subject.spec.class_names) for name in classes]
    modules = dict(subject.network.named_modules())
    for name in layers:
        find_layer(modules, name)
    searched = None if data is None else _searched(Path(data))
    target = _target(out, Path(run))

    effort = QUICK if quick else THOROUGH
    first = subject.tensor(images[0][1]) if images else torch.zeros(1, *_input_shape(subject), device=subject.device)
    known = list_layers(subject.trunk, first)
    for layer in known:
        if layer.name in layers and len(layer.shape) != 4:
            raise UserError(
                f"layer '{layer.name}' returns {layer.shape[1:]}, which is not a feature map; give a layer before it."
            )
    heated = list(layers) or [layer.name for layer in stage_ends(known)]
    deep = list(layers) or [layer.name for layer in stage_ends(known)[-4:-1:2]] or heated
    insight = subject.insight
    parts = [2.0] * len(images) + [3.0] * (searched is not None) + [4.0] * ((insight is None) + len(deep))
    report = _Parts(progress, parts)
    seen = [look(subject, name, image, wanted, heated, known, effort, report.next()) for name, image in images]
    channels = {layer: most_active(outputs(subject.trunk, first, [layer])[layer][0], MAXIMISED) for layer in deep}
    patches = [] if searched is None else _patches(subject, searched, channels, report.next())
    maximised = []
    if insight is None:
        named = wanted or _named(seen, subject.spec.class_names)
        maximised.append(_maximised_classes(subject, named[:MAXIMISED], effort, seed, report.next()))
    maximised += [
        _maximised_channels(subject, layer, some, effort, seed, report.next()) for layer, some in channels.items()
    ]
    content = PageContent(
        title=subject.title,
        facts=_facts(subject),
        layers=known,
        filters=filter_sheet(subject.network) if first_convolution(subject.network) is not None else None,
        pictures=seen,
        maximised=[group for group in maximised if group[1]],
        patches=patches,
        terms={} if insight is None else insight.terms,
    )
    write_page(target, explain_page(content))
    return target


class _Parts:
    """Divides one progress bar among parts of the work, in proportion to the time that each takes."""

    def __init__(self, progress: Progress | None, weights: Sequence[float]) -> None:
        self.progress = progress
        self._total = sum(weights)
        self._weights = iter(weights)
        self._before = 0.0

    def next(self) -> Progress:
        """The progress of the next part, from 0 to 1."""
        weight, before = next(self._weights), self._before
        self._before += weight
        progress, total = self.progress, self._total
        if progress is None:
            return lambda done: None
        return lambda done: progress((before + weight * done) / total)


def _target(out: PathLike | None, run: Path) -> Path:
    target = Path(out) if out is not None else run if run.is_dir() else Path()
    if target.is_dir():
        target /= "explain.html"
    if target.suffix not in (".html", ".htm"):
        raise UserError(f"{target}: the name of the page must end in .html, such as {target}.html.")
    if not target.parent.is_dir():
        raise UserError(f"{target}: there is no folder {target.parent} to write it into; create it, or give another.")
    return target


def _searched(folder: Path) -> list[Path]:
    """The pictures below a folder, except those in folders of masks."""
    found = [folder / file for file in picture_files(folder) if parse_path(PurePosixPath(file)).role != "mask"]
    if not found:
        raise UserError(f"{folder}: no pictures in this folder; give another.")
    return found


def _input_shape(subject: Subject) -> tuple[int, int, int]:
    return (subject.spec.form.channels, *(subject.spec.input_size or (SIDE, SIDE)))


def _facts(subject: Subject) -> dict[str, str]:
    spec = subject.spec
    size = "" if spec.input_size is None else f", {spec.input_size[1]} × {spec.input_size[0]}"
    channels = {1: "grey", 3: "colour"}.get(spec.form.channels, f"{spec.form.channels} channels")
    facts = {
        "network": spec.model,
        "paper": SYSTEMS[spec.model].paper if spec.model in SYSTEMS else "",
        "parameters": f"{sum(parameter.numel() for parameter in subject.network.parameters()):,}",
        "pictures": f"{channels}, {spec.form.dtype}{size}",
        "classes": f"{len(spec.class_names):,}, {subject.classified}",
    }
    return {name: value for name, value in facts.items() if value}


def _named(seen: Sequence[Seen], class_names: Sequence[str]) -> list[int]:
    """The classes that were explained, or the first few classes if there was no picture."""
    explained = dict.fromkeys(class_id for one in seen for class_id in one.classes)
    return list(explained) or list(range(min(MAXIMISED, len(class_names))))


def _maximise(
    subject: Subject,
    ids: Sequence[int],
    layer: str,
    size: tuple[int, int],
    effort: Effort,
    seed: int,
    progress: Progress,
) -> list[np.ndarray]:
    pictures = maximise(
        subject.trunk,
        channel_score(*ids),
        layer=layer,
        number=len(ids),
        size=size,
        in_channels=subject.spec.form.channels,
        steps=effort.steps,
        decay=DECAY,
        contrast=CONTRAST,
        blur=BLUR,
        jitter=max(1, min(size) // 6),
        rotate=20.0,
        magnify=(0.75, 1.2),
        bounds=subject.bounds,
        seed=seed,
        progress=progress,
    )
    return [subject.picture(picture) for picture in pictures]


def _maximised_classes(
    subject: Subject, ids: Sequence[int], effort: Effort, seed: int, progress: Progress
) -> tuple[str, list[Panel]]:
    pictures = _maximise(subject, ids, "", subject.spec.input_size or (SIDE, SIDE), effort, seed, progress)
    panels = [Panel(subject.spec.class_names[i], picture) for i, picture in zip(ids, pictures, strict=True)]
    return "Classes", panels


def _maximised_channels(
    subject: Subject, layer: str, channels: Sequence[int], effort: Effort, seed: int, progress: Progress
) -> tuple[str, list[Panel]]:
    size = subject.spec.input_size or (SIDE, SIDE)
    if getattr(subject.network, "window", None) is None:
        stride = int(getattr(subject.network, "stride", 1))
        height, width = (max(min(side, SIDE) // stride, 1) * stride for side in size)
        size = (height, width)
    pictures = _maximise(subject, channels, layer, size, effort, seed, progress)
    panels = [Panel(f"channel {channel}", picture) for channel, picture in zip(channels, pictures, strict=True)]
    return f"Channels of {layer}", panels


def _patches(
    subject: Subject, files: Sequence[Path], channels: dict[str, list[int]], progress: Progress
) -> list[tuple[str, list[Panel]]]:
    groups = []
    for number, (layer, some) in enumerate(channels.items()):

        def seen(count: int, number: int = number) -> None:
            progress((number + count / len(files)) / len(channels))

        pictures = ((file.name, subject.tensor(subject.read(file))[0]) for file in files)
        for channel, patches in top_patches(subject.trunk, pictures, layer, some, count=PATCHES, progress=seen).items():
            panels = [Panel(patch.name, subject.picture(patch.patch)) for patch in patches]
            groups.append((f"Channel {channel} of {layer}", panels))
    return groups
