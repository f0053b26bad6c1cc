"""All that can be seen of a network, on one page."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from pixelwise.catalog import SYSTEMS
from pixelwise.data.draw import background_class, overlay, palette
from pixelwise.data.listing import picture_files
from pixelwise.data.places import place
from pixelwise.errors import UserError
from pixelwise.explain.activations import find_layer, frozen, outputs
from pixelwise.explain.cam import grad_cam
from pixelwise.explain.deconvnet import project
from pixelwise.explain.fields import Fields
from pixelwise.explain.filters import filter_sheet
from pixelwise.explain.heatmaps import attribution_overlay, heatmap_sheet, most_active, saliency, signed_picture
from pixelwise.explain.layers import Layer, coarsest, first_convolution, list_layers, stage_ends
from pixelwise.explain.maximisation import maximise
from pixelwise.explain.occlusion import occlusion
from pixelwise.explain.page import PageContent, Panel, Seen, explain_page
from pixelwise.explain.subject import Subject, open_subject
from pixelwise.explain.target import (
    EDGES,
    Score,
    channel_score,
    class_logits,
    class_number,
    class_score,
    edge_score,
    predicted,
)
from pixelwise.explain.top_patches import top_patches
from pixelwise.report.boxes import draw_boxes
from pixelwise.report.page import write_page

PathLike = str | os.PathLike[str]
Progress = Callable[[float], None]
SHOWN_CLASSES = 5
BOX = "its box"
"""Stands where the name of a class would, over what sets the box."""
MAXIMISED = 4
"""Classes, and channels of a layer, that are maximised."""
PATCHES = 8
"""Pictures of a channel."""
CONTRAST, DECAY, BLUR = 1.0, 1.1, 0.1
"""Of pictures that maximise something: as much contrast as photographs have, shapes a little rather than texture, and
just enough blur against the chequerboards of strided filters."""
SIDE = 160
"""Pixels of the pictures that maximise a channel; of those for a class where the network does not ask for a size."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long things may take: steps of maximisation, and squares across a picture's shorter side for occlusion."""

    steps: int
    squares: int


