"""FixMatch: confident predictions for a picture are the labels of a strongly changed copy.

Sohn et al., NeurIPS 2020, arXiv:2001.07685; for pixels with CutMix, French et al., BMVC 2020, arXiv:1906.01916. The
labels come from the moving average of the weights, as in most later work.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor

from pixelwise.losses.consistency import pseudo_labels
from pixelwise.methods.semi_supervised import SemiSupervisedOptions, TeacherStudent
from pixelwise.nn.perturbation import pasted, random_boxes, strongly_lit


class FixMatchOptions(SemiSupervisedOptions):
    """Options of FixMatch."""

    start: float = Field(0.2, ge=0, lt=1, description="share of the run at its beginning that learns from labels alone")
    threshold: float = Field(0.95, ge=0, lt=1, description="least probability of a pseudo-label")
    boxes: bool = Field(
        True, description="whether a box of the strong copy shows another picture (pixels) or is empty (classes)"
    )


class FixMatch(TeacherStudent):
    """The supervised loss for a strong copy of a picture, with the teacher's confident predictions as labels.

    The weak copy is the crop with the augmentation of the recipe. The strong copy is that crop in different light,
    blurred and noisy. If the network labels pixels, a box of the next picture is pasted into it, and pseudo-labels and
    confidences move with the box. If it labels pictures, the box becomes 0, the mean of all pictures (Cutout).
    """

    Options = FixMatchOptions
    term = "pseudo_labels"

    def unlabelled_terms(self, images: Tensor, names: Sequence[str], progress: float) -> dict[str, Tensor]:
        labels, confidence = pseudo_labels(self.taught(images))
        strong = strongly_lit(images)
        if self.options.boxes:
            boxes = random_boxes(len(images), images.shape[2], images.shape[3], images.device)
            if labels.dim() == 1:
                strong = strong.masked_fill(boxes, 0.0)
            else:
                strong, labels, confidence = (pasted(boxes, each) for each in (strong, labels, confidence))
        confident = confidence >= self.options.threshold
        loss = self.pseudo_label_loss(strong, labels, confident)
        return {self.term: loss, "confident": confident.float().mean()}
