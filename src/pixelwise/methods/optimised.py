"""One group of modules with everything that updates it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.distributed import average_gradients
from pixelwise.errors import UserError
from pixelwise.methods.base import TrainingDiverged
from pixelwise.nn.averaging import ExponentialMovingAverage, StochasticWeightAverage
from pixelwise.nn.encoder import Classifier
from pixelwise.nn.freezing import hold
from pixelwise.recipe.recipe import PlannedRecipe
from pixelwise.recipe.schedules import make_schedule


class Optimised:
    """Modules with their optimiser, schedule, clipping, check for finite numbers, and averaged copy.

    Args:
        network: what is updated and averaged.
        optimizer: over its parameters; the learning rates that it has now are the peaks of the schedule.
        schedule: progress 0..1 -> factor of the learning rates.
        clip_norm: largest gradient norm; None leaves gradients as they are.
        ema_decay: of the averaged copy; None for none.
        swa_start: progress from which on the equal mean of the weights is kept instead.
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

    @classmethod
    def planned(cls, network: nn.Module, recipe: PlannedRecipe, frozen: Sequence[nn.Module] = ()) -> Optimised:
        """As a recipe's sections `optimizer`, `schedule` and `train` say.

        Raises:
            UserError: rates that fall with depth for a network without stages.
        """
        return cls(
            network,
            make_optimizer(recipe, network),
            schedule=make_schedule(recipe.schedule.name, warmup=recipe.schedule.warmup, final=recipe.schedule.final),
            clip_norm=recipe.optimizer.clip_norm,
            ema_decay=recipe.train.ema_decay,
            swa_start=recipe.train.swa_start,
            frozen=frozen,
        )

    def train(self) -> None:
        """Puts the modules into training mode, all but the frozen ones."""
        self.network.train()
        hold(self.frozen)

    def step(self, loss: Tensor, progress: float, names: Sequence[str]) -> dict[str, float]:
        """One update by the gradient of a loss.

        Args:
            names: of the pictures that the loss was computed on, for the message when it is not finite.

        Returns:
            The gradient's norm before clipping, and the learning rate.

        Raises:
            TrainingDiverged: a loss or gradient that is not finite; nothing was updated.
        """
        factor = self.schedule(progress)
        for group, peak in zip(self.optimizer.param_groups, self._peak_rates, strict=True):
            group["lr"] = peak * factor
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self.network.parameters())
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm or math.inf)
        scalars = {"gradient_norm": float(norm), "learning_rate": self.optimizer.param_groups[-1]["lr"]}
        self._check_finite({"loss": float(loss.detach()), **scalars}, names)
        self.optimizer.step()
        if self.average is not None and progress >= (self.swa_start or 0.0):
            self.average.update(self.network)
        return scalars

    def _check_finite(self, scalars: Mapping[str, float], names: Sequence[str]) -> None:
        for name in ("loss", "gradient_norm"):
            if not math.isfinite(scalars[name]):
                raise TrainingDiverged(
                    f"the {name.replace('_', ' ')} became {scalars[name]} on the batch of {', '.join(names[:3])}"
                    f"{', ...' if len(names) > 3 else ''} at learning rate {scalars['learning_rate']:.3g}; "
                    "weights were not updated by it"
                )

    def shipped(self) -> nn.Module:
        """The averaged copy where there is one that has begun, else the network."""
        if self.average is None:
            return self.network
        if isinstance(self.average, StochasticWeightAverage) and not self.average.started:
            return self.network
        return self.average.network

    def refresh(self, images: Iterable[Tensor]) -> None:
        """Measures the batch-norm statistics of equally averaged weights on training pictures, where that is needed.

        Args:
            images: batches (N, C, H, W) as the network sees them.
        """
        if not isinstance(self.average, StochasticWeightAverage) or not self.average.started:
            return
        frozen = {id(module) for module in self.frozen}
        names = {name for name, module in self.network.named_modules() if id(module) in frozen}
        self.average.refresh(images, frozen=names)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue."""
        state: dict[str, Any] = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.average is not None:
            state["average"] = self.average.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for parameter, moments in self.optimizer.state.items():
            for name, value in moments.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    # Back into the parameter's own memory layout, which fused optimisers rely on.
                    moments[name] = torch.empty_like(parameter).copy_(value)
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def make_optimizer(recipe: PlannedRecipe, network: nn.Module) -> torch.optim.Optimizer:
    """Weight decay on weights alone (biases and norms are vectors), and a rate of its own for what was pretrained."""
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
        return torch.optim.SGD(parameters, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)
    return torch.optim.AdamW(parameters, lr=settings.lr, betas=settings.betas, fused=True)


def rate_factors(recipe: PlannedRecipe, network: nn.Module) -> dict[int, float]:
    """Factor of the learning rate by `id` of each parameter.

    1 outside of the encoder. In it `encoder_lr_factor`, times `depth_decay` once for the last of its stages and once
    more for each stage before. A classifier is an encoder but for its heads.

    Raises:
        UserError: rates that fall with depth, and a network without stages.
    """
    settings = recipe.optimizer
    factors = {id(parameter): 1.0 for parameter in network.parameters()}
    encoder = network if isinstance(network, Classifier) else getattr(network, "encoder", None)
    stages: Sequence[nn.Module] = getattr(encoder, "stages", tuple)()
    if settings.depth_decay < 1 and not stages:
        raise UserError(
            f"optimizer.depth_decay: {recipe.model.name} is not built on an encoder, so it has no stages whose rates "
            "could fall; leave it out."
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
