"""Virtual adversarial training: fits the labels, and makes predictions smooth around every picture.

Miyato, Maeda, Koyama, Ishii, TPAMI 2018, arXiv:1704.03976.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field
from torch import Tensor

from pixelwise.distributed import from_first
from pixelwise.errors import UserError
from pixelwise.losses.vat import nearest_neighbour_distance, virtual_adversarial_loss
from pixelwise.methods.base import Setup
from pixelwise.methods.semi_supervised import SemiSupervised, SemiSupervisedOptions
from pixelwise.nn.statistics import held_statistics

EPSILON_FLOOR = 0.005
"""The smallest share of epsilon at the beginning of its ramp: a perturbation of 0 has no direction."""


class VATOptions(SemiSupervisedOptions):
    """Options of virtual adversarial training."""

    epsilon: float | None = Field(
        None, gt=0, description="length of perturbations of normalised pictures; null: derived from their distances"
    )
    share: float = Field(
        0.25, gt=0, description="epsilon, as a share of the median distance of a picture to its nearest neighbour"
    )
    xi: float = Field(0.1, gt=0, description="length at which the gradient is taken, as a share of epsilon")
    iterations: int = Field(1, ge=1, description="steps of the power iteration")
    ramp: float = Field(0.2, ge=0, le=1, description="share of the run over which epsilon then rises from 0")


class VAT(SemiSupervised):
    """The supervised loss on labelled pictures, plus the virtual adversarial loss on pictures without their labels.

    Epsilon is a share of the median distance between nearest neighbours of the first batch, unless the recipe sets it.
    """

    Options = VATOptions
    term = "vat"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.epsilon: float | None = self.options.epsilon

    def unlabelled_terms(self, images: Tensor, names: Sequence[str], progress: float) -> dict[str, Tensor]:
        if self.epsilon is None:
            self.epsilon = self.options.share * self._distance(images, names)
        epsilon = max(self.ramp_up(progress), EPSILON_FLOOR) * self.epsilon
        with self.forward.autocast(), held_statistics(self.network):
            loss = virtual_adversarial_loss(
                lambda inputs: self._logits(self.network(inputs)),
                images,
                epsilon=epsilon,
                xi=self.options.xi * epsilon,
                iterations=self.options.iterations,
            )
        return {self.term: loss}

    def weight(self, progress: float) -> float:
        """The weight; what rises is epsilon."""
        return self.options.weight

    def _distance(self, images: Tensor, names: Sequence[str]) -> float:
        """The median distance between nearest neighbours in a batch; a picture that occurs twice counts once.

        Raises:
            UserError: there are no two different pictures.
        """
        first = {name: index for index, name in reversed(list(enumerate(names)))}
        distance = nearest_neighbour_distance(images[sorted(first.values())]) if len(first) > 1 else 0.0
        if distance == 0:
            raise UserError(
                f"method.epsilon: the {len(first)} different pictures of an unlabelled batch are too few or too alike "
                "to measure a distance between them; set method.epsilon."
            )
        return from_first(distance, self.forward.device)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "epsilon": self.epsilon}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.epsilon = state["epsilon"]
