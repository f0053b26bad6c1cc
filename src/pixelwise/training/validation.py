"""Validation during training: scores and losses on held-out pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pixelwise.data.loader import EvaluationLoader, collate
from pixelwise.data.targets import stack
from pixelwise.distributed import gathered
from pixelwise.methods.base import CheckedForward, Forward, Method
from pixelwise.metrics.headline import Headline
from pixelwise.models.spec import ModelSpec
from pixelwise.nn.finite import check_weights
from pixelwise.recipe.recipe import PlannedRecipe
from pixelwise.tasks.base import Task
from pixelwise.tasks.evaluation import Scores


@dataclass(frozen=True, slots=True)
class Validation:
    """Measures a method's networks on held-out pictures with the scores of the task.

    Attributes:
        folder: the folder of the run.
        loader: the held-out pictures, of which each process gets its share.
        both: loaders of all training and all held-out pictures, the same on every process. If given, the scores on the
            training pictures and the losses on both are measured as well.
    """

    task: Task
    spec: ModelSpec
    recipe: PlannedRecipe
    folder: Path
    loader: EvaluationLoader
    both: tuple[EvaluationLoader, EvaluationLoader] | None = None

    @property
    def headlines(self) -> tuple[Headline, ...]:
        """The scores that are measured; the first one chooses the best weights."""
        return tuple(self._scores().headlines)

    def __call__(self, method: Method, *, final: bool) -> dict[str, float]:
        """The headline scores by key; the same on every process.

        Args:
            final: whether this is the last validation. It measures the raw weights in addition to the averaged ones;
                their keys begin with `raw_`.

        Raises:
            NotFinite: a weight or an output of a network is NaN or infinite.
        """
        check_weights(method.network)
        check_weights(method.shipped())
        networks = {"": method.shipped()}
        if final and method.shipped() is not method.network:
            networks["raw_"] = method.network
        values: dict[str, float] = {}
        for prefix, scores in self._measured(method, networks, self.loader).items():
            first, *others = gathered(scores)
            for other in others:
                first.merge(other)
            values |= {f"{prefix}{key}": value for key, value in first.values().items()}
        if self.both is not None:
            training, held_out = self.both
            found = self._measured(method, {"": method.shipped()}, training)[""].values()
            values |= {f"training_{key}": value for key, value in found.items()}
            values |= {"loss": self._mean_loss(method, held_out), "training_loss": self._mean_loss(method, training)}
        return values

    def snapshots(self, method: Method) -> Mapping[str, np.ndarray]:
        """Pictures that show how far the training run is."""
        return self.task.snapshots(method.shipped().eval())

    def _scores(self) -> Scores[Any]:
        return self.task.scores(self.spec, self.folder, self.recipe)

    def _measured(
        self, method: Method, networks: Mapping[str, nn.Module], loader: EvaluationLoader
    ) -> dict[str, Scores[Any]]:
        counted = {prefix: self._scores() for prefix in networks}
        forward = CheckedForward(*(getattr(method.forward, each.name) for each in fields(Forward)))
        with torch.inference_mode():
            for samples in loader:
                images = stack([sample.image for sample in samples]).to(method.forward.device)
                for prefix, network in networks.items():
                    predictions = self.task.predictions(self.spec, forward, network.eval(), samples, images)
                    for prediction, sample in zip(predictions, samples, strict=True):
                        counted[prefix].update(prediction, sample)
        return counted

    def _mean_loss(self, method: Method, loader: EvaluationLoader) -> float:
        """The mean loss of the shipped network in evaluation mode; batches are weighted by their number of pictures."""
        network = method.shipped().eval()
        summed, pictures = 0.0, 0
        with torch.inference_mode():
            for samples in loader:
                batch = collate(samples, self.task.targets).to(method.forward.device)
                summed += float(method.losses(network, batch)["loss"]) * len(samples)
                pictures += len(samples)
        return summed / pictures
