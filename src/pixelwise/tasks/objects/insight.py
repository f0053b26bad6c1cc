"""What `pixelwise explain` shows of detectors: what they find, and why a box has its class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from pixelwise.data.draw import palette, to_rgb
from pixelwise.models.detect.detector import Detections, DetectionSource, Detector
from pixelwise.models.spec import ModelSpec
from pixelwise.report.boxes import draw_boxes
from pixelwise.report.pictures import fitted_size, resized
from pixelwise.tasks.insight import Findings, Group, Insight, Panel, Reason, Window, laid_over, with_forward
from pixelwise.tasks.objects.inference import (
    BACKGROUND,
    ObjectPrediction,
    limit_by_area,
    prediction_of,
    recommended_confidence,
)

LONGEST = 512
"""Pixels per side: of larger pictures only the middle is used, at its own scale, since size matters to detectors."""
EXPLAINED, LISTED = 3, 10
"""Number of objects whose class is explained, and number that are listed, the most confident ones."""
CONTEXT = 2.0
"""Size of the part of the picture that is shown around a box, in sides of the box."""
ENLARGED = 240
"""Longer side of that part on the page, in pixels."""
BOX, REGION = (90, 200, 110), (250, 180, 40)


class ObjectInsight(Insight):
    """What is shown of a detector; subclasses add what the parts of a kind of detector do (`parts`).

    Args:
        network: a `Detector`.
    """

    subject = "of each object"
    terms: ClassVar[Mapping[str, str]] = {
        "Why a box has its class": "All methods below explain the class of one box: the logit of its class in the "
        "region that the box was predicted from. Grad-CAM uses the map that the region was read from, and counts only "
        "the positions that the logit depends on."
    }
    region = "the proposal that it comes from"
    """Name of `DetectionSource.region` in captions."""

    def __init__(self, network: nn.Module, spec: ModelSpec) -> None:
        assert isinstance(network, Detector)
        limit_by_area(network, spec)
        self.network: Detector = network
        self.spec = spec
        self.trunk = with_forward(network, network.maps)
        self.colours = palette(len(spec.class_names), BACKGROUND)

    def examine(self, image: np.ndarray, images: Tensor, classes: Sequence[int]) -> Findings:
        detections = self.network(images)[0]
        every = prediction_of(detections, self.spec.class_names, image)
        least = recommended_confidence(self.spec)
        sure = every.above(least)
        asked = every.classes if not classes else np.where(np.isin(every.classes, classes), every.classes, -1)
        chosen = np.flatnonzero(asked >= 0)[:EXPLAINED]
        found = Group(
            "What it finds",
            [Panel("Picture", to_rgb(image)), Panel(_counted(len(sure), least), sure.overlay())],
            self._about(every, classes, chosen, least),
        )
        own = every.select(chosen)
        shown = np.arange(len(sure)) if len(sure) else chosen
        parts = self.parts(image, images, every.select(shown), detections.select(torch.from_numpy(shown)))
        sources = self.network.sources(images, detections.select(torch.from_numpy(chosen)))
        reasons = [self._reason(image, own, number, source) for number, source in enumerate(sources)]
        rows = every.select(np.arange(min(LISTED, len(every))))
        predictions = [
            (f"{number}: {_placed(self.spec.class_names[class_id], box)}", float(confidence))
            for number, (class_id, confidence, box) in enumerate(
                zip(rows.classes.tolist(), rows.confidences, rows.boxes, strict=True), start=1
            )
        ]
        return Findings(predictions, [found, *parts], reasons)

    def parts(self, image: np.ndarray, images: Tensor, found: ObjectPrediction, detections: Detections) -> list[Group]:
        """Pictures of what the parts of the network do; none unless a subclass adds some.

        Args:
            found: the objects of the recommended confidence or more; if there are none, the most confident ones.
            detections: the same objects, as returned by the network.
        """
        return []

    def _about(self, every: ObjectPrediction, classes: Sequence[int], chosen: np.ndarray, least: float) -> str:
        names = " or ".join(self.spec.class_names[class_id] for class_id in classes) or "object"
        if not len(chosen):
            return f"The network finds no {names} in this picture, so there is no class to explain."
        best = float(every.confidences[chosen[0]])
        if best < least:
            return f"No {names} reaches a confidence of {least:g}; the best candidates are explained below."
        return ""

    def _reason(self, image: np.ndarray, objects: ObjectPrediction, number: int, source: DetectionSource) -> Reason:
        """The reason to explain for one object: the score of its class in its region."""
        class_id = int(objects.classes[number])
        name, confidence = self.spec.class_names[class_id], float(objects.confidences[number])
        box, region = objects.boxes[number], source.region.float().cpu().numpy()
        colours = np.zeros((256, 3), np.uint8)
        colours[:2] = BOX, REGION
        drawn = draw_boxes(image, np.stack([box, region]), np.arange(2), colours=colours)
        panels = [Panel(f"The box (green), {self.region} (orange)", drawn)]
        window = self.window(box, region, *image.shape[:2])
        if window is not None:
            part = to_rgb(image)[window.slices]
            size = fitted_size(part, ENLARGED, enlarge=True)
            corner = np.array([window.left, window.top] * 2)
            boxes = (np.stack([box, region]) - corner) * (size[0] / part.shape[1])
            near = draw_boxes(resized(part, size), boxes, np.arange(2), colours=colours)
            panels.append(Panel("The same, enlarged", near))
        return Reason(
            title=f"Why {_placed(name, box)}? Confidence {confidence:.2f}",
            network=with_forward(self.network, source.scores),
            score=partial(_of_class, class_id),
            layer=source.layer,
            lay=partial(laid_over, covered=source.covered, height=image.shape[0], width=image.shape[1]),
            panels=panels,
            window=window,
            local=True,
        )

    def window(self, box: np.ndarray, region: np.ndarray, height: int, width: int) -> Window | None:
        """The part of the picture around a box on which its class is explained; None for the whole picture."""
        low, high = np.minimum(box[:2], region[:2]), np.maximum(box[2:], region[2:])
        margin = (CONTEXT - 1) / 2 * (high - low)
        left, top = (max(math.floor(edge), 0) for edge in low - margin)
        right, bottom = (
            min(math.ceil(edge), limit) for edge, limit in zip(high + margin, (width, height), strict=True)
        )
        return Window(top, left, bottom, right)


def middle(image: np.ndarray) -> np.ndarray:
    """(H, W, C) -> the middle of the picture, at most `LONGEST` pixels high and wide."""
    top, left = (max(side - LONGEST, 0) // 2 for side in image.shape[:2])
    return np.ascontiguousarray(image[top : top + LONGEST, left : left + LONGEST])


def _placed(name: str, box: np.ndarray) -> str:
    left, top, right, bottom = box.tolist()
    return f"{name} at {(left + right) / 2:.0f}, {(top + bottom) / 2:.0f}"


def _of_class(class_id: int, scores: Tensor) -> Tensor:
    return scores[:, class_id]


def _counted(number: int, least: float) -> str:
    return f"{number} object{'' if number == 1 else 's'} of confidence {least:g} or more"
