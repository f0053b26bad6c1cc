"""What `pixelwise explain` shows of detectors with a region proposal network: objectness, proposals, anchors, masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
import torch
from matplotlib import colormaps
from torch import Tensor

from pixelwise.data.draw import palette, to_rgb
from pixelwise.models.detect.detector import Detections
from pixelwise.nn.boxes import pairwise_iou
from pixelwise.report.boxes import draw_boxes, heat_overlay
from pixelwise.report.pictures import fitted_size, resized
from pixelwise.tasks.insight import Group, Panel
from pixelwise.tasks.objects.inference import ObjectPrediction
from pixelwise.tasks.objects.insight import ObjectInsight

SUREST = 30
"""Number of proposals that are drawn; all of them would hide the picture."""
MASKS, MASK_SIDE = 6, 160
"""Number of objects whose masks are shown, and the longer side of these pictures in pixels."""
MARGIN = (40, 42, 48)
"""Colour around the picture, where anchors reach beyond it."""


class Level(NamedTuple):
    """One level of the pyramid.

    Attributes:
        step: pixels of the picture from one position to the next, vertically and horizontally.
        anchors: (h, w, A, 4) xyxy in pixels.
        logits: (A, h, w) objectness of each anchor.
    """

    step: tuple[int, int]
    anchors: Tensor
    logits: Tensor

    @property
    def objectness(self) -> np.ndarray:
        """(h, w) float32, the highest probability among the anchors at each position."""
        heat: np.ndarray = self.logits.float().sigmoid().amax(0).cpu().numpy()
        return heat

    @property
    def side(self) -> int:
        """Side in pixels of the anchor that is nearest to a square."""
        sides = self.anchors[0, 0, :, 2:] - self.anchors[0, 0, :, :2]  # (A, 2)
        return int(sides[(sides[:, 0] - sides[:, 1]).abs().argmin(), 0])


class RegionInsight(ObjectInsight):
    """What is shown of a Faster or Mask R-CNN."""

    terms: ClassVar = {
        "Objectness": "The region proposal network predicts for each anchor the probability that it holds an object of "
        "any class. The map of a level shows the highest probability among the anchors at each position, from 0 "
        "(clear) to 1 (pale yellow).",
        "Proposals": "The anchors of the highest objectness, moved and resized by the offsets that the network "
        "predicts. Proposals that overlap a more confident one are left out.",
        "Anchors": "Boxes of fixed sizes and shapes around every position of a level's map. In training an anchor has "
        "to find an object if their IoU is 0.7 or more, or if it overlaps the object more than every other anchor "
        "does. Here the predicted objects take the place of the true ones.",
        **ObjectInsight.terms,
    }

    def parts(self, image: np.ndarray, images: Tensor, found: ObjectPrediction, detections: Detections) -> list[Group]:
        network: Any = self.network
        maps, picture = network.maps(images)
        proposals = network.rpn(maps, picture, network.limits.growth(picture)).boxes[0].float().cpu().numpy()
        levels = self.levels(maps)
        matches = network.rpn.matcher(pairwise_iou(torch.from_numpy(found.boxes), every_anchor(levels))).numpy()
        groups = [
            objectness_group(image, levels),
            proposals_group(image, proposals, found),
            anchors_group(image, levels, matches, len(found)),
        ]
        if detections.masks is not None and len(found):
            groups.append(masks_group(image, found.boxes, detections.masks.float().cpu().numpy()))
        return groups

    def levels(self, maps: Sequence[Tensor]) -> list[Level]:
        """The levels of the pyramid of one picture."""
        rpn: Any = self.network.rpn
        height, width = (side * rpn.finest for side in maps[0].shape[-2:])  # of the picture with its padding
        logits, _ = rpn.head(maps)
        found = []
        for own, anchors in zip(logits, rpn.anchors(maps, (height, width)), strict=True):
            rows, columns = own.shape[-2:]
            step = height // rows, width // columns
            found.append(Level(step, anchors.cpu().view(rows, columns, -1, 4), own[0]))
        return found


def every_anchor(levels: Sequence[Level]) -> Tensor:
    """The anchors (A, 4) of all levels, one level after the other."""
    return torch.cat([level.anchors.flatten(0, 2) for level in levels])


def objectness_group(image: np.ndarray, levels: Sequence[Level]) -> Group:
    """The objectness of each level over the picture."""
    panels = []
    for level in levels:
        heat = level.objectness
        # The first position of a map is at the corner of the picture, where its anchors are centred.
        step = float(level.step[0]), float(level.step[1])
        label = f"Stride {level.step[0]}, anchors of {level.side} px: up to {heat.max():.2f}"
        panels.append(Panel(label, heat_overlay(image, heat, window=(0, 0), stride=step)))
    about = (
        "Where the region proposal network expects an object, one map per level of the pyramid. Fine maps have small "
        "anchors and coarse maps have large ones, so a level lights up where there are objects of its size."
    )
    return Group("Objectness", panels, about)


def proposals_group(
    image: np.ndarray, proposals: np.ndarray, found: ObjectPrediction, rank: str = "most confident"
) -> Group:
    """The first proposals, the number of proposals on each pixel, and the number of objects near a proposal.

    Args:
        proposals: (P, 4), the best first.
        rank: what makes the first ones the best, for the caption.
    """
    shown = proposals[:SUREST]
    covered = np.zeros(image.shape[:2], np.float32)
    for left, top, right, bottom in np.rint(proposals).astype(int):
        covered[top:bottom, left:right] += 1
    most = int(covered.max())
    overlaps = pairwise_iou(torch.from_numpy(found.boxes), torch.from_numpy(proposals)).numpy()
    near = int((overlaps.max(1, initial=0) >= 0.5).sum())
    panels = [
        Panel(
            f"The {len(shown)} {rank} of {len(proposals)} proposals",
            draw_boxes(image, shown, np.zeros(len(shown), np.int64)),
        ),
        Panel(
            f"Number of the {len(proposals)} proposals on each pixel, up to {most}",
            heat_overlay(image, covered / max(most, 1), window=(1, 1), stride=(1, 1)),
        ),
    ]
    about = (
        f"The boxes that the second stage classifies. {near} of the {len(found)} objects overlap a proposal with an "
        "IoU of 0.5 or more, before the second stage corrects the proposal. An object without a proposal near it "
        "cannot be found."
    )
    return Group("Region proposals", panels, about)


def anchors_group(image: np.ndarray, levels: Sequence[Level], matches: np.ndarray, objects: int) -> Group:
    """The anchors of each level at one position, and the anchors that match predicted objects.

    Args:
        matches: (A,) matches of all anchors, as returned by a `Matcher`.
        objects: number of objects to match.
    """
    colours = palette(len(levels), background=None)
    sizes = [level.anchors.flatten(0, 2).shape[0] for level in levels]
    of_level = np.repeat(np.arange(len(levels)), sizes)[matches >= 0]
    matched = every_anchor(levels).numpy()[matches >= 0]
    here = [anchors_at(level, image.shape[0] / 2, image.shape[1] / 2) for level in levels]
    counts = ", ".join(f"{int((of_level == number).sum())} of {level.side} px" for number, level in enumerate(levels))
    panels = [
        Panel(f"All {sum(map(len, here))} anchors at one position, to scale", to_scale(image, here, colours)),
        Panel(
            f"The {len(matched)} anchors that match the {objects} objects",
            draw_boxes(image, matched, of_level, colours=colours),
        ),
    ]
    about = (
        f"One colour per level of the pyramid. Matched: {counts}. A level without a match has nothing to find here. "
        "Many matches per object mean that all anchors are larger than the objects: every anchor around an object then "
        "overlaps it equally."
    )
    return Group("Anchors", panels, about)


def anchors_at(level: Level, y: float, x: float) -> np.ndarray:
    """(A, 4), the anchors of a level at the position that is nearest to a pixel."""
    rows, columns = level.anchors.shape[:2]
    row, column = min(round(y / level.step[0]), rows - 1), min(round(x / level.step[1]), columns - 1)
    boxes: np.ndarray = level.anchors[row, column].numpy()
    return boxes


def to_scale(image: np.ndarray, anchors: Sequence[np.ndarray], colours: np.ndarray) -> np.ndarray:
    """Draws anchors (A, 4) of each level over a picture, with a margin where they reach beyond it."""
    boxes, of_level = np.concatenate(anchors), np.repeat(np.arange(len(anchors)), [len(own) for own in anchors])
    size = (image.shape[1], image.shape[0])
    before = np.ceil(np.maximum(-boxes[:, :2].min(0), 0)).astype(int)
    after = np.ceil(np.maximum(boxes[:, 2:].max(0) - size, 0)).astype(int)
    edges = int(before[1]), int(after[1]), int(before[0]), int(after[0])
    canvas = cv2.copyMakeBorder(to_rgb(image), *edges, cv2.BORDER_CONSTANT, value=MARGIN)
    return draw_boxes(canvas, boxes + np.tile(before, 2), of_level, colours=colours)


def masks_group(image: np.ndarray, boxes: np.ndarray, masks: np.ndarray) -> Group:
    """The masks (M, S, S) of boxes (M, 4) as predicted, before they are laid over the picture."""
    panels = []
    for number, (box, mask) in enumerate(zip(boxes, masks[:MASKS], strict=False), start=1):
        rows, columns = (np.flatnonzero(mask.max(axis)) for axis in (1, 0))
        if len(rows):  # removes the padding of masks that are not resampled
            mask = mask[: rows[-1] + 1, : columns[-1] + 1]
        left, top, right, bottom = np.floor(box).astype(int)
        part = to_rgb(image)[top : bottom + 1, left : right + 1]
        large = cv2.resize(mask, fitted_size(mask, MASK_SIDE, enlarge=True), interpolation=cv2.INTER_NEAREST)
        tint = colormaps["inferno"](large, bytes=True)[:, :, :3]
        panels += [
            Panel(f"Object {number}", resized(part, fitted_size(part, MASK_SIDE, enlarge=True))),
            Panel(f"{mask.shape[1]} × {mask.shape[0]} positions", np.ascontiguousarray(tint)),
        ]
    about = (
        "The probability that each position of the mask is on the object, from 0 (black) to 1 (pale yellow); the "
        "outline is at 0.5."
    )
    return Group("Masks", panels, about, columns=6)
