"""A group of modules together with everything that updates them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.distributed import average_gradients
from pixelwise.errors import UserError
from pixelwise.hardware import reading_waits
from pixelwise.methods.base import Scalar, TrainingDiverged, as_scalars
from pixelwise.nn.averaging import ExponentialMovingAverage, StochasticWeightAverage
from pixelwise.nn.encoder import Classifier
from pixelwise.nn.freezing import hold
from pixelwise.recipe.recipe import PlannedRecipe
from pixelwise.recipe.schedules import make_schedule


@dataclass(frozen=True, slots=True)
class _Unread:
    """A step whose loss and gradient norm, a tensor (2,), have not been read from the device yet."""

    loss_and_norm: Tensor
    learning_rate: float
    names: Sequence[str]


class Optimised:
    """Modules with their optimiser, schedule, clipping, check for finite numbers, and averaged copy.

    On some devices reading a number waits for all queued work. There a step reads no numbers: if the loss or the
    gradient is not finite, the device skips this update and all later ones, until `check` reads the numbers.

    Args:
        network: the modules that are updated and averaged.
        optimizer: the optimiser of their parameters; its present learning rates are the peaks of the schedule.
        schedule: progress 0..1 -> factor of the learning rates.
        clip_norm: largest gradient norm; None leaves gradients as they are.
        ema_decay: decay of the exponential average (EMA); None for no average.
        swa_start: progress from which the equal mean of the weights (SWA) is kept instead of the EMA.
        frozen: modules that stay in evaluation mode, see `nn.freezing`.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        schedule: Callable[[float], float] = lambda progress: 1.0,
        clip_norm: float | None = None,
        ema_decay: float | None = None,
        swa_start: float | None = None,
        frozen: Sequence[nn.Module] = (),
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.schedule = schedule
        self.clip_norm = clip_norm
        self.swa_start = swa_start
        self.frozen = tuple(frozen)
        self.average: ExponentialMovingAverage | StochasticWeightAverage | None = None
        if swa_start is not None:
            self.average = StochasticWeightAverage(network)
        elif ema_decay is not None:
            self.average = ExponentialMovingAverage(network, ema_decay)
        self._peak_rates = [group["lr"] for group in optimizer.param_groups]
        self._unread: list[_Unread] = []
        self._diverged: Tensor | None = None

    @classmethod
    def planned(
        cls,
        network: nn.Module,
        recipe: PlannedRecipe,
        frozen: Sequence[nn.Module] = (),
        *,
        averaged: bool = True,
        rate: float = 1.0,
    ) -> Optimised:
        """Builds the group from the sections `optimizer`, `schedule` and `train` of a recipe.

        Args:
            averaged: whether the group is averaged if the recipe says so; False for discriminators.
            rate: factor of the recipe's learning rate.

        Raises:
            UserError: `depth_decay` is set, and the network has no stages.
        """
        optimizer = recipe.optimizer.model_copy(update={"lr": recipe.optimizer.lr * rate})
        return cls(
            network,
            make_optimizer(recipe.model_copy(update={"optimizer": optimizer}), network),
            schedule=make_schedule(recipe.schedule.name, warmup=recipe.schedule.warmup, final=recipe.schedule.final),
            clip_norm=recipe.optimizer.clip_norm,
            ema_decay=recipe.train.ema_decay if averaged else None,
            swa_start=recipe.train.swa_start if averaged else None,
            frozen=frozen,
        )

    def train(self) -> None:
        """Puts all modules except the frozen ones into training mode."""
        self.network.train()
        hold(self.frozen)

    def step(self, loss: Tensor, progress: float, names: Sequence[str]) -> dict[str, Scalar]:
        """Does one update with the gradient of a loss.

        Args:
            names: the pictures that the loss was computed on, for the error message if it is not finite.

        Returns:
            The gradient's norm before clipping, and the learning rate.

        Raises:
            TrainingDiverged: the loss or the gradient is not finite; nothing was updated. If reading waits for the
                device, `check` raises it instead.
        """
        factor = self.schedule(progress)
        for group, peak in zip(self.optimizer.param_groups, self._peak_rates, strict=True):
            group["lr"] = peak * factor
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self.network.parameters())
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm or math.inf)
        rate: float = self.optimizer.param_groups[-1]["lr"]
        if reading_waits(loss.device):
            self._note(_Unread(torch.stack([loss.detach().float(), norm]), rate, names))
        else:
            _check_finite(float(loss.detach()), float(norm), rate, names)
        self.optimizer.step()
        if self.average is not None and progress >= (self.swa_start or 0.0):
            self.average.update(self.network, self._diverged)
        return {**as_scalars({"gradient_norm": norm}), "learning_rate": rate}

    def _note(self, step: _Unread) -> None:
        """Lets the device skip this update and all later ones if the step's numbers are not finite."""
        diverged = ~step.loss_and_norm.isfinite().all()
        self._diverged = diverged if self._diverged is None else self._diverged | diverged
        # If it is 1, the fused optimisers change neither parameters nor moments; gradient scalers rely on that.
        self.optimizer.found_inf = self._diverged.float()  # type: ignore[attr-defined]
        self._unread.append(step)

    def check(self) -> None:
        """Reads the numbers that the steps since the last check left on the device, if they left any.

        Raises:
            TrainingDiverged: a loss or gradient was not finite; nothing was updated from that step on.
        """
        unread, self._unread = self._unread, []
        if unread:
            numbers = torch.stack([step.loss_and_norm for step in unread]).tolist()
            for (loss, norm), step in zip(numbers, unread, strict=True):
                _check_finite(loss, norm, step.learning_rate, step.names)

    def shipped(self) -> nn.Module:
        """The averaged copy if averaging has begun, otherwise the network."""
        if self.average is None:
            return self.network
        if isinstance(self.average, StochasticWeightAverage) and not self.average.started:
            return self.network
        return self.average.network

    def refresh(self, images: Iterable[Tensor]) -> None:
        """Measures the batch-norm statistics of equally averaged weights (SWA) on training pictures.

        Args:
            images: normalised batches (N, C, H, W).
        """
        if not isinstance(self.average, StochasticWeightAverage) or not self.average.started:
            return
        frozen = {id(module) for module in self.frozen}
        names = {name for name, module in self.network.named_modules() if id(module) in frozen}
        self.average.refresh(images, frozen=names)

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to continue."""
        state: dict[str, Any] = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.average is not None:
            state["average"] = self.average.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for parameter, moments in self.optimizer.state.items():
            for name, value in moments.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    # Use the parameter's memory layout again, since fused optimisers rely on it.
                    moments[name] = torch.empty_like(parameter).copy_(value)
        if self.average is not None:
            self.average.load_state_dict(state["average"])


class RMSprop(torch.optim.RMSprop):
    """RMSprop (Tieleman & Hinton 2012) with decoupled weight decay, as in AdamW (Loshchilov & Hutter, ICLR 2019).

    As a part of the gradient, weight decay would drown small gradients, such as those of heatmaps. If `found_inf` is 1,
    the parameters do not change, as with fused optimisers (torch has no fused RMSprop). The averages of squared
    gradients shrink in such a step, but the run ends there anyway.
    """

    found_inf: Tensor | None = None

    def __init__(self, groups: Sequence[Mapping[str, Any]], lr: float) -> None:
        super().__init__([{**group, "weight_decay": 0.0, "decay": group["weight_decay"]} for group in groups], lr)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                kept: float | Tensor = 1 - group["lr"] * group["decay"]
                if self.found_inf is not None:
                    # NaN times 0 is NaN, so the gradient is replaced instead of multiplied.
                    parameter.grad = torch.where(self.found_inf > 0, 0.0, parameter.grad)
                    kept = torch.where(self.found_inf > 0, 1.0, kept)
                parameter.mul_(kept)
        return super().step(closure)


def _check_finite(loss: float, norm: float, learning_rate: float, names: Sequence[str]) -> None:
    for name, value in (("loss", loss), ("gradient norm", norm)):
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"the {name} became {value} on the batch of {', '.join(names[:3])}{', ...' if len(names) > 3 else ''} "
                f"at learning rate {learning_rate:.3g}; the weights were not updated"
            )


def make_optimizer(recipe: PlannedRecipe, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser, with weight decay for weights only (biases and norms are vectors), and the rates of
    `rate_factors`."""
    settings = recipe.optimizer
    factors = rate_factors(recipe, network)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            groups.setdefault((factors[id(parameter)], parameter.dim() > 1), []).append(parameter)
    parameters = [
        {
            "params": members,
            "lr": settings.lr * factor,
            "weight_decay": settings.weight_decay if is_weight else 0.0,
        }
        for (factor, is_weight), members in sorted(groups.items(), key=lambda item: (item[0][0], not item[0][1]))
    ]
    if settings.name == "sgd":
        momentum = settings.momentum
        # Only the fused optimiser can skip updates (`found_inf`).
        fused = any(reading_waits(parameter.device) for parameter in network.parameters())
        return torch.optim.SGD(parameters, settings.lr, momentum, nesterov=momentum > 0, fused=fused)
    if settings.name == "rmsprop":
        return RMSprop(parameters, settings.lr)
    return torch.optim.AdamW(parameters, lr=settings.lr, betas=settings.betas, fused=True)


