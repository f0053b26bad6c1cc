"""Averages of a network's weights during training."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from pixelwise.nn.fixed_norm import FixedNorm2d


class ExponentialMovingAverage(nn.Module):
    """A copy of a network whose parameters and batch-norm statistics are moving averages of the network's (EMA).

    Polyak & Juditsky 1992 in the exponential form of Tarvainen & Valpola (NeurIPS 2017). During the first updates the
    decay is (1 + t) / (10 + t), so that the initial weights soon lose their influence.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update(self, network: nn.Module, skip: Tensor | None = None) -> None:
        """Moves every tensor by the share 1 - decay towards the network's; tensors of whole numbers are copied.

        Args:
            skip: scalar bool tensor on the network's device; if true, no tensor changes.
        """
        count = int(self.updates) + 1  # type: ignore[arg-type]
        self.updates.fill_(count)  # type: ignore[operator]
        decay = min(self.decay, (1 + count) / (10 + count))
        mine, theirs = self.network.state_dict(), network.state_dict()
        if skip is not None:
            theirs = {name: torch.where(skip, mine[name], value) for name, value in theirs.items()}
        floating = [name for name, value in mine.items() if value.is_floating_point()]
        torch._foreach_lerp_([mine[n] for n in floating], [theirs[n] for n in floating], 1 - decay)
        for name in mine.keys() - set(floating):
            mine[name].copy_(theirs[name])

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


class StochasticWeightAverage(AveragedModel):
    """The equally weighted mean of a network's weights from some step on (SWA, Izmailov et al., UAI 2018).

    The batch-norm statistics do not match the averaged weights, so `refresh` measures them on training pictures
    (section 3.2 of the paper).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.module.eval().requires_grad_(False)

    @property
    def network(self) -> nn.Module:
        return self.module

    @property
    def started(self) -> bool:
        return int(self.n_averaged) > 0

    def update(self, network: nn.Module, skip: Tensor | None = None) -> None:
        """Includes the network's current weights in the mean.

        Args:
            skip: scalar bool tensor; if true, the mean does not change. Reading it waits for the device, and so does
                the update of the mean, which reads its count of networks from there.
        """
        if skip is None or not skip:
            self.update_parameters(network)

    def refresh(self, images: Iterable[Tensor], *, frozen: Container[str] = ()) -> None:
        """Measures the batch-norm statistics again, as their plain mean over batches of training pictures.

        Args:
            images: normalised batches (N, C, H, W); with several processes each passes its share, and all pass the same
                number of batches.
            frozen: names of modules whose statistics do not change.
        """
        norms = [
            module
            for name, module in self.module.named_modules()
            if isinstance(module, _BatchNorm) and not isinstance(module, FixedNorm2d) and name not in frozen
        ]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over batches
            norm.train()
        with torch.no_grad():
            for batch in images:
                self.module(batch)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        self.module.eval()
