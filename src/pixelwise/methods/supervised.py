"""Supervised training of a dense network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.data.loader import Batch
from pixelwise.distributed import total
from pixelwise.losses import LossSum
from pixelwise.methods.base import Method, TrainingDiverged
from pixelwise.metrics.confusion import ConfusionMatrix
from pixelwise.nn.averaging import ExponentialMovingAverage


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
        dtype: of the autocast region; float32 for none.
        wrap: applied to the network for the forward pass of training (data parallelism).
    """

    monitor = "mean_iou"

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
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        wrap: Callable[[nn.Module], nn.Module] | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = None
        if ema_decay is not None:
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
        self.peak_rates = [group["lr"] for group in optimizer.param_groups]

    def step(self, batch: Batch, progress: float) -> dict[str, float]:
        factor = self.schedule(progress)
        for group, peak in zip(self.optimizer.param_groups, self.peak_rates, strict=True):
            group["lr"] = peak * factor
        self.network.train()
        batch = batch.to(self.device)
        values = self.loss(self._logits(self.wrapped, batch.images), batch.masks)
        self.optimizer.zero_grad(set_to_none=True)
        values["loss"].backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm or math.inf)
        scalars = {name: float(value.detach()) for name, value in values.items()}
        scalars["gradient_norm"] = float(norm)
        scalars["learning_rate"] = self.optimizer.param_groups[-1]["lr"]
        self._check_finite(scalars, batch)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network)
        return scalars

    def _logits(self, network: nn.Module, images: Tensor) -> Tensor:
        images = ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return network(images)

    def _check_finite(self, scalars: Mapping[str, float], batch: Batch) -> None:
        for name in ("loss", "gradient_norm"):
            if not math.isfinite(scalars[name]):
                raise TrainingDiverged(
                    f"the {name.replace('_', ' ')} became {scalars[name]} on the batch of {', '.join(batch.names[:3])}"
                    f"{', ...' if len(batch.names) > 3 else ''} at learning rate {scalars['learning_rate']:.3g}; "
                    "weights were not updated by it. Train again with a smaller rate (--set optimizer.lr=...), and "
                    "look for pictures with NaN or extreme values (pixelwise check)."
                )

    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        network = self.network if self.average is None else self.average.network
        network.eval()
        matrix = ConfusionMatrix(len(self.class_names), self.class_names)
        with torch.inference_mode():
            for batch in batches:
                on_device = batch.to(self.device)
                logits = self._logits(network, on_device.images)
                matrix.update(predicted_ids(logits), on_device.masks)
        matrix.counts = total(matrix.counts.to(self.device)).cpu()
        return {"mean_iou": matrix.mean_iou(), "pixel_accuracy": matrix.pixel_accuracy()}

    def export(self) -> Mapping[str, Tensor]:
        return (self.network if self.average is None else self.average.network).state_dict()

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
