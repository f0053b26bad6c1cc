"""How well scores of single pictures separate pictures of another kind from those that a network was trained on."""

from __future__ import annotations

import math
from typing import Protocol

import cv2
import numpy as np


class Evidence(Protocol):
    """Scores that hold one number per picture."""

    def evidence(self) -> dict[str, np.ndarray]:
        """Name of the score -> (N,), higher for pictures that are less like the training pictures."""


def complexity(picture: np.ndarray) -> float:
    """The size of a picture (H, W, C) as PNG files of its channels in nats: its description without a model."""
    return sum(len(cv2.imencode(".png", channel)[1]) for channel in np.moveaxis(picture, 2, 0)) * 8 * math.log(2)


def separation(own: Evidence, other: Evidence) -> dict[str, float]:
    """The area under the ROC curve by score, for telling other pictures from those of the network's own kind.

    It is the probability that one of the other pictures has a higher score than one of the own kind: 0.5 for a score
    without information, and below that for one that is systematically wrong. Plain likelihood rates simple pictures of
    any kind as probable (Nalisnick et al., ICLR 2019, arXiv:1810.09136). A score that subtracts the complexity of the
    picture corrects for that (Serrà et al., ICLR 2020, arXiv:1909.11480, section 3).
    """
    from sklearn.metrics import roc_auc_score  # half a second to import

    first, second = own.evidence(), other.evidence()
    return {
        name: float(roc_auc_score(np.repeat([0, 1], [len(values), len(second[name])]), [*values, *second[name]]))
        for name, values in first.items()
    }
