"""Pseudo-labels: the network's own predictions for pictures without labels are trained on as if they were labels.

Lee, ICML 2013 workshop: Pseudo-Label, the simple and efficient semi-supervised learning method.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from pixelwise.losses.consistency import pseudo_labels
from pixelwise.methods.semi_supervised import SemiSupervised, SemiSupervisedOptions


class PseudoLabelOptions(SemiSupervisedOptions):
    """Options of pseudo-labels."""

    threshold: float = Field(
        0.9, ge=0, lt=1, description="least probability of a pseudo-label; 0 takes all, as in the paper"
    )
    start: float = Field(0.1, ge=0, lt=1, description="share of the run at its beginning that learns from labels alone")
    ramp: float = Field(0.5, ge=0, le=1, description="share of the run over which the weight then rises from 0")


class PseudoLabels(SemiSupervised):
    """The supervised loss, with the most probable class of the network in evaluation mode as label of the same picture.

    The weight rises linearly from 0 after `start` (equation 16): early predictions are mostly wrong, and the network
    would learn them.
    """

    Options = PseudoLabelOptions
    term = "pseudo_labels"

    def unlabelled_terms(self, images: Tensor, names: Sequence[str], progress: float) -> dict[str, Tensor]:
        self.network.eval()
        with torch.no_grad():
            labels, confidence = pseudo_labels(self.logits(self.network, images))
        self.optimised.train()
        confident = confidence >= self.options.threshold
        loss = self.pseudo_label_loss(images, labels, confident)
        return {self.term: loss, "confident": confident.float().mean()}
