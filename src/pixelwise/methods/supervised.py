"""Supervised training of a dense network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.data.loader import Batch
from pixelwise.data.sample import VOID
from pixelwise.distributed import total
from pixelwise.losses import LossSum
from pixelwise.methods.base import Method, TrainingDiverged
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.nn.averaging import ExponentialMovingAverage, StochasticWeightAverage
from pixelwise.nn.freezing import hold


class Supervised(Method):
    """Minimises a loss between a network's logits and the labels.

    Args:
        network: images (N, C, H, W) -> logits (N, K, H, W).
        loss: logits, masks -> values by name, `loss` the one to minimise.
        optimizer: over the network's parameters; the learning rates it has now are the peaks of the schedule.
        schedule: progress 0..1 -> factor of the learning rates.
        mean, std: per channel, in the units of the pictures.
        clip_norm: largest gradient norm; None leaves gradients as they are.
        ema_decay: of the averaged copy that is evaluated and exported; None for the network itself.
        swa_start: progress from which on the equal mean of the weights is evaluated and exported instead.
        dtype: of the autocast region; float32 for none.
        frozen: modules that stay in evaluation mode, see `nn.freezing`.
        wrap: applied to the network for the forward pass of training (data parallelism).

    Attributes:
        ignore_index: the id of what is not trained on.
    """

    monitor = "mean_iou"
    ignore_index = VOID

    def __init__(
        self,
        network: nn.Module,
        *,
        loss: LossSum,
        optimizer: torch.optim.Optimizer,
        schedule: Callable[[float], float],
        class_names: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        clip_norm: float | None = None,
        ema_decay: float | None = None,
        swa_start: float | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        frozen: Sequence[nn.Module] = (),
        wrap: Callable[[nn.Module], nn.Module] | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.swa_start = swa_start
        self.average: ExponentialMovingAverage | StochasticWeightAverage | None = None
        if swa_start is not None:
            self.average = StochasticWeightAverage(self.network)
        elif ema_decay is not None:
            self.average = ExponentialMovingAverage(self.network, ema_decay)
        self.wrapped = wrap(self.network) if wrap else self.network
        self.loss = loss
        self.optimizer = optimizer
        self.schedule = schedule
        self.class_names = tuple(class_names)
        self.mean = torch.tensor(mean, device=self.device)[:, None, None]
        self.std = torch.tensor(std, device=self.device)[:, None, None]
        self.clip_norm = clip_norm
        self.dtype = dtype
        self.frozen = tuple(frozen)
        self.peak_rates = [group["lr"] for group in optimizer.param_groups]

    def step(self, batch: Batch, progress: float) -> dict[str, float]:
        factor = self.schedule(progress)
        for group, peak in zip(self.optimizer.param_groups, self.peak_rates, strict=True):
            group["lr"] = peak * factor
        self.network.train()
        hold(self.frozen)
        batch = batch.to(self.device)
        values = self._losses(batch)
        self.optimizer.zero_grad(set_to_none=True)
        values["loss"].backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm or math.inf)
        scalars = {name: float(value.detach()) for name, value in values.items()}
        scalars["gradient_norm"] = float(norm)
        scalars["learning_rate"] = self.optimizer.param_groups[-1]["lr"]
        self._check_finite(scalars, batch)
        self.optimizer.step()
        if self.average is not None and progress >= (self.swa_start or 0.0):
            self.average.update(self.network)
        return scalars

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the loss by name, `loss` their sum with those of auxiliary heads."""
        weights = getattr(self.network, "auxiliary_weights", ())
        if not weights:
            return self.loss(self._run(self.wrapped, batch.images), batch.masks, batch.weights)
        logits, *others = self._run(self.wrapped, batch.images, auxiliary=True)
        values = self.loss(logits, batch.masks, batch.weights)
        auxiliary = [
            weight * self.loss(each, batch.masks, batch.weights)["loss"]
            for weight, each in zip(weights, others, strict=True)
        ]
        values["auxiliary"] = torch.stack(auxiliary).sum()
        values["loss"] = values["loss"] + values["auxiliary"]
        return values

    def _run(self, network: nn.Module, images: Tensor, **options: bool) -> Any:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return network(self._normalised(images), **options)

    def _normalised(self, images: Tensor) -> Tensor:
        return ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def _check_finite(self, scalars: Mapping[str, float], batch: Batch) -> None:
        for name in ("loss", "gradient_norm"):
            if not math.isfinite(scalars[name]):
                raise TrainingDiverged(
                    f"the {name.replace('_', ' ')} became {scalars[name]} on the batch of {', '.join(batch.names[:3])}"
                    f"{', ...' if len(batch.names) > 3 else ''} at learning rate {scalars['learning_rate']:.3g}; "
                    "weights were not updated by it. Train again with a smaller rate (--set optimizer.lr=...), and "
                    "look for pictures with NaN or extreme values (pixelwise check)."
                )

    @property
    def shipped(self) -> nn.Module:
        """The network that is evaluated and exported."""
        if self.average is None:
            return self.network
        if isinstance(self.average, StochasticWeightAverage) and not self.average.started:
            return self.network
        return self.average.network

    def prepare_evaluation(self, batches: Iterable[Batch]) -> None:
        if not isinstance(self.average, StochasticWeightAverage) or not self.average.started:
            return
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            images = (self._normalised(batch.to(self.device).images) for batch in batches)
            frozen = {id(module) for module in self.frozen}
            names = {name for name, module in self.network.named_modules() if id(module) in frozen}
            self.average.refresh(images, frozen=names)

    def _evaluated(self, final: bool) -> dict[str, nn.Module]:
        """What is measured, by the prefix of its scores' names: at the end the raw weights beside the averaged ones."""
        networks = {"": self.shipped}
        if final and self.shipped is not self.network:
            networks["raw_"] = self.network
        return networks

    def evaluate(self, batches: Iterable[Batch], *, final: bool = False) -> dict[str, float]:
        networks = self._evaluated(final)
        matrices = {prefix: ConfusionMatrix(len(self.class_names), self.class_names) for prefix in networks}
        with torch.inference_mode():
            for batch in batches:
                on_device = batch.to(self.device)
                for prefix, network in networks.items():
                    logits = self._run(network.eval(), on_device.images)
                    matrices[prefix].update(predicted_ids(logits), on_device.masks)
        scores: dict[str, float] = {}
        for prefix, matrix in matrices.items():
            matrix.counts = total(matrix.counts.to(self.device)).cpu()
            scores |= {f"{prefix}mean_iou": matrix.mean_iou(), f"{prefix}pixel_accuracy": matrix.pixel_accuracy()}
        return scores

    def mean_loss(self, batches: Iterable[Batch]) -> float:
        """In evaluation mode, the batches' losses weighted by the number of their pictures."""
        trained, self.wrapped = self.wrapped, self.shipped.eval()
        summed, pictures = 0.0, 0
        try:
            with torch.inference_mode():
                for batch in batches:
                    summed += float(self._losses(batch.to(self.device))["loss"]) * len(batch.names)
                    pictures += len(batch.names)
        finally:
            self.wrapped = trained
        return summed / pictures

    def export(self) -> Mapping[str, Tensor]:
        return self.shipped.state_dict()

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.average is not None:
            state["average"] = self.average.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for parameter, moments in self.optimizer.state.items():
            for name, value in moments.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    # Back into the parameter's own memory layout, which fused optimisers rely on.
                    moments[name] = torch.empty_like(parameter).copy_(value)
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def predicted_ids(logits: Tensor) -> Tensor:
    """(N, K, H, W) -> class ids (N, H, W); a single logit is the foreground's against 0."""
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)
