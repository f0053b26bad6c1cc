"""Kinds of detection errors (after Bolya et al., TIDE, ECCV 2020, arXiv:2008.08115, section 2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from pixelwise.metrics.ignored import Ignored

RIGHT = "right"
DOUBLED = "doubled"
WRONG_CLASS = "wrong class"
BADLY_PLACED = "badly placed"
BACKGROUND = "background"
IGNORED = "ignored"
KINDS: Mapping[str, str] = MappingProxyType(
    {
        RIGHT: "on an object of its class that no more confident detection has found",
        DOUBLED: "on an object of its class that a more confident detection has found",
        WRONG_CLASS: "on an object of another class",
        BADLY_PLACED: "near an object of its class, but not on it",
        BACKGROUND: "near no object of its class",
        IGNORED: "on a crowd or a difficult object of its class: neither right nor wrong",
    }
)
"""Kind of a detection -> its meaning. *On* means an IoU of 0.5 or more, *near* an IoU of 0.1 or more."""
ON, NEAR = 0.5, 0.1


def kinds_of_detections(
    overlaps: np.ndarray,
    classes: np.ndarray,
    confidences: np.ndarray,
    true_classes: np.ndarray,
    ignored: Ignored | None = None,
) -> tuple[list[str], np.ndarray]:
    """Finds the kind of each detection of one picture, and which objects were found.

    Args:
        overlaps: (M, N) IoU of the M detections with the N objects.
        classes, confidences: (M,) of the detections.
        true_classes: (N,).
        ignored: how far the detections overlap difficult objects and crowds.

    Returns:
        A key of `KINDS` per detection, and (N,) bool.
    """
    kinds = [BACKGROUND] * len(classes)
    found = np.zeros(len(true_classes), bool)
    left = (ignored or Ignored.none(len(classes))).on(classes, ON)
    for number in np.argsort(-confidences, kind="stable").tolist():
        own = true_classes == classes[number]
        row = overlaps[number]
        free = np.where(own & ~found, row, 0.0)
        if free.max(initial=0.0) >= ON:
            found[free.argmax()] = True
            kinds[number] = RIGHT
        elif left[number]:
            kinds[number] = IGNORED
        elif row[own].max(initial=0.0) >= ON:
            kinds[number] = DOUBLED
        elif row[~own].max(initial=0.0) >= ON:
            kinds[number] = WRONG_CLASS
        elif row[own].max(initial=0.0) >= NEAR:
            kinds[number] = BADLY_PLACED
    return kinds, found
