"""Explains a network's prediction on one picture: everything in one section of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.draw import background_class, overlay, palette
from pixelwise.explain.activations import frozen, outputs
from pixelwise.explain.cam import grad_cam
from pixelwise.explain.deconvnet import project
from pixelwise.explain.fields import Fields
from pixelwise.explain.heatmaps import attribution_overlay, heatmap_sheet, saliency, signed_picture
from pixelwise.explain.layers import Layer, coarsest
from pixelwise.explain.occlusion import occlusion
from pixelwise.explain.page import Seen
from pixelwise.explain.subject import Subject
from pixelwise.explain.target import EDGES, class_logits, class_score, edge_score, predicted
from pixelwise.report.boxes import draw_boxes
from pixelwise.report.pictures import fitted_size, resized
from pixelwise.tasks.insight import Findings, Group, Panel, Reason, Score, Window

Progress = Callable[[float], None]
SHOWN_CLASSES = 5
ENLARGED = 240
"""Longer side in pixels to which small parts of a picture are enlarged."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work to do: steps of maximisation, and squares along a picture's shorter side for occlusion."""

    steps: int
    squares: int


THOROUGH = Effort(steps=192, squares=14)
QUICK = Effort(steps=48, squares=7)


def look(
    subject: Subject,
    name: str,
    image: np.ndarray,
    wanted: Sequence[int],
    heated: Sequence[str],
    known: Sequence[Layer],
    effort: Effort,
    progress: Progress,
) -> Seen:
    """Looks at one picture with every method.

    Args:
        image: (H, W, C) as returned by `Subject.fit`.
        wanted: class ids to explain; empty for the predicted ones.
        heated: names of the layers whose maps are shown.
        known: the layers of the network's trunk.
    """
    images = subject.tensor(image)
    if subject.insight is None:
        findings = examine_classes(subject, image, images, wanted, known)
    else:
        with frozen(subject.network), torch.no_grad():
            findings = subject.insight.examine(image, images, wanted)
    groups = list(findings.groups)
    for number, reason in enumerate(findings.reasons):

        def part(done: float, number: int = number) -> None:
            progress((number + done) / len(findings.reasons))

        panels = [*reason.panels, *_traced(image, images, reason, effort, part)]
        groups.append(Group(reason.title, panels, reason.about))
    maps = outputs(subject.trunk, images, heated)
    sheets = [
        Panel(_described(layer, maps[layer]), heatmap_sheet(maps[layer][0]))
        for layer in heated
        if maps[layer].dim() == 4
    ]
    progress(1.0)
    classes = [reason.class_id for reason in findings.reasons if reason.class_id is not None]
    return Seen(name, image.shape[:2], findings.predictions, [*groups, *findings.details], sheets, classes)


def examine_classes(
    subject: Subject, image: np.ndarray, images: Tensor, wanted: Sequence[int], known: Sequence[Layer]
) -> Findings:
    """What is shown of a network that predicts class logits, for the picture or for each pixel."""
    network = subject.network
    with frozen(network), torch.no_grad():
        answer = network(images)
    output = class_logits(answer)
    names = subject.spec.class_names
    shares = output.softmax(1)[0] if not subject.dense else _area(output)
    best = shares.topk(min(SHOWN_CLASSES, len(shares)))
    cam_layer = coarsest(network, known)
    fields = Fields(
        network,
        [cam_layer.name] if cam_layer else [],
        height=image.shape[0],
        width=image.shape[1],
        channels=image.shape[2],
    )
    layer = cam_layer.name if cam_layer else None
    panels = [Panel("Picture", subject.picture(images[0]))]
    if subject.dense:
        background = background_class(names)
        mask = output.argmax(1)[0].byte().cpu().numpy()
        panels.append(Panel("Prediction", overlay(image, mask, palette(len(names), background), background=background)))
    reasons = [
        Reason(
            title=_asked(subject, names[class_id]),
            network=network,
            score=class_score(class_id, region=predicted(output, class_id) if subject.dense else None),
            layer=layer,
            lay=partial(fields.spread, layer or ""),
            panels=panels,
            class_id=class_id,
        )
        for class_id in list(wanted) or _worth_explaining(subject, shares)
    ]
    boxes = []
    if hasattr(answer, "boxes") and layer is not None:
        box = list(_box(subject, image, images, answer.boxes[0, 0], layer, fields))
        boxes = [Group(_asked(subject, "its box"), box)]
    predictions = [(names[int(i)], float(share)) for share, i in zip(*best, strict=True) if share > 0]
    return Findings(predictions, reasons=reasons, details=boxes)


