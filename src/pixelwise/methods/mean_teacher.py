"""Mean teacher: predictions under noise should agree with those of the averaged weights under other noise.

Tarvainen & Valpola, NeurIPS 2017, arXiv:1703.01780.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field
from torch import Tensor

from pixelwise.losses.consistency import probability_distance
from pixelwise.methods.semi_supervised import SemiSupervisedOptions, TeacherStudent
from pixelwise.nn.perturbation import noisy


class MeanTeacherOptions(SemiSupervisedOptions):
    """Options of the mean teacher."""

    weight: float = Field(10.0, ge=0, description="weight of the distance to the teacher; the supervised loss has 1")
    noise: float = Field(
        0.15, ge=0, description="standard deviation of the noise, in standard deviations of the pictures"
    )
    ramp: float = Field(0.3, ge=0, le=1, description="share of the run over which the weight then rises")


class MeanTeacher(TeacherStudent):
    """Adds the squared distance between the probabilities of network and teacher, for all pixels or pictures.

    Network and teacher see the picture with different Gaussian noise, in addition to dropout. The weight rises as
    exp(-5 (1 - t)^2) (section 3.1). The paper's weight of 100 for the mean over 10 classes is 10 for the sum over
    classes.
    """

    Options = MeanTeacherOptions
    term = "distance"

    def weight(self, progress: float) -> float:
        return self.options.weight * math.exp(-5 * (1 - self.ramp_up(progress)) ** 2)

    def unlabelled_terms(self, images: Tensor, names: Sequence[str], progress: float) -> dict[str, Tensor]:
        deviation = self.options.noise * images.std()
        taught = self.taught(noisy(images, deviation))
        found = self.logits(self.network, noisy(images, deviation))
        return {self.term: probability_distance(found, taught)}
