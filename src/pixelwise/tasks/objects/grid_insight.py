"""What `pixelwise explain` shows of YOLO: its grid of cells with their classes and boxes."""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import numpy as np
from torch import Tensor

from pixelwise.data.draw import to_rgb
from pixelwise.models.detect.detector import Detections
from pixelwise.report.boxes import heat_overlay
from pixelwise.tasks.insight import Group, Panel
from pixelwise.tasks.objects.inference import ObjectPrediction
from pixelwise.tasks.objects.insight import BOX, ObjectInsight

THICKEST = 5
"""Width in pixels of the line around a box of confidence 1."""
FAINTEST = 0.15
"""Opacity of the line around a box of confidence 0."""
LINE = (235, 235, 235)


class GridInsight(ObjectInsight):
    """What is shown of a YOLO v1, after figure 2 of its paper."""

    region = "the cell that found it"
    terms: ClassVar = {
        "Cells": "The picture is divided into a grid; the cell with the centre of an object has to find it. Each cell "
        "predicts one probability per class, and several boxes, each with a confidence. The confidence of an object is "
        "the product of the two (Redmon et al. 2016, figure 2).",
        **ObjectInsight.terms,
    }

    def parts(self, image: np.ndarray, images: Tensor, found: ObjectPrediction, detections: Detections) -> list[Group]:
        network: Any = self.network
        boxes, classes = network.grids(images)
        corners, _ = network.candidates(images)
        confidences = boxes[0, ..., 4].float().cpu().numpy()  # (S, S, B)
        probabilities = classes[0].float().cpu().numpy()  # (S, S, C)
        lines = corners[0].float().cpu().numpy().reshape(-1, 4)
        cells, number = confidences.shape[0], confidences.shape[2]
        step = (image.shape[0] / cells, image.shape[1] / cells)
        heat = confidences.max(2).clip(0, 1)
        return [
            Group(
                "The grid",
                [
                    Panel(
                        f"{cells} × {cells} cells in the colour of their class", self.class_map(image, probabilities)
                    ),
                    Panel(
                        f"All {len(lines)} boxes, {number} per cell; confident ones are clearer",
                        boxes_by_confidence(image, lines, confidences.reshape(-1)),
                    ),
                    Panel(
                        f"Confidence of the best box per cell, up to {heat.max():.2f}",
                        with_grid(heat_overlay(image, heat, window=step, stride=step), cells),
                    ),
                ],
                "Left: the most probable class of each cell, in a stronger colour the more probable it is; it means "
                "something only where there is an object. Middle: all boxes of all cells, before any is left out. "
                "Right: the confidence of each cell's most confident box.",
            )
        ]

    def window(self, box: np.ndarray, region: np.ndarray, height: int, width: int) -> None:
        """None, the whole picture, which dense layers read for every cell."""

    def class_map(self, image: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """The picture (H, W, C) with each cell in the colour of its most probable class of (S, S, C)."""
        best = probabilities.argmax(2)
        share = probabilities.max(2).clip(0, 1)
        size = image.shape[1], image.shape[0]
        tint = cv2.resize(self.colours[best + 1], size, interpolation=cv2.INTER_NEAREST).astype(np.float32)
        opacity = cv2.resize(share.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)[:, :, None] * 0.7
        picture = to_rgb(image).astype(np.float32)
        return with_grid(np.rint(picture + opacity * (tint - picture)).astype(np.uint8), len(best))


def boxes_by_confidence(image: np.ndarray, boxes: np.ndarray, confidences: np.ndarray) -> np.ndarray:
    """The picture in grey with boxes (N, 4); lines are thicker and more opaque for higher confidences (N,)."""
    opacity = np.zeros(image.shape[:2], np.float32)
    for number in np.argsort(confidences):
        share = float(confidences[number].clip(0, 1))
        left, top, right, bottom = (int(edge) for edge in np.rint(boxes[number]))
        line = max(1, round(THICKEST * share))
        cv2.rectangle(opacity, (left, top), (right, bottom), FAINTEST + (1 - FAINTEST) * share, line)
    grey = cv2.cvtColor(to_rgb(image), cv2.COLOR_RGB2GRAY).astype(np.float32)[:, :, None]
    return np.rint(grey + opacity[:, :, None] * (np.array(BOX, np.float32) - grey)).astype(np.uint8)


def with_grid(picture: np.ndarray, cells: int) -> np.ndarray:
    """A picture (H, W, 3) uint8 with lines between its cells."""
    drawn = picture.copy()
    height, width = picture.shape[:2]
    for number in range(1, cells):
        drawn[round(number * height / cells)] = LINE
        drawn[:, round(number * width / cells)] = LINE
    return drawn