THOROUGH = Effort(steps=192, squares=14)
QUICK = Effort(steps=48, squares=7)


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
    """Looks into a network and writes what it finds as one HTML page, over an older one of the same name.

    Args:
        run: a run folder, a model file, or `NAME:WEIGHTS` for published weights of a classifier; see `open_subject`.
        pictures: files to explain the network on; they may be none.
        out: the page, or a folder for `explain.html`; default the run folder, or here where there is none.
        layers: whose maps are shown and whose channels are maximised; default the last at each size.
        classes: names or ids to explain; default what the network says.
        data: a folder of pictures to search for those that the maximised channels answer to most.
        quick: fewer steps and larger squares, in about a third of the time.
        seed: of the noise from which pictures are made; the same seed gives the same page.
        progress: is called with the part that is done, 0 to 1.

    Returns:
        The page.

    Raises:
        UserError: anything about run, pictures, layers, classes or data that cannot work, before the long work begins.
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
    known = list_layers(subject.network, first)
    for layer in known:
        if layer.name in layers and len(layer.shape) != 4:
            raise UserError(f"layer '{layer.name}' answers {layer.shape[1:]}, which is no map; give one before it.")
    heated = list(layers) or [layer.name for layer in stage_ends(known)]
    deep = list(layers) or [layer.name for layer in stage_ends(known)[-4:-1:2]] or heated
    report = _Parts(progress, [*[2.0] * len(images), *[3.0] * (searched is not None), *[4.0] * (1 + len(deep))])
    seen = [_look(subject, name, image, wanted, heated, known, effort, report.next()) for name, image in images]
    named = wanted or _named(seen, subject.spec.class_names)
    channels = {layer: most_active(outputs(subject.network, first, [layer])[layer][0], MAXIMISED) for layer in deep}
    patches = [] if searched is None else _patches(subject, searched, channels, report.next())
    maximised = [_maximised_classes(subject, named[:MAXIMISED], effort, seed, report.next())]
    maximised += [
        _maximised_channels(subject, layer, some, effort, seed, report.next()) for layer, some in channels.items()
    ]
    content = PageContent(
        title=subject.title,
        facts=_facts(subject),
        dense=subject.dense,
        layers=known,
        filters=filter_sheet(subject.network) if first_convolution(subject.network) is not None else None,
        pictures=seen,
        maximised=[group for group in maximised if group[1]],
        patches=patches,
    )
    write_page(target, explain_page(content))
    return target


class _Parts:
    """Shares one progress bar among parts that take unlike long."""

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
        raise UserError(f"{target}: the name of a page ends in .html, such as {target}.html.")
    if not target.parent.is_dir():
        raise UserError(f"{target}: there is no folder {target.parent} to write it into.")
    return target


def _searched(folder: Path) -> list[Path]:
    """The pictures below a folder, without what lies in folders of masks."""
    found = [folder / file for file in picture_files(folder) if place(PurePosixPath(file)).role != "mask"]
    if not found:
        raise UserError(f"{folder}: no pictures in this folder.")
    return found


def _input_shape(subject: Subject) -> tuple[int, int, int]:
    return (subject.spec.form.channels, *(subject.spec.view or (SIDE, SIDE)))


def _facts(subject: Subject) -> dict[str, str]:
    spec = subject.spec
    view = "" if spec.view is None else f", {spec.view[1]} × {spec.view[0]}"
    channels = {1: "grey", 3: "colour"}.get(spec.form.channels, f"{spec.form.channels} channels")
    facts = {
        "network": spec.model,
        "paper": SYSTEMS[spec.model].paper if spec.model in SYSTEMS else "",
        "parameters": f"{sum(parameter.numel() for parameter in subject.network.parameters()):,}",
        "pictures": f"{channels}, {spec.form.dtype}{view}",
        "classes": f"{len(spec.class_names):,}, {'of each pixel' if subject.dense else 'of the picture'}",
    }
    return {name: value for name, value in facts.items() if value}


def _look(
    subject: Subject,
    name: str,
    image: np.ndarray,
    wanted: Sequence[int],
    heated: Sequence[str],
    known: Sequence[Layer],
    effort: Effort,
    progress: Progress,
) -> Seen:
    """Everything about one picture."""
    network, images = subject.network, subject.tensor(image)
    with frozen(network), torch.no_grad():
        answer = network(images)
    output = class_logits(answer)
    names = subject.spec.class_names
    shares = output.softmax(1)[0] if not subject.dense else _area(output)
    best = shares.topk(min(SHOWN_CLASSES, len(shares)))
    explained = list(wanted) or _worth_explaining(subject, shares)
    cam_layer = coarsest(network, known)
    fields = Fields(
        network,
        [cam_layer.name] if cam_layer else [],
        height=image.shape[0],
        width=image.shape[1],
        channels=image.shape[2],
    )
    mask = output.argmax(1)[0].byte().cpu().numpy() if subject.dense else None
    groups = []
    for number, class_id in enumerate(explained):

        def part(done: float, number: int = number) -> None:
            progress((number + done) / len(explained))

        score = class_score(class_id, region=predicted(output, class_id) if subject.dense else None)
        panels = [Panel("Picture", subject.picture(images[0]))]
        if mask is not None:
            background = background_class(names)
            panels.append(
                Panel("Prediction", overlay(image, mask, palette(len(names), background), background=background))
            )
        if cam_layer is not None:
            cam = grad_cam(network, images, score, layer=cam_layer.name)
            label = f"Grad-CAM at {cam_layer.name}"
            panels.append(Panel(label, attribution_overlay(image, fields.spread(cam_layer.name, cam)[0])))
        panels += _by_pixels(network, image, images, score, effort, part)
        groups.append((names[class_id], panels))
    if hasattr(answer, "boxes") and cam_layer is not None:
        groups.append((BOX, list(_box(subject, image, images, answer.boxes[0, 0], cam_layer.name, fields))))
    maps = outputs(network, images, heated)
    sheets = [
        Panel(_described(layer, maps[layer]), heatmap_sheet(maps[layer][0]))
        for layer in heated
        if maps[layer].dim() == 4
    ]
    progress(1.0)
    top = [(names[int(i)], float(share)) for share, i in zip(*best, strict=True) if share > 0]
    return Seen(name, image.shape[:2], top, groups, sheets)


def _by_pixels(
    network: torch.nn.Module, image: np.ndarray, images: Tensor, score: Score, effort: Effort, progress: Progress
) -> Iterator[Panel]:
    stride = max(1, round(min(image.shape[:2]) / effort.squares))
    drops = occlusion(network, images, score, side=2 * stride, stride=stride, progress=progress)
    yield Panel("Occlusion", attribution_overlay(image, drops, least=0.0))
    gradient = saliency(project(network, images, score, rule="gradient")[0])
    yield Panel("Gradient", attribution_overlay(np.zeros_like(image), gradient))
    yield Panel("Guided backpropagation", signed_picture(project(network, images, score, rule="guided")[0]))
    deconvnet, of_nothing = (project(network, each, score, rule="deconvnet")[0] for each in (images, 0 * images))
    # Without max pooling there are no switches, and what comes back is the same for every picture.
    if not torch.allclose(deconvnet, of_nothing):
        yield Panel("Deconvnet", signed_picture(deconvnet))


def _box(
    subject: Subject, image: np.ndarray, images: Tensor, box: Tensor, layer: str, fields: Fields
) -> Iterator[Panel]:
    """The (first) box that a network gives, and what moves its edges, to either side."""
    drawn = draw_boxes(subject.picture(images[0]), box[None].cpu().numpy(), np.zeros(1, np.int64))
    yield Panel("Its box", drawn)
    for edge in EDGES:
        further = edge_score(edge)
        there, back = (grad_cam(subject.network, images, score, layer=layer) for score in (further, _opposite(further)))
        yield Panel(f"{edge} edge", attribution_overlay(image, fields.spread(layer, there + back)[0]))


def _opposite(score: Score) -> Score:
    return lambda answer: -score(answer)


def _area(output: Tensor) -> Tensor:
    """(1, K, H, W) -> (K,): the share of pixels that are predicted as each class."""
    return output.argmax(1).flatten().bincount(minlength=output.shape[1]) / output[0, 0].numel()


def _worth_explaining(subject: Subject, shares: Tensor) -> list[int]:
    """The most probable class, or the commonest in a mask that is not the background (where there is another)."""
    background = background_class(subject.spec.class_names) if subject.dense else None
    order = shares.argsort(descending=True, stable=True).tolist()
    there = [class_id for class_id in order if class_id != background and shares[class_id] > 0]
    return (there or order)[:1]


def _named(seen: Sequence[Seen], class_names: Sequence[str]) -> list[int]:
    """The classes that were explained, or the first ones where there was no picture."""
    explained = dict.fromkeys(name for one in seen for name, _ in one.explained if name != BOX)
    return [class_names.index(name) for name in explained] or list(range(min(MAXIMISED, len(class_names))))


def _described(layer: str, maps: Tensor) -> str:
    return f"{layer}: {maps.shape[1]} channels of {maps.shape[3]} × {maps.shape[2]}"


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
        subject.network,
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
    pictures = _maximise(subject, ids, "", subject.spec.view or (SIDE, SIDE), effort, seed, progress)
    panels = [Panel(subject.spec.class_names[i], picture) for i, picture in zip(ids, pictures, strict=True)]
    return "Classes", panels


def _maximised_channels(
    subject: Subject, layer: str, channels: Sequence[int], effort: Effort, seed: int, progress: Progress
) -> tuple[str, list[Panel]]:
    size = subject.spec.view or (SIDE, SIDE)
    if getattr(subject.network, "window", None) is None:
        size = (min(size[0], SIDE), min(size[1], SIDE))
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
        for channel, patches in top_patches(
            subject.network, pictures, layer, some, count=PATCHES, progress=seen
        ).items():
            panels = [Panel(patch.name, subject.picture(patch.patch)) for patch in patches]
            groups.append((f"Channel {channel} of {layer}", panels))
    return groups
