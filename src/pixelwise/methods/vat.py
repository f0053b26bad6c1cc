"""Virtual adversarial training: fits the labels, and makes predictions smooth around every picture.

Miyato, Maeda, Koyama, Ishii, TPAMI 2018, arXiv:1704.03976.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field
from torch import Tensor

from pixelwise.data.loader import Batch
from pixelwise.distributed import from_first
from pixelwise.errors import UserError
from pixelwise.losses.vat import nearest_neighbour_distance, virtual_adversarial_loss
from pixelwise.methods.base import LABELLED_STREAM, UNLABELLED_STREAM, MethodOptions, Scalar, Setup
from pixelwise.methods.supervised import Supervised
from pixelwise.nn.statistics import held_statistics


class VATOptions(MethodOptions):
    """Options of virtual adversarial training."""

    epsilon: float | None = Field(
        None, gt=0, description="length of perturbations of normalised pictures; null: derived from their distances"
    )
    share: float = Field(
        0.35, gt=0, description="epsilon, as a share of the median distance of a picture to its nearest neighbour"
    )
    xi: float = Field(0.1, gt=0, description="length at which the gradient is taken, as a share of epsilon")
    iterations: int = Field(1, ge=1, description="steps of the power iteration")
    weight: float = Field(1.0, ge=0, description="weight of the virtual adversarial loss; the supervised loss has 1")
    unlabelled_batch: int = Field(128, ge=2, description="pictures without labels per step; at least the batch size")
    ramp: float = Field(0.2, ge=0, le=1, description="share of the run over which epsilon rises from 0")


class VAT(Supervised):
    """The supervised loss on labelled pictures, plus the virtual adversarial loss on pictures without their labels.

    It trains networks that output class logits (N, K) or (N, K, H, W). The perturbed passes do not change the running
    statistics of batch norms. Epsilon is a share of the median distance between nearest neighbours of the first batch,
    unless the recipe sets it.
    """

    Options = VATOptions
    streams = (LABELLED_STREAM, UNLABELLED_STREAM)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if setup.logits is None:
            raise UserError(
                f"method.name: vat trains networks that predict class probabilities, and {setup.recipe.model.name} "
                f"is trained for the task '{setup.recipe.task}'; leave it out."
            )
        self._logits = setup.logits
        self.options: VATOptions = setup.options
        self.epsilon = self.options.epsilon

    def batch_sizes(self, batch_size: int) -> dict[str, int]:
        return {
            LABELLED_STREAM.name: batch_size,
            UNLABELLED_STREAM.name: max(batch_size, self.options.unlabelled_batch),
        }

    def step(self, batches: Mapping[str, Batch], progress: float) -> dict[str, Scalar]:
        labelled, unlabelled = (batches[stream.name].to(self.forward.device) for stream in self.streams)
        images = self.forward.normalised(unlabelled.images)
        if self.epsilon is None:
            self.epsilon = self.options.share * self._distance(images, unlabelled.names)
        self.optimised.train()
        values = self.losses(self.network, labelled)
        values["vat"] = self._smoothness(images, progress)
        values["loss"] = values["loss"] + self.options.weight * values["vat"]
        return self.update(values, progress, labelled)

    def _distance(self, images: Tensor, names: Sequence[str]) -> float:
        """The median distance between nearest neighbours in a batch; a picture that occurs twice counts once.

        Raises:
            UserError: there are no two different pictures.
        """
        first = {name: place for place, name in reversed(list(enumerate(names)))}
        distance = nearest_neighbour_distance(images[sorted(first.values())]) if len(first) > 1 else 0.0
        if distance == 0:
            raise UserError(
                f"method.epsilon: the {len(first)} different pictures of an unlabelled batch are too few or too alike "
                "to measure a distance between them; set method.epsilon."
            )
        return from_first(distance, self.forward.device)

    def _smoothness(self, images: Tensor, progress: float) -> Tensor:
        assert self.epsilon is not None
        ramp = 1.0 if self.options.ramp == 0 else min(max(progress, 1e-3) / self.options.ramp, 1.0)
        epsilon = ramp * self.epsilon
        with self.forward.autocast(), held_statistics(self.network):
            return virtual_adversarial_loss(
                lambda inputs: self._logits(self.network(inputs)),
                images,
                epsilon=epsilon,
                xi=self.options.xi * epsilon,
                iterations=self.options.iterations,
            )

    def state_dict(self) -> dict[str, object]:
        return {**super().state_dict(), "epsilon": self.epsilon}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        super().load_state_dict(state)
        self.epsilon = state["epsilon"]
