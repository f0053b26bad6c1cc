"""The stages of R-CNN: fine-tuning, then fitting (Girshick et al., CVPR 2014, section 2.3, appendices B and C)."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from pixelwise.data.loader import Batch
from pixelwise.distributed import buffers_from_first
from pixelwise.errors import UserError
from pixelwise.methods.base import MethodOptions, Setup
from pixelwise.methods.supervised import Supervised


class RCNNOptions(MethodOptions):
    """Options of the method `rcnn`."""

    fitted: int = Field(64, ge=1, description="pictures for fitting SVMs and regressions before each evaluation")


class FineTuneAndFit(Supervised):
    """Minimises the loss that the network implements, and calls the network's `fit` before each evaluation.

    Raises:
        UserError: the network has no `fit`.
    """

    Options = RCNNOptions

    def __init__(self, setup: Setup) -> None:
        if not hasattr(setup.network, "fit"):
            raise UserError(
                f"method rcnn: {setup.recipe.model.name} has no part that is fitted after fine-tuning; use the method "
                "supervised."
            )
        super().__init__(setup)
        self.options = setup.options

    def prepare_evaluation(self, batches: Iterable[Batch]) -> None:
        drawn: list[Batch] = []
        for batch in batches:
            drawn.append(batch)
            if sum(len(each.names) for each in drawn) >= self.options.fitted:
                break
        super().prepare_evaluation(drawn)
        network = self.shipped().eval()
        moved = (batch.to(self.forward.device) for batch in drawn)
        with self.forward.autocast():
            network.fit((self.forward.normalised(batch.images), batch.targets) for batch in moved)  # type: ignore[operator]
        buffers_from_first(network)
        if network is not self.network:  # so that the last weights can be measured beside the average
            self.network.take_fit(network)  # type: ignore[operator]