def _asked(subject: Subject, what: str) -> str:
    return f"What makes it {what}" if subject.dense else f"Why {what}?"


def _traced(image: np.ndarray, images: Tensor, reason: Reason, effort: Effort, progress: Progress) -> Iterator[Panel]:
    """Traces a reason back to the pixels with every method, in the reason's window."""
    network, score, window = reason.network, reason.score, reason.window or Window(0, 0, *image.shape[:2])
    part = image[window.slices]
    size = fitted_size(part, ENLARGED, enlarge=reason.window is not None)

    def panel(label: str, picture: np.ndarray) -> Panel:
        return Panel(label, picture if reason.window is None else resized(picture, size))

    if reason.layer is not None:
        cam = reason.lay(grad_cam(network, images, score, layer=reason.layer, local=reason.local))[0]
        # The map is empty if every position counts against the class, since negative values are cut off.
        nothing = reason.local and not bool(cam.any())
        label = f"Grad-CAM at {reason.layer}" + (": no evidence for it" if nothing else "")
        yield panel(label, attribution_overlay(part, cam[window.slices]))
    stride = max(1, round(min(part.shape[:2]) / effort.squares))
    drops = occlusion(network, images, score, side=2 * stride, stride=stride, window=window, progress=progress)
    yield panel("Occlusion", attribution_overlay(part, drops[window.slices], least=0.0))
    back = {
        rule: project(network, images, score, rule=rule)[0][(..., *window.slices)]
        for rule in ("gradient", "guided", "deconvnet")
    }
    yield panel("Gradient", attribution_overlay(np.zeros_like(part), saliency(back["gradient"])))
    yield panel("Guided backpropagation", signed_picture(back["guided"]))
    of_nothing = project(network, 0 * images, score, rule="deconvnet")[0][(..., *window.slices)]
    # Without max pooling there are no switches, and deconvnet gives the same pattern for every picture.
    if not torch.allclose(back["deconvnet"], of_nothing):
        yield panel("Deconvnet", signed_picture(back["deconvnet"]))


def _box(
    subject: Subject, image: np.ndarray, images: Tensor, box: Tensor, layer: str, fields: Fields
) -> Iterator[Panel]:
    """The (first) box that a network predicts, and Grad-CAM for each of its edges, in either direction."""
    drawn = draw_boxes(subject.picture(images[0]), box[None].cpu().numpy(), np.zeros(1, np.int64))
    yield Panel("Its box", drawn)
    for edge in EDGES:
        further = edge_score(edge)
        there, back = (grad_cam(subject.network, images, score, layer=layer) for score in (further, _opposite(further)))
        yield Panel(f"{edge} edge", attribution_overlay(image, fields.spread(layer, there + back)[0]))


def _opposite(score: Score) -> Score:
    return lambda answer: -score(answer)


def _area(output: Tensor) -> Tensor:
    """(1, K, H, W) -> (K,): the share of pixels predicted as each class."""
    return output.argmax(1).flatten().bincount(minlength=output.shape[1]) / output[0, 0].numel()


def _worth_explaining(subject: Subject, shares: Tensor) -> list[int]:
    """The most probable class, or the most common class of a mask (not the background if there is another class)."""
    background = background_class(subject.spec.class_names) if subject.dense else None
    order = shares.argsort(descending=True, stable=True).tolist()
    there = [class_id for class_id in order if class_id != background and shares[class_id] > 0]
    return (there or order)[:1]


def _described(layer: str, maps: Tensor) -> str:
    return f"{layer}: {maps.shape[1]} channels of {maps.shape[3]} × {maps.shape[2]}"
