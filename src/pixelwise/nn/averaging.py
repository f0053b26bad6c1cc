"""Averages of weights over training."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from pixelwise.nn.fixed_norm import FixedNorm2d


class ExponentialMovingAverage(nn.Module):
    """A copy of a network that follows it slowly, in its parameters and its batch-norm statistics.

    Polyak & Juditsky 1992 in the exponential form of Tarvainen & Valpola (NeurIPS 2017). During the first updates the
    decay is (1 + t) / (10 + t), so that the initial weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update(self, network: nn.Module, skip: Tensor | None = None) -> None:
        """Moves every tensor by the share 1 - decay towards the network's; whole numbers are copied.

        Args:
            skip: bool without dimensions, on the network's device: where it is true no tensor moves.
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
    """The equally weighted mean of a network's weights from some step on (Izmailov et al., UAI 2018).

    The averaged weights have no batch-norm statistics of their own, so `refresh` measures them on training pictures
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
        """Takes the network's present weights into the mean.

        Args:
            skip: bool without dimensions: the mean stays as it is where it is true. It is read, which waits for the
                device; so does the mean itself, which takes its count of networks there.
        """
        if skip is None or not skip:
            self.update_parameters(network)

    def refresh(self, images: Iterable[Tensor], *, frozen: Container[str] = ()) -> None:
        """Measures the batch-norm statistics anew, as their plain mean over batches of training pictures.

        Args:
            images: batches (N, C, H, W), normalised; of several processes each passes its share, equally many batches.
            frozen: names of modules whose statistics stay as they are.
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