def rate_factors(recipe: PlannedRecipe, network: nn.Module) -> dict[int, float]:
    """The factor of the learning rate for each parameter, by its `id`.

    The factor is 1 outside the encoder. Inside it is `encoder_lr_factor`, times `depth_decay` once for the last stage
    and once more for each stage before it. A classifier is an encoder except for its heads.

    Raises:
        UserError: `depth_decay` is set, and the network has no stages.
    """
    settings = recipe.optimizer
    factors = {id(parameter): 1.0 for parameter in network.parameters()}
    encoder = network if isinstance(network, Classifier) else getattr(network, "encoder", None)
    stages: Sequence[nn.Module] = getattr(encoder, "stages", tuple)()
    if settings.depth_decay < 1 and not stages:
        raise UserError(
            f"optimizer.depth_decay: {recipe.model.name} is not built on an encoder, so it has no stages with separate "
            "learning rates; leave it out."
        )
    if encoder is None:
        return factors
    heads = getattr(encoder, "heads", ())
    for name, parameter in encoder.named_parameters():
        if not any(f".{head}." in f".{name}." for head in heads):
            factors[id(parameter)] = settings.encoder_lr_factor
    if settings.depth_decay < 1:
        for distance, stage in enumerate(reversed(stages), 1):
            for parameter in stage.parameters():
                factors[id(parameter)] = settings.encoder_lr_factor * settings.depth_decay**distance
    return factors
